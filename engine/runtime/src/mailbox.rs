//! Bounded channels between the cores of one process.
//!
//! Not for the data path: requests arrive on the core that owns them. A full mailbox is
//! backpressure, and simulation makes one full at random (E39).

use std::sync::Arc;

/// Decides whether a mailbox plays full now; simulation's hook.
pub(crate) type Refuse = Arc<dyn Fn() -> bool + Send + Sync>;

/// The sending end; clones send into the same mailbox.
pub struct Sender<T> {
    inner: async_channel::Sender<T>,
    refuse: Option<Refuse>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), refuse: self.refuse.clone() }
    }
}

/// The receiving end.
pub struct Receiver<T> {
    inner: async_channel::Receiver<T>,
}

/// Why a message was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The mailbox is full: wait, or do without.
    Full(T),
    /// The receiver is gone for good.
    Closed(T),
}

pub(crate) fn bounded<T>(capacity: usize, refuse: Option<Refuse>) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = async_channel::bounded(capacity.max(1));
    (Sender { inner: sender, refuse }, Receiver { inner: receiver })
}

impl<T> Sender<T> {
    /// Sends without waiting.
    ///
    /// # Errors
    /// The message, with the reason.
    pub fn try_send(&self, message: T) -> Result<(), Refused<T>> {
        if self.refuse.as_ref().is_some_and(|refuse| refuse()) {
            return Err(Refused::Full(message));
        }
        self.inner.try_send(message).map_err(|error| match error {
            async_channel::TrySendError::Full(message) => Refused::Full(message),
            async_channel::TrySendError::Closed(message) => Refused::Closed(message),
        })
    }

    /// Sends, waiting for room. Dropping the future before its end sends nothing.
    ///
    /// # Errors
    /// The message, when the receiver is gone.
    pub async fn send(&self, message: T) -> Result<(), T> {
        self.inner.send(message).await.map_err(|error| error.0)
    }
}

impl<T> Receiver<T> {
    /// The next message; `None` when every sender is gone and nothing is left. Dropping the future
    /// loses no message.
    pub async fn recv(&self) -> Option<T> {
        self.inner.recv().await.ok()
    }

    /// The next message if there is one now.
    pub fn try_recv(&self) -> Option<T> {
        self.inner.try_recv().ok()
    }
}
