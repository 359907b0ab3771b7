//! Reference model of the namespace, and random operations to compare with it.
#![no_std]
