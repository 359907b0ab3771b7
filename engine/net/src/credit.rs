//! Byte credit: how much bulk the peers of one server may send (W3).
//!
//! Owner: one server on one core, or whoever else gives room to peers. Pure bookkeeping: what is
//! granted goes out through the account's connection. A peer asks when it has bulk to send;
//! grants go round in turn, one block at a time, so that a peer with much to send does not starve
//! one with little.
//!
//! Credit is *unused* while the peer may still send against it, *in use* from the header of a bulk
//! request until that request is done. A connection that works is granted again what it gave back,
//! without asking, but only while less than half of the budget is granted: at least half is
//! always there for those who ask (E52).

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use engine_types::limits::{BULK_CREDIT_BYTES_MAX, PAYLOAD_BYTES_MAX};

#[cfg(test)]
mod tests;

/// The credit of all peers of one server.
pub struct CreditPool {
    budget: u64,
    idle: u64,
    granted: Cell<u64>,
    waiting: RefCell<VecDeque<Rc<Account>>>,
}

/// The credit of one peer.
pub struct Account {
    grant: Box<dyn Fn(u32)>,
    unused: Cell<u64>,
    in_use: Cell<u64>,
    wanted: Cell<u64>,
    /// Whether it stands in the line.
    queued: Cell<bool>,
    closed: Cell<bool>,
}

/// A peer sent more bulk than it had credit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdrawn {
    /// Bytes that it sent, or returned.
    pub found: u64,
    /// Bytes that it had.
    pub credit: u64,
}

impl CreditPool {
    /// `budget` for all peers, `idle` for a peer that has not asked; bytes. A budget below two
    /// payloads is raised to that, or a largest request could never be granted.
    pub fn new(budget: u64, idle: u64) -> Self {
        let budget = budget.max(2 * u64::from(PAYLOAD_BYTES_MAX));
        Self { budget, idle, granted: Cell::new(0), waiting: RefCell::default() }
    }

    /// An account for a new connection; `grant` sends credit to its peer.
    pub fn open(&self, grant: Box<dyn Fn(u32)>) -> Rc<Account> {
        let account = Rc::new(Account {
            grant,
            unused: Cell::new(0),
            in_use: Cell::new(0),
            wanted: Cell::new(0),
            queued: Cell::new(false),
            closed: Cell::new(false),
        });
        self.refill(&account);
        account
    }

    /// The peer wants `bytes` in all for what it has to send now.
    pub fn want(&self, account: &Rc<Account>, bytes: u32) {
        let missing = u64::from(bytes.min(BULK_CREDIT_BYTES_MAX));
        let missing = missing.saturating_sub(account.unused.get());
        account.wanted.set(missing);
        if 0 < missing && !account.queued.replace(true) {
            self.waiting.borrow_mut().push_back(account.clone());
        }
        self.serve();
    }

    /// The peer has begun to send a bulk request of `bytes`.
    ///
    /// # Errors
    /// It has less credit; nothing changes.
    pub fn begin(&self, account: &Account, bytes: u32) -> Result<(), Overdrawn> {
        let (found, credit) = (u64::from(bytes), account.unused.get());
        if credit < found {
            return Err(Overdrawn { found, credit });
        }
        account.unused.set(credit - found);
        account.in_use.set(account.in_use.get() + found);
        Ok(())
    }

    /// That request is done and its memory is free.
    ///
    /// # Panics
    /// E52: less is in use.
    pub fn done(&self, account: &Rc<Account>, bytes: u32) {
        let bytes = u64::from(bytes);
        let in_use = account.in_use.get();
        assert!(bytes <= in_use, "E52: {bytes} bytes of credit returned, {in_use} in use");
        account.in_use.set(in_use - bytes);
        self.take_back(bytes);
        self.serve();
        self.refill(account);
    }

    /// The connection has ended. What is in use returns through `done`.
    pub fn close(&self, account: &Rc<Account>) {
        account.closed.set(true);
        self.take_back(account.unused.replace(0));
        account.wanted.set(0);
        account.queued.set(false);
        self.waiting.borrow_mut().retain(|waiting| !Rc::ptr_eq(waiting, account));
        self.serve();
    }

    /// The peer returns credit that it does not use.
    ///
    /// # Errors
    /// It has less; nothing changes.
    pub fn give_back(&self, account: &Rc<Account>, bytes: u64) -> Result<(), Overdrawn> {
        let (found, credit) = (bytes, account.unused.get());
        if credit < found {
            return Err(Overdrawn { found, credit });
        }
        account.unused.set(credit - found);
        self.take_back(found);
        self.serve();
        Ok(())
    }

    fn take_back(&self, bytes: u64) {
        let granted = self.granted.get();
        assert!(bytes <= granted, "E52: {bytes} bytes taken back, {granted} granted");
        self.granted.set(granted - bytes);
    }

    fn give(&self, account: &Account, bytes: u64) {
        let granted = self.granted.get() + bytes;
        assert!(granted <= self.budget, "E52: {granted} bytes granted of {}", self.budget);
        self.granted.set(granted);
        account.unused.set(account.unused.get() + bytes);
        (account.grant)(u32::try_from(bytes).expect("grants are blocks, not more than 4 GiB"));
    }

    /// Grants to those who wait, a block each in turn, until a block does not fit. No peer holds
    /// more than half of the budget, so that one that hoards starves nobody.
    fn serve(&self) {
        let ceiling = self.budget / 2;
        let mut passed = 0;
        while passed < self.waiting.borrow().len() {
            let Some(head) = self.waiting.borrow_mut().pop_front() else { return };
            if head.wanted.get() == 0 {
                head.queued.set(false); // it no longer wants any
                continue;
            }
            let room = ceiling.saturating_sub(head.unused.get() + head.in_use.get());
            let block = head.wanted.get().min(u64::from(PAYLOAD_BYTES_MAX)).min(room);
            if block == 0 {
                self.waiting.borrow_mut().push_back(head);
                passed += 1; // its turn comes when it is done with something
                continue;
            }
            if self.budget - self.granted.get() < block {
                self.waiting.borrow_mut().push_front(head);
                return;
            }
            head.wanted.set(head.wanted.get() - block);
            if 0 < head.wanted.get() {
                self.waiting.borrow_mut().push_back(head.clone());
            } else {
                head.queued.set(false);
            }
            passed = 0;
            self.give(&head, block);
        }
    }

    /// Brings a working peer back to its idle credit, from the first half of the budget only.
    fn refill(&self, account: &Account) {
        if account.closed.get() || !self.waiting.borrow().is_empty() {
            return;
        }
        let held = account.unused.get() + account.in_use.get();
        let room = (self.budget / 2).saturating_sub(self.granted.get());
        let bytes = self.idle.saturating_sub(held).min(room);
        if 0 < bytes {
            self.give(account, bytes);
        }
    }
}
