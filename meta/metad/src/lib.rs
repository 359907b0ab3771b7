//! Metadata service: operations as transactions.
