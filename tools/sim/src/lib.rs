//! The deterministic simulator: whole clusters in one thread, under virtual time, from one seed.
//!
//! A [`World`] holds nodes whose processes start through the same `run(env, config)` that daemons
//! call; this crate contains no logic of any role. What goes wrong is data ([`FaultPlan`]), drawn
//! from the seed; what clients do and saw is a [`History`]; what must hold is decided by checkers
//! ([`check`]) that know nothing of how the history came about. A [`Scenario`] joins the four, and
//! a [`sweep`] runs it over many seeds, one world per thread at a time.
//!
//! Numbered invariants
//!   T10  a world is a function of its seed, its scenario and the build's source: nothing else
//!        reaches it, so the trace hash is the same in every process and build profile
//!   T11  faults are injected by the plan alone, and what a plan does ends with
//!        `World::stop_faults`: links whole, disks healthy, clocks at their own rate, nodes up
//!   T12  a checker that cannot decide fails: silence is never taken for success
//!
//! [`FaultPlan`]: fault::FaultPlan
//! [`History`]: history::History
//! [`Scenario`]: scenario::Scenario
//! [`World`]: world::World

pub mod check;
pub mod commit;
pub mod fault;
pub mod history;
pub mod marks;
pub mod scenario;
pub mod scenarios;
pub mod seeds;
pub mod sweep;
pub mod topology;
pub mod world;
