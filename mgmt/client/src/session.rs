//! The session of a client, kept alive (L6).
//!
//! Owner: one core; one task extends the session and ends with it. Whether a session is over is
//! said by managers alone (E339): a client that counted by its own clock would give up what
//! nobody takes from it, and stores would go on to admit what it sent. What matters to others is
//! that it is fenced.
//!
//! Crash: nobody extends the session any more, and it ends after its timeout.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, Notify, first};
use engine_types::{Instant, SessionId, Timeline};
use mgmt_cluster::session::{Client, EXTENDS_PER_TIMEOUT, SESSION_TIMEOUT_MAX};
use mgmt_protocol::{Refusal, RefusalCode, SESSIONS_ASKED_MAX, SessionAsk, SessionTold};

use crate::managers::{ManagerError, Managers};

/// Shortest time between two extensions, whatever timeout a manager tells: tests have short ones.
const EXTEND_EVERY_MIN: Duration = Duration::from_millis(50);

/// Keeps the session of a client alive. Dropping it ends that, not the session: it runs out.
pub struct Session<E: Env> {
    shared: Rc<Shared<E>>,
}

impl<E: Env> Drop for Session<E> {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

struct Shared<E: Env> {
    managers: Managers<E>,
    id: SessionId,
    timeline: Timeline,
    timeout: Cell<Duration>,
    is_lost: Cell<bool>,
    lost: Notify,
    stop: CancelToken,
}

impl<E: Env> Session<E> {
    /// Opens a session for `client`, or finds the one that it has in this epoch.
    ///
    /// # Errors
    /// [`ManagerError`]; one that was opened and not heard of runs out by itself.
    pub async fn open(
        managers: &Managers<E>,
        client: Client,
        deadline: Instant,
    ) -> Result<Rc<Self>, ManagerError> {
        let told = managers.call_within(&SessionAsk::Open(client), deadline, OPEN_TIME).await?;
        let (SessionTold::Opened { session, timeout, timeline }, _) = told else {
            return Err(senseless(told));
        };
        let shared = Rc::new(Shared {
            managers: managers.clone(),
            id: session,
            timeline,
            timeout: Cell::new(timeout),
            is_lost: Cell::new(false),
            lost: Notify::default(),
            stop: CancelToken::default(),
        });
        tracing::info!(%session, ?timeout, "session opened");
        let kept = shared.clone();
        drop(managers.env().spawn(async move {
            let _stopped = first(kept.stop.cancelled(), kept.keep()).await;
        }));
        Ok(Rc::new(Self { shared }))
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.shared.id
    }

    /// The timeline that its id is of.
    pub fn timeline(&self) -> Timeline {
        self.shared.timeline
    }

    /// Whether a manager said that it is over (E339).
    pub fn is_lost(&self) -> bool {
        self.shared.is_lost.get()
    }

    /// Told when it is over.
    pub fn lost(&self) -> &Notify {
        &self.shared.lost
    }

    /// Ends it: nothing is extended any more, and the primary is told. One that is over already is
    /// as wanted.
    ///
    /// # Errors
    /// [`ManagerError`]; the session runs out by itself then.
    pub async fn close(&self, deadline: Instant) -> Result<(), ManagerError> {
        let Shared { managers, id, stop, .. } = &*self.shared;
        stop.cancel();
        match managers.call_within(&SessionAsk::Close(*id), deadline, OPEN_TIME).await {
            Ok((SessionTold::Closed, _)) => Ok(()),
            Ok(told) => Err(senseless(told)),
            Err(ManagerError::Refused(refusal)) if is_over(refusal.code) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl<E: Env> Managers<E> {
    /// Those of `sessions` of which nothing can happen any more on any node (L6), in their order;
    /// only the first [`SESSIONS_ASKED_MAX`] are asked for.
    ///
    /// # Errors
    /// [`ManagerError`]; nothing is known then.
    pub async fn ended(
        &self,
        sessions: &[SessionId],
        deadline: Instant,
    ) -> Result<Vec<SessionId>, ManagerError> {
        let some = sessions[..sessions.len().min(SESSIONS_ASKED_MAX)].to_vec();
        match self.call_within(&SessionAsk::Ended(some), deadline, OPEN_TIME).await? {
            (SessionTold::Ended(ended), _) => Ok(ended),
            told => Err(senseless(told)),
        }
    }
}

/// Time for one answer to opening and closing: each is a transaction of the KV, and a repeated one
/// only asks the same manager again.
const OPEN_TIME: Duration = Duration::from_secs(5);

fn senseless((told, address): (SessionTold, core::net::SocketAddr)) -> ManagerError {
    ManagerError::Malformed { address, why: format!("another answer than asked for: {told:?}") }
}

/// True if the session cannot be used any more.
const fn is_over(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::SessionRevoked | RefusalCode::SessionUnknown | RefusalCode::SessionEpoch
    )
}

impl<E: Env> Shared<E> {
    /// Extends the session until it is lost.
    async fn keep(&self) {
        let env = self.managers.env();
        let mut last = env.now();
        loop {
            let every = self.timeout.get().min(SESSION_TIMEOUT_MAX) / EXTENDS_PER_TIMEOUT;
            let every = every.max(EXTEND_EVERY_MIN);
            env.sleep_until(last + every).await;
            last = env.now();
            match self.managers.call(&SessionAsk::Extend(self.id), last + every).await {
                Ok(SessionTold::Extended { timeout }) => self.timeout.set(timeout),
                Ok(told) => tracing::warn!(session = %self.id, ?told, "not what was asked for"),
                Err(ManagerError::Refused(refusal)) if is_over(refusal.code) => {
                    return self.lose(&refusal);
                }
                Err(ManagerError::Closed) => return,
                Err(error) => tracing::warn!(session = %self.id, %error, "not extended"),
            }
        }
    }

    fn lose(&self, refusal: &Refusal) {
        tracing::warn!(session = %self.id, %refusal, "session lost");
        self.is_lost.set(true);
        self.lost.notify();
    }
}

#[cfg(test)]
mod tests;
