//! The search of one call for a manager that does it: who is asked next, and when it is over.
//!
//! In a round each known address is asked once: whom the last refusal named, then who was primary
//! last, then the list. Between rounds is a jittered pause.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use mgmt_protocol::{Refusal, RefusalCode};

use super::ManagerError;
use super::list::{List, MANAGERS_MAX};
use crate::ask::Failed;

/// First pause between rounds, with jitter; it doubles. A manager that is just taking over loads
/// its records meanwhile.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between rounds: whoever waits for a takeover of ten seconds loses a twentieth.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// 20 ms doubled five times exceed the longest pause; the bound keeps the shift in range.
const DOUBLINGS_MAX: u32 = 5;

/// Where one call has been.
#[derive(Default)]
pub(super) struct Search {
    /// Asked in this round.
    asked: Vec<SocketAddr>,
    /// Named as primary in this round.
    hints: VecDeque<SocketAddr>,
    /// Why it was not done, by address, as far as is known last.
    tried: BTreeMap<SocketAddr, String>,
    /// The last refusal of a manager that is, or should be, primary.
    refusal: Option<Refusal>,
    rounds: u32,
}

impl Search {
    /// Whom to ask next, nothing at the end of a round.
    pub(super) fn next(&mut self, list: &List) -> Option<SocketAddr> {
        let fresh = |address: &SocketAddr| !self.asked.contains(address);
        let hint = self.hints.iter().copied().find(fresh);
        let known = || list.primary().into_iter().chain(list.addresses().iter().copied());
        let next = hint.or_else(|| known().find(fresh))?;
        self.asked.push(next);
        Some(next)
    }

    /// Begins another round, and says how long to wait before; `random` gives jitter.
    pub(super) fn pause(&mut self, random: u64) -> Duration {
        self.asked.clear();
        self.hints.clear();
        let pause = PAUSE_MIN.saturating_mul(1 << self.rounds.min(DOUBLINGS_MAX)).min(PAUSE_MAX);
        self.rounds = self.rounds.saturating_add(1);
        jittered(pause, random)
    }

    /// Takes in what `address` said instead of an answer; an error ends the search.
    pub(super) fn failed(
        &mut self,
        address: SocketAddr,
        failed: Failed,
        repeatable: bool,
        list: &mut List,
    ) -> Result<(), ManagerError> {
        match failed {
            Failed::Refused(refusal) if goes_on(refusal.code, repeatable) => {
                self.note(address, refusal.to_string());
                if refusal.code == RefusalCode::NotPrimary {
                    list.unset_primary(address);
                    self.hints.extend(refusal.primary.iter().flat_map(|to| list.learn(to)));
                    self.hints.truncate(MANAGERS_MAX);
                } else {
                    self.refusal = Some(refusal);
                }
                Ok(())
            }
            Failed::NotDone(why) => {
                list.unset_primary(address);
                self.note(address, why);
                Ok(())
            }
            Failed::Unknown(why) if repeatable => {
                engine_types::reached!("E332: a repeatable call of unknown effect is sent again");
                list.unset_primary(address);
                self.note(address, why);
                Ok(())
            }
            final_one => Err(ManagerError::of(address, final_one)),
        }
    }

    /// The deadline has passed.
    pub(super) fn give_up(self) -> ManagerError {
        match self.refusal {
            Some(refusal) => ManagerError::Refused(refusal),
            None => ManagerError::Unreachable { tried: self.tried.into_iter().collect() },
        }
    }

    fn note(&mut self, address: SocketAddr, why: String) {
        tracing::debug!(%address, %why, "a manager did not do it");
        self.tried.insert(address, why);
        // Learned addresses come and go; what is told about them is for a person.
        while MANAGERS_MAX < self.tried.len() {
            self.tried.pop_first();
        }
    }
}

/// True if the same call may be done later or elsewhere (E332).
const fn goes_on(code: RefusalCode, repeatable: bool) -> bool {
    code.is_transient() || (repeatable && matches!(code, RefusalCode::UnknownResult))
}

/// From half of `pause` to all of it.
pub(crate) fn jittered(pause: Duration, random: u64) -> Duration {
    let half = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX);
    let jitter = if half == 0 { 0 } else { random % half };
    Duration::from_nanos(half.saturating_add(jitter))
}
