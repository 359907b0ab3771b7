//! Managers, a served KV, nodes and operators in one simulated world, through the RPC layer.

mod commands;
mod ground;
mod nodes;
mod sessions;
mod takeover;
