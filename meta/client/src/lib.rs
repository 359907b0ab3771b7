//! Client of the metadata service.
//!
//! ```text
//!   call(operation) ── tag: a channel of the session ──> choose a service ──> attempt ──> answer
//!                                                           ^                   │
//!       routing info: services that are alive ──────────────┤                   v
//!                                                           └── another one, same tag and bytes
//! ```
//! Owner: one core; clones share everything. Nothing is cached.
//!
//! Any service does any operation, so a service that dies costs those it was working for one
//! attempt. What is about the length or the locks of one inode goes to the same service while that
//! is well: there such requests are merged, and waiters are woken at once. Everything else goes to
//! the less busy one of two.
//!
//! # Unknown results
//! A request that changes something is recorded with its tag by the transaction that does it (M11),
//! so it is sent again, anywhere, until somebody says what became of it. If the deadline comes
//! first, or the caller goes, its effect is unknown and may still come. Its channel then does
//! something newer that changes nothing; once that is recorded, the old request was done or never
//! will be (E472).
//!
//! Numbered invariants
//!   E470  a channel is used by one request at a time, and its numbers ascend
//!   E471  attempts of one request have the same tag and the same bytes
//!   E472  a channel whose request has an unknown effect is used for nothing but what overtakes it
//!   E473  an answer or a refusal ends a request: it is not sent again
//!   E474  a call ends by its deadline, and waits for nothing without a bound
//!   E475  once the session is lost nothing is sent any more, and every call says so (L6)
//!   E476  requests that are merged, or wait for each other, choose the same service while it is
//!         well and known
//!
//! Crash: nothing here is durable. What the session had is ended by the services, after its fence.

mod call;
mod channels;
mod choose;
mod config;
mod error;
mod locks;
mod metrics;
mod ops;
mod servers;
mod status;

use core::cell::Cell;
use std::rc::Rc;

use engine_net::NetConfig;
use engine_runtime::{CancelToken, Env};
use engine_types::{Instant, SessionId};
use meta_protocol::{Answer, Caller, Operation};
use mgmt_client::{Follower, Session};

use channels::Channels;
use metrics::Metrics;
use servers::Servers;

pub use config::{CHANNELS_MAX, MetaConfig, SettingError};
pub use error::{MetaError, Tried};
pub use metrics::MetricsSnapshot;
pub use status::{StatusError, space, status};

/// Shared by all handles of one client, and by what runs for it.
struct Inner<E: Env> {
    env: E,
    config: MetaConfig,
    session: Rc<Session<E>>,
    servers: Servers<E>,
    channels: Channels,
    /// A service said that the session is over, before the managers were asked.
    fenced: Cell<bool>,
    closed: CancelToken,
    metrics: Metrics,
}

/// What all handles hold, and tasks do not.
struct Handle<E: Env>(Rc<Inner<E>>);

impl<E: Env> Drop for Handle<E> {
    fn drop(&mut self) {
        self.0.closed.cancel();
    }
}

/// The namespace of a cluster. Clones share connections and channels.
pub struct MetaClient<E: Env> {
    handle: Rc<Handle<E>>,
}

impl<E: Env> Clone for MetaClient<E> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<E: Env> MetaClient<E> {
    /// A client under `session`, whose channels belong to it alone. Nothing is sent before the
    /// first call. The session is kept alive, and closed, by whoever opened it.
    ///
    /// # Panics
    /// When the settings fail [`MetaConfig::check`]: whoever reads a configuration checks it.
    pub fn new(
        env: &E,
        net: Rc<NetConfig>,
        follower: Rc<Follower<E>>,
        session: Rc<Session<E>>,
        config: MetaConfig,
    ) -> Self {
        if let Err(error) = config.check() {
            panic!("a client was given settings that nobody checked: {error}");
        }
        let inner = Inner {
            env: env.clone(),
            servers: Servers::new(env, net, follower, config.clone()),
            channels: Channels::new(config.channels),
            config,
            session,
            fenced: Cell::new(false),
            closed: CancelToken::default(),
            metrics: Metrics::default(),
        };
        Self { handle: Rc::new(Handle(Rc::new(inner))) }
    }

    /// Has `operation` done in the name of `caller`, within the usual time.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn call(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<Answer, MetaError> {
        let inner = self.inner();
        let by = inner.env.now() + inner.config.deadline;
        self.call_by(caller, operation, by).await
    }

    /// The same, by `by`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn call_by(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
        by: Instant,
    ) -> Result<Answer, MetaError> {
        call::call(self.inner(), caller.clone(), operation.into(), by).await
    }

    /// The session under which everything is asked.
    pub fn session(&self) -> SessionId {
        self.inner().session.id()
    }

    /// Whether the session is over, so that nothing can be asked any more (E475).
    pub fn is_lost(&self) -> bool {
        self.inner().is_lost()
    }

    /// What was counted.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner().metrics.snapshot()
    }

    /// Ends all calls, and closes the connections after what is under way, or at `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.inner().closed.cancel();
        self.inner().servers.close(deadline).await;
    }

    fn inner(&self) -> &Rc<Inner<E>> {
        &self.handle.0
    }
}

impl<E: Env> Inner<E> {
    fn is_lost(&self) -> bool {
        self.fenced.get() || self.session.is_lost()
    }
}
