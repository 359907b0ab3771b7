use super::*;
use engine_net::CallError;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// One call with a deadline of 100 ms that was executed `executions` times.
fn verdict(part: Part, drained: bool, executions: u32, end: Option<(End, u64)>) -> Verdict {
    let ledger = Ledger::default();
    let number = ledger.begin(1, part, drained, at(100));
    (0..executions).for_each(|_| ledger.executed(number));
    if let Some((end, ms)) = end {
        ledger.end(number, end, at(ms));
    }
    ledger.check()
}

#[test]
fn calls_are_judged_by_what_the_client_was_told() {
    let late = || End::Failed(CallError::DeadlineExceeded { sent: true });
    let unsent = || End::Failed(CallError::DeadlineExceeded { sent: false });
    let refused = |status| End::Failed(CallError::Refused(status));
    #[rustfmt::skip]
    let rows = [
        ("answered once", Part::Faults, false, 1, Some((End::Answered, 50)), true),
        ("answered, never ran", Part::Faults, false, 0, Some((End::Answered, 50)), false),
        ("ran twice", Part::Faults, false, 2, Some((late(), 100)), false),
        ("late and executed", Part::Faults, false, 1, Some((late(), 101)), true),
        ("far too late", Part::Faults, false, 1, Some((late(), 130)), false),
        ("never ends", Part::Faults, false, 0, None, false),
        ("not sent, yet ran", Part::Faults, false, 1, Some((unsent(), 100)), false),
        ("not sent", Part::Faults, false, 0, Some((unsent(), 100)), true),
        ("refused, yet ran", Part::Faults, false, 1, Some((refused(Status::Draining), 9)), false),
        ("dropped", Part::Faults, false, 1, Some((End::Dropped, 9)), true),
        ("fails at rest", Part::Quiet, false, 0, Some((unsent(), 100)), false),
        ("elsewhere drained", Part::Draining, false, 0, Some((unsent(), 100)), false),
        ("drained and refused", Part::Draining, true, 0,
            Some((refused(Status::Draining), 9)), true),
        ("drained and lost", Part::Draining, true, 1, Some((late(), 100)), false),
    ];
    for (name, part, drained, executions, end, expected) in rows {
        let verdict = verdict(part, drained, executions, end);
        assert_eq!(verdict.is_ok(), expected, "{name}: {verdict:?}");
    }
}

#[test]
fn calls_of_a_process_that_ended_are_not_waited_for() {
    let ledger = Ledger::default();
    ledger.begin(1, Part::Faults, false, at(100));
    assert!(ledger.check().is_err(), "T30");
    ledger.client_started(1);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_leak_and_a_stray_execution_are_found() {
    let ledger = Ledger::default();
    let held = Rc::new(core::cell::Cell::new(0));
    let probe = held.clone();
    ledger.watch("server".to_owned(), move || (probe.get(), 0));
    assert_eq!(ledger.check_rest(), Ok(()));
    held.set(4096);
    assert!(ledger.check_rest().is_err(), "T36");
    ledger.executed(77);
    assert!(ledger.check().is_err(), "T31: nobody asked for it");
}

#[test]
fn patterns_differ_by_request_and_direction() {
    assert_ne!(pattern(1, false, 64), pattern(2, false, 64));
    assert_ne!(pattern(1, false, 64), pattern(1, true, 64));
}
