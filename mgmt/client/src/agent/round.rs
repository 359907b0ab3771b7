//! One due heartbeat, until a manager has taken one in: whom to send the next one.
//!
//! The known primary comes first. Who does not answer within the patience, or says that it cannot,
//! is followed by the next manager at once; from then on there is a pause before each.

use core::net::SocketAddr;
use core::time::Duration;

use engine_types::Instant;

/// Pause before a third manager and every further one: twenty heartbeats a second from each node
/// while nobody is primary, and a lease that is renewed a twentieth of a second after somebody is.
const HOP_PAUSE: Duration = Duration::from_millis(50);

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A manager took it in.
    Heard,
    /// It was no use: another manager is needed, perhaps this one.
    Unheard { hint: Option<SocketAddr> },
}

/// Who may be asked, in order of preference.
pub(super) struct Known<'a> {
    /// Who took a heartbeat in before: as primary, and in its stead.
    pub(super) favourites: [Option<SocketAddr>; 2],
    /// All of them; at least one.
    pub(super) list: &'a [SocketAddr],
    /// Where in the list the search goes on: those behind it were not asked for the longest time.
    pub(super) cursor: usize,
}

/// A round: from a heartbeat that is due to one that is heard.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Sequence of its first heartbeat: that one or any later one ends the round when it is heard.
    first: u64,
    /// Sequence of the last.
    current: u64,
    address: SocketAddr,
    /// When to go to the next manager.
    step_at: Instant,
    hops: u32,
    /// The last one was answered, with a refusal, or its connection was lost.
    refused: bool,
    /// Asked since the list was begun anew.
    asked: Vec<SocketAddr>,
    hint: Option<SocketAddr>,
}

impl Round {
    /// Whom to send the first heartbeat of a round.
    pub(super) fn first_address(known: &Known<'_>) -> SocketAddr {
        let favourite = known.favourites.iter().find_map(|favourite| *favourite);
        favourite.unwrap_or_else(|| known.list[known.cursor % known.list.len()])
    }

    /// Heartbeat `sequence` was sent to `address`.
    pub(super) fn begin(sequence: u64, address: SocketAddr, patient_until: Instant) -> Self {
        Self {
            first: sequence,
            current: sequence,
            address,
            step_at: patient_until,
            hops: 0,
            refused: false,
            asked: vec![address],
            hint: None,
        }
    }

    /// Whom it waits for.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// When to go on, if nothing arrives.
    pub(super) const fn step_at(&self) -> Instant {
        self.step_at
    }

    /// Takes in what became of a heartbeat; true ends the round.
    pub(super) fn judge(&mut self, sequence: u64, verdict: Verdict, now: Instant) -> bool {
        match verdict {
            Verdict::Heard => return self.first <= sequence,
            Verdict::Unheard { hint } if sequence == self.current => {
                self.refused = true;
                self.hint = hint.filter(|hint| !self.asked.contains(hint));
                let at_once = self.hops == 0 || self.hint.is_some();
                let next = if at_once { now } else { now + HOP_PAUSE };
                self.step_at = self.step_at.min(next);
            }
            Verdict::Unheard { .. } => {} // it was left behind already
        }
        false
    }

    /// Whom to send the next heartbeat, and where the search in the list goes on afterwards.
    /// Nobody if the only one there is says nothing: it may have too much to do.
    pub(super) fn next(&mut self, known: &Known<'_>) -> Option<(SocketAddr, usize)> {
        if let Some(hint) = self.hint.take() {
            return Some((hint, known.cursor));
        }
        let next = self.fresh(known).unwrap_or_else(|| {
            self.asked.clear(); // all were asked: from the beginning
            self.fresh(known).expect("the list is not empty")
        });
        if next.0 == self.address && !self.refused {
            self.step_at = Instant::NEVER;
            return None;
        }
        Some(next)
    }

    /// The best one that was not asked, and where the search goes on.
    fn fresh(&self, known: &Known<'_>) -> Option<(SocketAddr, usize)> {
        let fresh = |address: &SocketAddr| !self.asked.contains(address);
        let favourite = known.favourites.iter().filter_map(|favourite| *favourite).find(fresh);
        if let Some(address) = favourite {
            return Some((address, known.cursor));
        }
        let length = known.list.len();
        let mut turn = (0..length).map(|step| (known.cursor + step) % length);
        let index = turn.find(|&index| fresh(&known.list[index]))?;
        Some((known.list[index], (index + 1) % length))
    }

    /// Heartbeat `sequence` was sent to `address`, as `next` said.
    pub(super) fn went_on(&mut self, sequence: u64, address: SocketAddr, patient_until: Instant) {
        assert!(self.current < sequence, "E336: {sequence} is sent after {}", self.current);
        self.current = sequence;
        self.address = address;
        self.step_at = patient_until;
        self.refused = false;
        self.hops = self.hops.saturating_add(1);
        self.asked.push(address);
    }
}

#[cfg(test)]
mod tests;
