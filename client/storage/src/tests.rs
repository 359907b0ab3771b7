//! The whole client against storage nodes that answer from a script.

mod abandoned;
mod basics;
mod retries;
mod spread;
mod world;
