//! Reads and updates of chunks, wherever their replicas are.
