//! Addresses of managers: those given, those learned, and the one that answered as primary last.

use core::net::SocketAddr;

use mgmt_cluster::lease::Contact;

/// Addresses that are given: the managers of a cluster are three or five, on two networks at most.
pub(crate) const SEEDS_MAX: usize = 16;
/// Addresses that are known, and connections that are kept: as many again may be learned. The
/// oldest learned one is forgotten for a new one.
pub(crate) const MANAGERS_MAX: usize = 32;

/// What is known of where the managers are.
pub(crate) struct List {
    /// Those that were given, then those that were learned, oldest first.
    known: Vec<SocketAddr>,
    seeds: usize,
    primary: Option<SocketAddr>,
}

impl List {
    /// At least one address is given; those beyond [`SEEDS_MAX`] are left out.
    pub(crate) fn new(seeds: Vec<SocketAddr>) -> Self {
        let mut known = Vec::with_capacity(MANAGERS_MAX);
        for seed in seeds {
            if known.len() < SEEDS_MAX && !known.contains(&seed) {
                known.push(seed);
            } else {
                tracing::warn!(%seed, "address of a manager given twice, or one too many");
            }
        }
        assert!(!known.is_empty(), "E333: whoever looks for managers has the address of one");
        Self { seeds: known.len(), known, primary: None }
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.known
    }

    /// Who answered as primary last.
    pub(crate) const fn primary(&self) -> Option<SocketAddr> {
        self.primary
    }

    pub(crate) const fn set_primary(&mut self, address: SocketAddr) {
        self.primary = Some(address);
    }

    /// It did not answer as primary now.
    pub(crate) fn unset_primary(&mut self, address: SocketAddr) {
        self.primary = self.primary.filter(|&primary| primary != address);
    }

    /// Remembers the addresses of a manager, and says which they are. What is no `ip:port` that can
    /// be connected to is passed over.
    pub(crate) fn learn(&mut self, contact: &Contact) -> Vec<SocketAddr> {
        let parsed = contact.addresses.iter().filter_map(|text| text.parse().ok());
        let usable = |address: &SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
        let learned: Vec<SocketAddr> = parsed.filter(usable).collect();
        for &address in &learned {
            if !self.known.contains(&address) {
                tracing::info!(%address, node = %contact.node, "learned of a manager");
                self.known.push(address);
                self.forget_one();
            }
        }
        learned
    }

    /// Makes room: the oldest learned one that is not the primary goes.
    fn forget_one(&mut self) {
        if MANAGERS_MAX < self.known.len() {
            let learned = &self.known[self.seeds..];
            let oldest = learned.iter().position(|&address| Some(address) != self.primary);
            self.known.remove(self.seeds + oldest.expect("several were learned"));
        }
    }
}

#[cfg(test)]
mod tests;
