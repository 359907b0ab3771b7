//! What waits to be written: requests that become a change of the cluster's records, one after the
//! other, as a change stands on what the one before it has left.
//!
//! Owner: the manager. Handlers put work in and wait; the driver of the term takes it out. A term
//! that ends refuses what is left, and nothing of that was done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::Notify;
use engine_types::{NodeId, SessionId};
use mgmt_cluster::registry::Registration;
use mgmt_cluster::session::Client;
use mgmt_protocol::{Done, Operation, Refusal, RefusalCode, SessionTold};

/// Requests that wait at most: registrations of a cluster that starts all at once, a few
/// milliseconds each.
pub(crate) const WORK_MAX: usize = 16_384;

/// Something to write.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Register(Registration),
    Open(Client),
    Close(SessionId),
    Operate(Operation),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Registered(NodeId),
    Session(SessionTold),
    Done(Done),
}

/// A place where the outcome arrives.
#[derive(Default)]
struct Slot {
    told: RefCell<Option<Result<Outcome, Refusal>>>,
    arrived: Notify,
}

/// Work with somebody who waits for it.
pub(crate) struct Item {
    pub(crate) work: Work,
    slot: Rc<Slot>,
    /// It was begun, and whether it took effect is not known: a repeatable one is done again.
    pub(crate) begun: Cell<bool>,
}

/// Whoever waits is told something in any case.
impl Drop for Item {
    fn drop(&mut self) {
        if self.slot.told.borrow().is_none() {
            let text = "the manager gave this up";
            let code = match self.begun.get() {
                true => RefusalCode::UnknownResult,
                false => RefusalCode::NotReady,
            };
            self.tell(Err(Refusal::new(code, text)));
        }
    }
}

impl Item {
    pub(crate) fn answer(self, told: Result<Outcome, Refusal>) {
        self.tell(told);
    }

    fn tell(&self, told: Result<Outcome, Refusal>) {
        *self.slot.told.borrow_mut() = Some(told);
        self.slot.arrived.notify();
    }

    /// Nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.slot) == 1
    }

    /// Whether doing it again is the same as doing it once.
    pub(crate) const fn is_repeatable(&self) -> bool {
        matches!(self.work, Work::Register(_) | Work::Open(_) | Work::Close(_))
    }
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue(RefCell<VecDeque<Item>>);

impl Queue {
    /// Puts work at the end; the future gives its outcome. Nothing if the queue is full.
    pub(crate) fn push(
        &self,
        work: Work,
    ) -> Option<impl Future<Output = Result<Outcome, Refusal>> + use<>> {
        let mut queue = self.0.borrow_mut();
        if WORK_MAX <= queue.len() {
            return None;
        }
        let slot = Rc::new(Slot::default());
        queue.push_back(Item { work, slot: slot.clone(), begun: Cell::new(false) });
        Some(async move {
            slot.arrived.until(|| slot.told.borrow().is_some()).await;
            slot.told.borrow().clone().expect("waited for above")
        })
    }

    /// The next one that somebody waits for.
    pub(crate) fn pop(&self) -> Option<Item> {
        let mut queue = self.0.borrow_mut();
        while let Some(item) = queue.pop_front() {
            if !item.is_abandoned() {
                return Some(item);
            }
        }
        None
    }

    /// Puts one back that was not decided.
    pub(crate) fn put_back(&self, item: Item) {
        self.0.borrow_mut().push_front(item);
    }

    /// Refuses everything that waits: the term is over.
    pub(crate) fn refuse_all(&self, refusal: &Refusal) {
        for item in self.0.take() {
            let unknown = || {
                let text = "the manager lost its lease while this was written";
                Refusal::new(RefusalCode::UnknownResult, text)
            };
            let told = if item.begun.get() { unknown() } else { refusal.clone() };
            item.answer(Err(told));
        }
    }
}
