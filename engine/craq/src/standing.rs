//! Where a replica stands in one version of its chain: who sends to it and to whom it sends.

use engine_types::{ChainInfo, Incarnation, PublicState, TargetId};

/// Another replica in one of its starts (R5, R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The target.
    pub target: TargetId,
    /// The start of its store that the chain version names.
    pub incarnation: Incarnation,
}

/// Standing of one replica in one chain version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the chain says of this start of this target. A start that the chain does not name is
    /// `Offline` (R5), as is a target that is no member.
    pub state: PublicState,
    /// Who forwards to it: the serving member before it; to the syncing one, the tail.
    pub predecessor: Option<Peer>,
    /// To whom it forwards: the serving member behind it, or the syncing one behind the tail.
    pub successor: Option<Peer>,
    /// Whether that one is syncing, and so only receives what the cursor has passed (R12).
    pub successor_syncs: bool,
    /// The last serving member, whose committed versions are what readers may see.
    pub tail: Option<Peer>,
}

impl Standing {
    /// Before the first chain version is known: nothing is served.
    pub const NONE: Self = Self {
        state: PublicState::Offline,
        predecessor: None,
        successor: None,
        successor_syncs: false,
        tail: None,
    };

    /// The standing of `own` in `chain`.
    pub fn new(own: Peer, chain: &ChainInfo) -> Self {
        let all = || {
            chain
                .members
                .iter()
                .map(|m| (Peer { target: m.target, incarnation: m.incarnation }, m.state))
        };
        let of = |state| all().filter(move |member| member.1 == state).map(|member| member.0);
        let tail = of(PublicState::Serving).next_back();
        let Some(state) = all().find(|member| member.0 == own).map(|member| member.1) else {
            return Self { tail, ..Self::NONE };
        };
        let alone =
            Self { state, predecessor: None, successor: None, successor_syncs: false, tail };
        match state {
            PublicState::Serving => {
                let predecessor = of(PublicState::Serving).take_while(|peer| *peer != own).last();
                let behind = of(PublicState::Serving).skip_while(|peer| *peer != own).nth(1);
                let syncing = of(PublicState::Syncing).next();
                let successor = behind.or(syncing);
                let successor_syncs = behind.is_none() && syncing.is_some();
                Self { predecessor, successor, successor_syncs, ..alone }
            }
            PublicState::Syncing => Self { predecessor: tail, ..alone },
            _ => alone,
        }
    }

    /// Whether it takes part in serving clients.
    pub fn serves(&self) -> bool {
        self.state == PublicState::Serving
    }

    /// Whether updates of clients enter here.
    pub fn is_head(&self) -> bool {
        self.serves() && self.predecessor.is_none()
    }

    /// Whether its committed versions are what readers may see.
    pub fn is_tail(&self, own: Peer) -> bool {
        self.serves() && self.tail == Some(own)
    }
}

#[cfg(test)]
mod tests;
