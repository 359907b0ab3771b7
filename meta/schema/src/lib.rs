//! Keys, values and POSIX rules of the namespace.
#![no_std]
