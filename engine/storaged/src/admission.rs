//! The line before the work of a shard: [`Fair`] decides, this waits.
//!
//! What a client asks holds a permit until it is answered. What other shards send does not stand
//! in this line: it was admitted at the head of its chain, and a later hop never waits for an
//! earlier one (W2).

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

use engine_types::Map;

use crate::fair::{AdmissionSettings, Asked, Class, Fair};

/// See the module.
pub(crate) struct Admission {
    fair: RefCell<Fair>,
    /// By ticket: who waits, or nothing for one that was chosen and has not noticed yet.
    waiting: RefCell<Map<u64, Option<Waker>>>,
}

/// The right to work; it goes when the work has ended.
pub(crate) struct Permit {
    admission: Rc<Admission>,
    class: Class,
    cost: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.fair.borrow_mut().done(self.class, self.cost);
        self.admission.choose();
    }
}

impl Admission {
    pub(crate) fn new(settings: AdmissionSettings) -> Rc<Self> {
        let fair = RefCell::new(Fair::new(settings));
        Rc::new(Self { fair, waiting: RefCell::default() })
    }

    /// Waits until work of a client may run; nothing when too much waits.
    pub(crate) async fn enter(
        self: &Rc<Self>,
        class: Class,
        client: u128,
        cost: u64,
    ) -> Option<Permit> {
        let asked = self.fair.borrow_mut().ask(class, client, cost);
        match asked {
            Asked::Now => {}
            Asked::Wait(ticket) => {
                engine_types::reached!("W3: work waits for its turn");
                let mut place = Place { admission: self, class, client, ticket, cost: Some(cost) };
                poll_fn(|cx| place.poll(cx)).await;
            }
            Asked::Full => return None,
        }
        Some(Permit { admission: self.clone(), class, cost })
    }

    /// Work that waits, and the cost of what is running.
    pub(crate) fn load(&self) -> (usize, u64) {
        self.fair.borrow().load()
    }

    /// Wakes whoever has room now.
    fn choose(&self) {
        loop {
            let next = self.fair.borrow_mut().next();
            let Some(ticket) = next else { return };
            let waiting = self.waiting.borrow_mut().insert(ticket, None);
            if let Some(waker) = waiting.flatten() {
                waker.wake();
            }
        }
    }
}

/// A place in the line.
struct Place<'a> {
    admission: &'a Admission,
    class: Class,
    client: u128,
    ticket: u64,
    /// Nothing once it was chosen and has noticed.
    cost: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.admission.waiting.borrow_mut();
        if let Some(None) = waiting.get(&self.ticket) {
            waiting.remove(&self.ticket);
            self.cost = None;
            return Poll::Ready(());
        }
        waiting.insert(self.ticket, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(cost) = self.cost else { return };
        let admission = self.admission;
        admission.waiting.borrow_mut().remove(&self.ticket);
        let mut fair = admission.fair.borrow_mut();
        if !fair.leave(self.class, self.client, self.ticket) {
            fair.done(self.class, cost); // it was chosen and is gone
        }
        drop(fair);
        admission.choose();
    }
}

#[cfg(test)]
mod tests;
