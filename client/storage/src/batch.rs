//! Batches of updates: each goes as soon as there is a channel of its chain.
//!
//! Whoever holds channels goes on while the rest of its batch waits for more, so batches do not
//! wait for each other in a circle, and one update that does not end holds up no other. One update
//! of a batch stands in line at a time; when it gets its channel, those that find one at once go
//! with it.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

use engine_runtime::{Env, First, first, until};
use engine_types::Instant;

use crate::Inner;
use crate::drive::{Driven, Ended, Item};
use crate::error::{StorageError, Subject};
use crate::update::{Lease, Update, UpdateOp, Updated};

type Leased<E> = Result<Lease<E>, StorageError>;

/// One that stands in line for a channel.
struct InLine<E: Env> {
    index: usize,
    leased: Pin<Box<dyn Future<Output = Leased<E>>>>,
}

struct Batch<E: Env> {
    inner: Rc<Inner<E>>,
    deadline: Instant,
    /// Without a channel, in the order given; the one in line among them.
    waiting: Vec<(usize, Update<E>)>,
    line: Option<InLine<E>>,
    running: Vec<Driven<Updated>>,
}

/// What a batch waits for.
enum Event<E: Env> {
    Ended(Vec<Ended<Updated>>),
    Leased(usize, Leased<E>),
}

/// Does updates, which were checked, each with its index.
pub(crate) async fn updates<E: Env>(
    inner: Rc<Inner<E>>,
    updates: Vec<(usize, Update<E>)>,
    deadline: Instant,
) -> Vec<Ended<Updated>> {
    let mut ended = Vec::with_capacity(updates.len());
    let (line, running) = (None, Vec::new());
    let mut batch = Batch { inner, deadline, waiting: updates, line, running };
    let mut items = Vec::new();
    loop {
        batch.start(&mut items);
        if batch.line.is_none() && batch.running.len() == 1 {
            // All are on their way.
            if let Some(last) = batch.running.pop() {
                ended.extend(last.await);
            }
            return ended;
        }
        if batch.line.is_none() && batch.running.is_empty() {
            return ended;
        }
        match poll_fn(|context| batch.poll(context)).await {
            Event::Ended(some) => ended.extend(some),
            Event::Leased(index, leased) => {
                let at = batch.waiting.iter().position(|&(waiting, _)| waiting == index);
                let at = at.expect("E370: who is in line waits");
                let (_, update) = batch.waiting.remove(at);
                match leased {
                    Ok(lease) => items.push(Item::new(index, UpdateOp::new(update, lease))),
                    Err(error) => ended.push((index, Err(error))),
                }
            }
        }
    }
}

impl<E: Env> Batch<E> {
    /// Starts `items` with whatever finds a channel at once, and puts one of the rest in line.
    fn start(&mut self, items: &mut Vec<Item<E, UpdateOp<E>>>) {
        let in_line = self.line.as_ref().map(|line| line.index);
        let waiting = core::mem::take(&mut self.waiting);
        for (index, update) in waiting {
            let lease = if in_line == Some(index) {
                None
            } else {
                self.inner.try_lease(update.chain, update.chunk)
            };
            match lease {
                Some(lease) => items.push(Item::new(index, UpdateOp::new(update, lease))),
                None => self.waiting.push((index, update)),
            }
        }
        if !items.is_empty() {
            let items = core::mem::take(items);
            self.running.push(self.inner.clone().drive(items, self.deadline));
        }
        if self.line.is_none() {
            // One that an abandoned update holds up stands in line only if all are held up.
            let is_free = |(_, update): &&(usize, Update<E>)| {
                !self.inner.is_haunted(update.chain, update.chunk)
            };
            let next = self.waiting.iter().find(is_free).or_else(|| self.waiting.first());
            self.line = next.map(|(index, update)| {
                let leased = Box::pin(lease(self.inner.clone(), about(update), self.deadline));
                InLine { index: *index, leased }
            });
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event<E>> {
        for index in 0..self.running.len() {
            if let Poll::Ready(some) = self.running[index].as_mut().poll(context) {
                drop(self.running.swap_remove(index));
                return Poll::Ready(Event::Ended(some));
            }
        }
        let Some(line) = &mut self.line else { return Poll::Pending };
        let (index, leased) = (line.index, line.leased.as_mut().poll(context));
        leased.map(|leased| {
            self.line = None;
            Event::Leased(index, leased)
        })
    }
}

const fn about<E: Env>(update: &Update<E>) -> Subject {
    Subject { op: update.change.op(), chain: update.chain, chunk: update.chunk }
}

/// A channel, in line.
async fn lease<E: Env>(inner: Rc<Inner<E>>, subject: Subject, deadline: Instant) -> Leased<E> {
    let Subject { chain, chunk, .. } = subject;
    let waiting = first(inner.wait_lease(chain, chunk), inner.closed.cancelled());
    match until(&inner.env, deadline, waiting).await {
        Ok(First::Left(lease)) => Ok(lease),
        Ok(First::Right(())) => Err(StorageError::Closed { subject, may_have_happened: false }),
        Err(_) => {
            let wanted = if inner.is_haunted(chain, chunk) {
                "an abandoned update of the chunk that may still happen"
            } else {
                "one of the channels of the chain"
            };
            Err(StorageError::DeadlineExceeded {
                subject,
                wanted: Some(wanted),
                tried: Vec::new(),
                may_have_happened: false,
            })
        }
    }
}
