//! Decisions of the cluster manager; under construction.
#![no_std]

extern crate alloc;
