//! The way to the cluster manager.
