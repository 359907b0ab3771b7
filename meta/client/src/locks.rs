//! Locks that are waited for.
//!
//! A request that waits has a ticket and a place in the line of the inode; services tell it to ask
//! again every few seconds. Who no longer waits says so: nobody behind it should.

use core::cell::Cell;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::{InodeId, Instant};
use meta_protocol::op::{CancelLock, LockAsk, LockWait, SetLock};
use meta_protocol::{Caller, LockTold};

use crate::MetaClient;
use crate::error::MetaError;

/// Time to take a waiter out of the line whose caller has gone.
const CANCEL_TIME: core::time::Duration = core::time::Duration::from_secs(60);

/// A place in the line; given up when it is dropped.
struct Place<'a, E: Env> {
    client: &'a MetaClient<E>,
    caller: &'a Caller,
    cancel: CancelLock,
    waits: bool,
}

impl<E: Env> Drop for Place<'_, E> {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        self.client.cancel(self.caller.clone(), self.cancel);
    }
}

/// Says that the caller is no longer there.
struct Gone(Rc<Cell<bool>>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl<E: Env> MetaClient<E> {
    /// Leaves the line, in the background.
    fn cancel(&self, caller: Caller, cancel: CancelLock) {
        engine_types::reached!("a caller who waited for a lock has gone");
        let client = self.clone();
        drop(self.inner().env.spawn(async move {
            let by = client.inner().env.now() + CANCEL_TIME;
            if let Err(error) = client.locked(&caller, cancel, by).await {
                tracing::warn!(%error, ino = %cancel.ino, "a place in the line of a lock is left");
            }
        }));
    }
}

impl<E: Env> MetaClient<E> {
    /// Locks or unlocks; with `wait` until it is granted, refused, or `by`, else EAGAIN comes as
    /// [`LockTold::Busy`]. At `by` the wait is given up: [`LockTold::Cancelled`], or granted after
    /// all. Dropping it gives the wait up, too, and a lock that was granted meanwhile stays until
    /// its owner releases it.
    ///
    /// # Errors
    /// [`MetaError`]. When it is not known whether a wait began, it is ended in the background,
    /// with all other waits of the owner for this inode: these queue anew.
    pub async fn lock(
        &self,
        caller: &Caller,
        ino: InodeId,
        lock: LockAsk,
        wait: bool,
        by: Instant,
    ) -> Result<LockTold, MetaError> {
        loop {
            let told = self.lock_once(caller, ino, lock, wait, by).await?;
            // It was not this one that gave up.
            if told == LockTold::Cancelled && wait && self.inner().env.now() < by {
                continue;
            }
            return Ok(told);
        }
    }

    async fn lock_once(
        &self,
        caller: &Caller,
        ino: InodeId,
        lock: LockAsk,
        wait: bool,
        by: Instant,
    ) -> Result<LockTold, MetaError> {
        let env = self.inner().env.clone();
        let patience = self.inner().config.deadline;
        let queue = if wait { LockWait::Queue } else { LockWait::No };
        let first_by = by.max(env.now() + patience);
        let gone = Gone(Rc::default());
        let (client, asker, left) = (self.clone(), caller.clone(), gone.0.clone());
        // In a task of its own: whoever gives up before the ticket is known could not cancel it.
        let asked = env.spawn(async move {
            let told = client.locked(&asker, SetLock { ino, lock, wait: queue }, first_by).await;
            if let (Ok(LockTold::Waiting { ticket }), true) = (&told, left.get()) {
                let (owner, ticket) = (lock.owner, *ticket);
                client.cancel(asker, CancelLock { ino, owner, ticket });
            }
            told
        });
        let mut told = asked.await?;
        let LockTold::Waiting { ticket } = told else { return Ok(told) };
        let cancel = CancelLock { ino, owner: lock.owner, ticket };
        let mut place = Place { client: self, caller, cancel, waits: true };
        while let LockTold::Waiting { ticket } = told {
            let now = env.now();
            if by <= now {
                told = self.locked(caller, cancel, now + patience).await?;
                break;
            }
            let again = SetLock { ino, lock, wait: LockWait::Ticket { ticket } };
            told = self.locked(caller, again, now + patience).await?;
        }
        place.waits = false;
        Ok(told)
    }
}
