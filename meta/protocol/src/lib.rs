//! What the metadata service is asked and what it tells, as bytes.
#![no_std]
