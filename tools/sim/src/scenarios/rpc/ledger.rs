//! Every call with what its client was told, and every execution: the input of the checks.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::CallError;
use engine_types::{Instant, Rng, Status};

use crate::check::{CheckFailure, Verdict, fail};

use super::Part;

#[cfg(test)]
mod tests;

/// Timers fire up to 2 ms late and a busy core leaves a task waiting for half of one (V3); a call
/// passes a few of each.
const LATE_MAX: Duration = Duration::from_millis(20);

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// With its answer, which matched.
    Answered,
    /// Its client stopped waiting by itself.
    Dropped,
    /// Without an answer.
    Failed(CallError),
}

struct CallRecord {
    part: Part,
    /// Its server drains in this part.
    drained: bool,
    deadline: Instant,
    end: Option<(End, Instant)>,
    executions: u32,
    /// The client process has ended.
    orphan: bool,
}

/// What a process holds: (pool bytes, connections).
type Held = (usize, usize);
type Probe = Rc<dyn Fn() -> Held>;

/// Owned by the scenario; processes write into it.
#[derive(Default)]
pub(crate) struct Ledger {
    calls: RefCell<BTreeMap<u64, CallRecord>>,
    broken: RefCell<Option<CheckFailure>>,
    /// By name of the process: what it held at its start, and what it holds now.
    probes: RefCell<BTreeMap<String, (Held, Probe)>>,
}

/// The bytes that request `number` carries in one direction; `len` of them.
pub(crate) fn pattern(number: u64, answer: bool, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(number << 1 | u64::from(answer)).fill_bytes(&mut bytes);
    bytes
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.calls.borrow().len()
    }

    /// A client is about to call; the answer is the number of the request.
    pub(crate) fn begin(&self, client: usize, part: Part, drained: bool, deadline: Instant) -> u64 {
        let mut calls = self.calls.borrow_mut();
        let number = (client as u64) << 32 | calls.len() as u64;
        let (end, executions, orphan) = (None, 0, false);
        calls.insert(number, CallRecord { part, drained, deadline, end, executions, orphan });
        number
    }

    /// The call has ended, by the client's clock.
    pub(crate) fn end(&self, number: u64, end: End, now: Instant) {
        let mut calls = self.calls.borrow_mut();
        let call = calls.get_mut(&number).expect("begun before");
        call.end = Some((end, now));
    }

    /// The server executes a request.
    pub(crate) fn executed(&self, number: u64) {
        match self.calls.borrow_mut().get_mut(&number) {
            Some(call) => call.executions += 1,
            None => self.broken("T31 answers match", format!("request {number:#x} was never made")),
        }
    }

    /// A process of the client starts: what former ones waited for, nobody waits for.
    pub(crate) fn client_started(&self, client: usize) {
        for (number, call) in self.calls.borrow_mut().iter_mut() {
            if number >> 32 == client as u64 && call.end.is_none() {
                call.orphan = true;
            }
        }
    }

    pub(crate) fn broken(&self, check: &'static str, what: String) {
        self.broken.borrow_mut().get_or_insert(CheckFailure { check, what });
    }

    /// A process starts; `probe` says what it holds.
    pub(crate) fn watch(&self, name: String, probe: impl Fn() -> Held + 'static) {
        let now = probe();
        self.probes.borrow_mut().insert(name, (now, Rc::new(probe)));
    }

    pub(crate) fn check(&self) -> Verdict {
        if let Some(broken) = self.broken.borrow().clone() {
            return Err(broken);
        }
        self.calls.borrow().iter().try_for_each(|(number, call)| check_call(*number, call))
    }

    /// What every process holds now is what it held at its start.
    pub(crate) fn check_rest(&self) -> Verdict {
        for (name, (first, probe)) in self.probes.borrow().iter() {
            let now = probe();
            if now != *first {
                let what = format!("{name} holds (bytes, connections) {now:?}, at first {first:?}");
                return fail("T36 nothing is held at rest", what);
            }
        }
        Ok(())
    }
}

fn check_call(number: u64, call: &CallRecord) -> Verdict {
    let executions = call.executions;
    if 1 < executions {
        return fail(
            "T33 nothing runs twice",
            format!("request {number:#x} ran {executions} times"),
        );
    }
    let Some((end, at)) = &call.end else {
        let what = format!("request {number:#x} still waits, deadline {}", call.deadline);
        return if call.orphan { Ok(()) } else { fail("T30 calls end", what) };
    };
    if LATE_MAX < at.saturating_since(call.deadline) {
        let what = format!("request {number:#x} ended at {at}, deadline {}", call.deadline);
        return fail("T30 calls end by their deadline", what);
    }
    match end {
        End::Answered if executions != 1 => {
            fail("T33 what is answered ran once", format!("request {number:#x} never ran"))
        }
        End::Failed(error) if executions != 0 && not_taken(error) => fail(
            "T32 what is not taken never runs",
            format!("request {number:#x}: {error}, yet ran"),
        ),
        End::Failed(error) if call.part == Part::Quiet => {
            fail("T34 every call succeeds", format!("request {number:#x}: {error}"))
        }
        End::Failed(error) if call.part == Part::Draining => {
            let what = format!("request {number:#x}: {error}, executions {executions}");
            if !call.drained {
                fail("T34 every call succeeds", what)
            } else if executions != 0 {
                fail("T35 a draining server answers", what)
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// Whether the client may rely on the request never being executed.
fn not_taken(error: &CallError) -> bool {
    match error {
        CallError::Refused(status) => matches!(
            status,
            Status::Draining | Status::Busy | Status::UnsupportedKind | Status::Aborted
        ),
        CallError::DeadlineExceeded { sent } => !sent,
        CallError::Unreachable { .. } | CallError::Closed => true,
        CallError::Lost { .. } | CallError::Pool(_) | CallError::Wire(_) => false,
    }
}
