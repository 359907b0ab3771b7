//! What a process brings to its connections.

use core::time::Duration;

use engine_types::limits;
use engine_wire::handshake::Local;

/// Who this process is, what it must prove, and its limits; shared by all its connections.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Cluster, identity and secret, as handshakes state and prove them.
    pub local: Local,
    /// Windows and time limits.
    pub limits: NetLimits,
}

/// Windows and time limits of connections. The defaults are justified in `engine_types::limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Requests in flight on one connection that a server grants.
    pub requests: u32,
    /// Payload bytes that need no credit, in flight on one connection, that a server grants; at
    /// least one such payload.
    pub small_bytes: u32,
    /// Bulk bytes for which a server gives credit to all its peers together. It must stay below
    /// the buffer pool of the core by what small requests, answers and files need: half of it.
    pub credit_bytes: u64,
    /// Bulk bytes for which one peer may hold credit without having asked.
    pub credit_bytes_idle: u64,
    /// Connections that a server keeps.
    pub connections: usize,
    /// Connections whose handshake may be under way at once (W12).
    pub unauthenticated: usize,
    /// A handshake that takes longer is cut off.
    pub handshake_time: Duration,
    /// A frame that takes longer from its first to its last byte is cut off.
    pub frame_time: Duration,
    /// Silence after which a client pings.
    pub keepalive_idle: Duration,
    /// Silence after which a peer counts as gone.
    pub keepalive_time: Duration,
    /// First pause before connecting again.
    pub backoff_min: Duration,
    /// Longest pause before connecting again.
    pub backoff_max: Duration,
    /// Time that one attempt to connect may take, handshake not included.
    pub connect_time: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            requests: limits::INFLIGHT_REQUESTS_MAX,
            small_bytes: limits::INFLIGHT_SMALL_BYTES_MAX,
            credit_bytes: u64::from(limits::BULK_CREDIT_BYTES_MAX),
            credit_bytes_idle: u64::from(limits::PAYLOAD_BYTES_MAX) * 2,
            connections: limits::CONNECTIONS_PER_SHARD_MAX,
            unauthenticated: limits::UNAUTHENTICATED_CONNECTIONS_MAX,
            handshake_time: limits::HANDSHAKE_TIME_MAX,
            frame_time: limits::FRAME_TIME_MAX,
            keepalive_idle: limits::KEEPALIVE_IDLE,
            keepalive_time: limits::KEEPALIVE_TIME_MAX,
            backoff_min: limits::RECONNECT_BACKOFF_MIN,
            backoff_max: limits::RECONNECT_BACKOFF_MAX,
            connect_time: limits::HANDSHAKE_TIME_MAX,
        }
    }
}

/// A limit of the configuration that no connection could work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: found {found}, expected {min} to {max}")]
pub struct LimitError {
    /// The field of [`NetLimits`].
    pub name: &'static str,
    /// Its value.
    pub found: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
}

impl NetLimits {
    /// Whether connections can work with these limits; for configuration that a person wrote.
    ///
    /// # Errors
    /// The first limit that is out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        let small_min = limits::UNCREDITED_PAYLOAD_BYTES_MAX.into();
        let small_max = limits::INFLIGHT_SMALL_BYTES_MAX.into();
        let connections_max = limits::CONNECTIONS_PER_SHARD_MAX as u64;
        let rows = [
            ("requests", self.requests.into(), 1, limits::INFLIGHT_REQUESTS_MAX.into()),
            ("small_bytes", self.small_bytes.into(), small_min, small_max),
            ("connections", self.connections as u64, 1, connections_max),
            ("unauthenticated", self.unauthenticated as u64, 1, connections_max),
        ];
        for (name, found, min, max) in rows {
            if found < min || max < found {
                return Err(LimitError { name, found, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
