//! `[mgmt]`: a cluster manager.

use engine_types::limits::NODE_ADDRESSES_MAX;
use mgmt_cluster::lease::ADDRESS_BYTES_MAX;

use super::reader::Section;
use super::{HostPort, Label};

#[cfg(test)]
mod tests;

/// The section; what is missing has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MgmtSection {
    /// Where it listens.
    pub(crate) listen: Option<HostPort>,
    /// What others are told instead; empty: what it listens on.
    pub(crate) advertise: Vec<HostPort>,
    /// Where the key-value store is served.
    pub(crate) kv: Option<HostPort>,
    /// Its number, unique among managers.
    pub(crate) node: Option<u32>,
    /// Of the cluster, if it founds one.
    pub(crate) name: Option<Label>,
}

impl MgmtSection {
    pub(super) const KEYS: &[&str] = &["listen", "advertise", "kv", "node", "name"];

    pub(super) fn read(section: &Section<'_>) -> Self {
        let listen: Option<HostPort> = section.get("listen");
        let advertise: Option<Vec<HostPort>> = section.list("advertise");
        let told = advertise.as_deref().unwrap_or_default();
        // Nothing is said of addresses together while one of them is wrong by itself.
        if let Some(listen) = &listen
            && let Err((key, why)) = check_addresses(listen, told)
        {
            section.refuse(key, &why);
        }
        let kv = section.get("kv");
        let node = section.get("node");
        let name = section.get("name");
        Self { listen, advertise: advertise.unwrap_or_default(), kv, node, name }
    }
}

/// Whether others can connect to what they are told: the key that is wrong, and why.
pub(crate) fn check_addresses(
    listen: &HostPort,
    advertise: &[HostPort],
) -> Result<(), (&'static str, String)> {
    if advertise.is_empty() && listen.is_unspecified() {
        let why = format!("nobody can connect to {listen}: say with advertise what others use");
        return Err(("listen", why));
    }
    let (found, limit) = (advertise.len(), NODE_ADDRESSES_MAX);
    if limit < found {
        return Err(("advertise", format!("found {found} addresses, at most {limit}")));
    }
    for address in advertise {
        if address.is_unspecified() || address.port() == 0 {
            return Err(("advertise", format!("nobody can connect to {address}")));
        }
        let found = address.to_string().len();
        if ADDRESS_BYTES_MAX < found {
            let why = format!("found an address of {found} bytes, at most {ADDRESS_BYTES_MAX}");
            return Err(("advertise", why));
        }
    }
    Ok(())
}
