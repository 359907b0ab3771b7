//! What clients asked and were told, with world times: the input of checkers.
//!
//! Owned by the world's thread; clients hold clones. Times are world time, the same clock for every
//! client, so that a checker can compare them.

use core::cell::RefCell;
use std::rc::Rc;

use engine_types::Instant;

/// Names an operation within its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(usize);

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<R> {
    /// Not yet.
    Pending,
    /// With an answer.
    Returned {
        /// When.
        at: Instant,
        /// The answer.
        result: R,
    },
    /// Without effect, and it will have none.
    Failed {
        /// When.
        at: Instant,
    },
    /// Nobody knows whether it has or will have its effect.
    Unknown {
        /// When the client gave up.
        at: Instant,
    },
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, R> {
    /// Who asked.
    pub client: u32,
    /// When.
    pub invoked: Instant,
    /// What.
    pub call: C,
    /// How it ended.
    pub end: End<R>,
}

impl<C, R> Operation<C, R> {
    /// The answer, if there was one.
    pub fn result(&self) -> Option<&R> {
        match &self.end {
            End::Returned { result, .. } => Some(result),
            _ => None,
        }
    }
}

/// All operations of a world, in the order in which they began.
#[derive(Debug)]
pub struct History<C, R> {
    operations: Rc<RefCell<Vec<Operation<C, R>>>>,
}

impl<C, R> Clone for History<C, R> {
    fn clone(&self) -> Self {
        Self { operations: self.operations.clone() }
    }
}

impl<C, R> Default for History<C, R> {
    fn default() -> Self {
        Self { operations: Rc::default() }
    }
}

impl<C: Clone, R: Clone> History<C, R> {
    /// A client asks.
    pub fn invoke(&self, client: u32, at: Instant, call: C) -> OperationId {
        let mut operations = self.operations.borrow_mut();
        operations.push(Operation { client, invoked: at, call, end: End::Pending });
        OperationId(operations.len() - 1)
    }

    /// The operation ended.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn end(&self, id: OperationId, end: End<R>) {
        let mut operations = self.operations.borrow_mut();
        let operation = &mut operations[id.0];
        assert!(matches!(operation.end, End::Pending), "operation {} ends once", id.0);
        operation.end = end;
    }

    /// Operations so far.
    pub fn len(&self) -> usize {
        self.operations.borrow().len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `look` makes of all operations; it may not add any.
    pub fn with<T>(&self, look: impl FnOnce(&[Operation<C, R>]) -> T) -> T {
        look(&self.operations.borrow())
    }

    /// A copy of all operations, for checkers.
    pub fn operations(&self) -> Vec<Operation<C, R>> {
        self.operations.borrow().clone()
    }
}
