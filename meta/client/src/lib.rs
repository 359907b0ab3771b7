//! Client of the metadata service.
