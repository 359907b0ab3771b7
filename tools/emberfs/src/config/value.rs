//! What configuration files and flags consist of beside sizes: paths, addresses, durations.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;
use std::io;
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;

use super::reader::Value;
use crate::size::ByteSize;

#[cfg(test)]
mod tests;

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path in quotes";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) }
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size in quotes such as \"256MiB\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::size::ParseSizeError| error.to_string())
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a number from 0 to 4294967295";

    fn from_text(_: &str) -> Result<Self, String> {
        Err("without quotes".to_owned())
    }

    fn from_integer(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(_: &str) -> Result<Self, String> {
        Err("without quotes".to_owned())
    }

    fn from_truth(truth: bool) -> Option<Self> {
        Some(truth)
    }
}

/// A host by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

/// Why a text names no host and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseHostPortError {
    /// No colon, or several without brackets.
    #[error("write it as 127.0.0.1:7100, [::1]:7100 or name:7100")]
    Form,
    /// Not a port.
    #[error("{0:?} is no port, which is 0 to 65535")]
    Port(String),
}

impl FromStr for HostPort {
    type Err = ParseHostPortError;

    fn from_str(text: &str) -> Result<Self, ParseHostPortError> {
        let (host, port) = text.trim().rsplit_once(':').ok_or(ParseHostPortError::Form)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if host.is_empty() || inner.is_none() && host.contains(':') || inner == Some("") {
            return Err(ParseHostPortError::Form);
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let number = port.parse().ok().filter(|_| digits);
        let port = number.ok_or_else(|| ParseHostPortError::Port(port.to_owned()))?;
        Ok(Self { host: inner.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Value for HostPort {
    const EXPECTED: &'static str = "an address in quotes such as \"127.0.0.1:7100\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: ParseHostPortError| error.to_string())
    }
}

impl HostPort {
    /// The same host, `index` ports further; a free port stays one. Nothing beyond the last port.
    pub(crate) fn further(&self, index: usize) -> Option<Self> {
        let step = if self.port == 0 { 0 } else { u16::try_from(index).ok()? };
        Some(Self { host: self.host.clone(), port: self.port.checked_add(step)? })
    }

    /// The addresses that the host has, IPv4 first: what is served is served there unless somebody
    /// says otherwise. At least one. May ask a name server.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found = (&*self.host, self.port).to_socket_addrs()?;
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }

    /// Whether it means all addresses of a machine, which nobody can connect to.
    pub(crate) fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|host| host.is_unspecified())
    }

    /// The host, by name or address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 asks for a free one.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where a client on this machine reaches what listens here: 0.0.0.0 is no place to go to.
    pub(crate) fn reachable(self) -> Self {
        let Ok(host) = self.host.parse::<IpAddr>() else { return self };
        let loopback = if host.is_ipv4() { "127.0.0.1" } else { "::1" };
        let host = if host.is_unspecified() { loopback.to_owned() } else { self.host };
        Self { host, ..self }
    }
}

/// Parses a time such as `5s`, `500ms`, `2m`, `1.5s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let expected = || "expected a time with a unit (ms, s, m, h), as in 5s or 500ms".to_owned();
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let number: f64 = number.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "that is too long".to_owned())
}
