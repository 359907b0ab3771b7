//! An image of the routing info, put together from pieces (E335).

use core::net::SocketAddr;

use engine_types::RoutingVersion;

/// Largest image: 1.3 million targets, 262,144 chains and 16,384 nodes take about 100 MB.
pub(super) const IMAGE_BYTES_MAX: u64 = 256 << 20;

/// A piece, as a manager told it.
pub(super) struct Piece {
    pub(super) from: SocketAddr,
    pub(super) version: RoutingVersion,
    pub(super) total: u64,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// Pieces so far, of one version and from one manager.
struct Assembly {
    from: SocketAddr,
    version: RoutingVersion,
    total: u64,
    bytes: Vec<u8>,
}

/// The image that is being fetched, if any.
#[derive(Default)]
pub(super) struct Image {
    assembly: Option<Assembly>,
}

/// What a piece led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Further pieces are needed.
    More,
    /// All bytes of the image are there.
    Whole(Vec<u8>),
    /// The piece makes no sense, and all is forgotten.
    Nonsense(String),
}

impl Image {
    /// The next piece to ask for.
    pub(super) fn wanted(&self) -> Option<(RoutingVersion, u64)> {
        let assembly = self.assembly.as_ref()?;
        Some((assembly.version, assembly.bytes.len() as u64))
    }

    /// Forgets what there is.
    pub(super) fn clear(&mut self) {
        self.assembly = None;
    }

    /// Adds a piece. The first piece of another version, or of another manager, begins anew.
    pub(super) fn take(&mut self, piece: Piece) -> Taken {
        let Piece { from, version, total, offset, bytes } = piece;
        let known = self.assembly.take();
        let goes_on = |a: &Assembly| (a.from, a.version, a.total) == (from, version, total);
        let mut assembly = match known.filter(goes_on) {
            Some(assembly) => assembly,
            None if offset == 0 => Assembly { from, version, total, bytes: Vec::new() },
            // The rest of an image whose beginning another manager sent.
            None => return Taken::Nonsense(format!("piece at {offset} of {version}, expected 0")),
        };
        let (here, end) = (assembly.bytes.len() as u64, offset.saturating_add(bytes.len() as u64));
        if offset != here || total < end || IMAGE_BYTES_MAX < total {
            let why = format!(
                "piece {offset}..{end} of {total} bytes of {version}, expected one from {here} on \
                 of at most {IMAGE_BYTES_MAX}"
            );
            return Taken::Nonsense(why);
        }
        if bytes.is_empty() && end < total {
            return Taken::Nonsense(format!("empty piece at {offset} of {total} of {version}"));
        }
        assembly.bytes.extend_from_slice(&bytes);
        if end == total {
            return Taken::Whole(assembly.bytes);
        }
        self.assembly = Some(assembly);
        Taken::More
    }
}

#[cfg(test)]
mod tests;
