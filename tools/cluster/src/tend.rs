//! Keeps processes running: who ended is started again, after a pause that grows while it does not
//! stay alive.

use core::net::SocketAddr;
use core::time::Duration;
use std::process::ExitStatus;

use crate::clock::Stopwatch;
use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::name::Name;
use crate::slot::Slot;
use crate::tail::Tail;

/// Pause before the first new start.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause: what is mended by hand is noticed within that.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Who lived so long has not failed to start: his next pause is the shortest again.
const LIFE_GOOD: Duration = Duration::from_secs(60);

/// What happened to a process.
#[derive(Debug)]
pub enum News {
    /// It ended, although nobody told it to.
    Ended {
        /// Which.
        name: Name,
        /// How.
        status: ExitStatus,
        /// Its last words.
        tail: Tail,
        /// When it is started again.
        again_in: Duration,
    },
    /// It serves again.
    Started {
        /// Which.
        name: Name,
        /// Where.
        address: SocketAddr,
    },
    /// It could not be started again.
    Failed {
        /// Which.
        name: Name,
        /// Why.
        error: ClusterError,
        /// When it is tried again.
        again_in: Duration,
    },
}

/// The pause after another end.
fn next_pause(pause: Duration, life: Duration) -> Duration {
    if LIFE_GOOD <= life {
        return PAUSE_MIN;
    }
    (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX)
}

impl Slot {
    /// Notes an end that nobody wanted.
    fn bury(&mut self) -> Option<News> {
        let running = self.running.as_mut().filter(|_| self.wanted)?;
        let status = running.ended()?;
        let tail = running.tail();
        self.running = None;
        self.pause = next_pause(self.pause, self.life.elapsed());
        self.dead = Some(Stopwatch::start());
        Some(News::Ended { name: self.name, status, tail, again_in: self.pause })
    }

    /// Whether it is time for another start.
    fn is_due(&self) -> bool {
        let dead = self.dead.filter(|_| self.wanted && self.running.is_none());
        dead.is_some_and(|dead| self.pause <= dead.elapsed())
    }
}

impl Cluster {
    /// Looks after all processes that are to run: notes who ended, starts those whose pause is
    /// over, and says what happened. To be called some times a second; a start takes until the
    /// process serves.
    pub fn tend(&mut self) -> Vec<News> {
        let mut news: Vec<News> = self.slots.iter_mut().filter_map(Slot::bury).collect();
        let due: Vec<Name> =
            self.slots.iter().filter(|slot| slot.is_due()).map(|slot| slot.name).collect();
        for name in due {
            match self.start_one(name) {
                Ok(address) => news.push(News::Started { name, address }),
                Err(error) => {
                    let slot = self.slots.iter_mut().find(|slot| slot.name == name);
                    let slot = slot.expect("it was found a moment ago");
                    slot.pause = next_pause(slot.pause, Duration::ZERO);
                    slot.dead = Some(Stopwatch::start());
                    news.push(News::Failed { name, error, again_in: slot.pause });
                }
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_process_stays_alive() {
        let mut pause = Duration::ZERO;
        let mut all = Vec::new();
        for _ in 0..10 {
            pause = next_pause(pause, Duration::from_secs(1));
            all.push(pause.as_millis());
        }
        assert_eq!(all[..4], [200, 400, 800, 1600]);
        assert_eq!(all[9], PAUSE_MAX.as_millis());
        assert_eq!(next_pause(pause, LIFE_GOOD), PAUSE_MIN);
    }
}
