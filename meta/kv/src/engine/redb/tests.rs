//! The common suite is in `engine/tests.rs`; here is what a file adds.

mod crash;
mod damage;
mod full;
mod starts;
