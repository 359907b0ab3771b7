use super::*;
use engine_types::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

type LogOperation = Operation<LogCall, Option<Vec<u64>>>;

fn append(client: u32, from: u64, to: u64, value: u64) -> LogOperation {
    let end = End::Returned { at: at(to), result: None };
    Operation { client, invoked: at(from), call: LogCall::Append(value), end }
}

fn read(client: u32, from: u64, to: u64, values: &[u64]) -> LogOperation {
    let end = End::Returned { at: at(to), result: Some(values.to_vec()) };
    Operation { client, invoked: at(from), call: LogCall::Read, end }
}

fn unknown(client: u32, from: u64, value: u64) -> LogOperation {
    let end = End::Unknown { at: at(from + 1) };
    Operation { client, invoked: at(from), call: LogCall::Append(value), end }
}

#[test]
fn logs_are_judged_by_real_time_and_by_answers() {
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<LogOperation>, bool)> = vec![
        ("nothing", vec![], true),
        ("one after the other", vec![append(1, 0, 1, 7), read(2, 2, 3, &[7])], true),
        ("a stale read", vec![append(1, 0, 1, 7), read(2, 2, 3, &[])], false),
        ("a read that overlaps", vec![append(1, 0, 5, 7), read(2, 2, 3, &[])], true),
        ("new, then old", vec![append(1, 0, 9, 7), read(2, 2, 3, &[7]), read(3, 4, 5, &[])], false),
        ("equal times overlap", vec![append(1, 0, 2, 7), read(2, 2, 3, &[])], true),
        ("either order", vec![append(1, 0, 5, 7), append(2, 0, 5, 8),
                         read(3, 6, 7, &[8, 7])], true),
        ("two orders", vec![append(1, 0, 5, 7), append(2, 0, 5, 8), read(3, 6, 7, &[8, 7]),
                            read(3, 8, 9, &[7, 8])], false),
        ("unknown and seen later", vec![unknown(1, 0, 7), read(2, 5, 6, &[]),
                                   read(2, 8, 9, &[7])], true),
        ("unknown and never seen", vec![unknown(1, 0, 7), read(2, 5, 6, &[])], true),
        ("seen before it was asked", vec![read(2, 0, 1, &[7]), unknown(1, 2, 7)], false),
        ("applied twice", vec![append(1, 0, 1, 7), read(2, 2, 3, &[7, 7])], false),
        ("lost", vec![append(1, 0, 1, 7), append(1, 2, 3, 8), read(2, 4, 5, &[8])], false),
    ];
    for (name, operations, expected) in rows {
        let verdict = linearizable::<AppendLog>(&operations);
        assert_eq!(verdict.is_ok(), expected, "{name}: {verdict:?}");
    }
}

#[test]
fn registers_are_judged_the_same_way() {
    let operation = |from, to, call, result| Operation {
        client: 1,
        invoked: at(from),
        call,
        end: End::Returned { at: at(to), result },
    };
    let write = |from, to, value| operation(from, to, RegisterCall::Write(value), value);
    let read = |from, to, value| operation(from, to, RegisterCall::Read, value);
    assert_eq!(linearizable::<Register>(&[write(0, 1, 5), read(2, 3, 5)]), Ok(()));
    assert_eq!(linearizable::<Register>(&[write(0, 4, 5), read(2, 3, 0)]), Ok(()));
    let stale = [write(0, 1, 5), write(2, 3, 6), read(4, 5, 5)];
    assert!(linearizable::<Register>(&stale).is_err());
}

/// Against a history that was made by executing operations in a known order.
#[test]
fn histories_made_in_order_pass_and_changed_ones_do_not() {
    for seed in 0..200 {
        let mut rng = engine_types::Rng::new(seed);
        let (mut log, mut operations) = (Vec::new(), Vec::new());
        for step in 1..=60 {
            let point = step * 10; // the moment at which it takes effect
            let (from, to) = (point - rng.below(40).min(point), point + rng.below(40));
            if rng.chance(600) {
                log.push(step);
                let lost = rng.chance(200);
                operations.push(if lost {
                    unknown(1, from, step)
                } else {
                    append(1, from, to, step)
                });
            } else {
                operations.push(read(2, from, to, &log));
            }
        }
        assert_eq!(linearizable::<AppendLog>(&operations), Ok(()), "seed {seed}");
        let last = log.len();
        operations.push(read(3, 5_000, 5_001, &log[..last - 1]));
        let acknowledged = operations.iter().any(|operation| {
            operation.call == LogCall::Append(log[last - 1]) && operation.result().is_some()
        });
        let seen = operations.iter().any(
            |operation| matches!(operation.result(), Some(Some(values)) if values.len() == last),
        );
        let verdict = linearizable::<AppendLog>(&operations);
        assert_eq!(verdict.is_err(), acknowledged || seen, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn a_search_that_is_too_large_fails() {
    let operations: Vec<_> = (0..300).map(|value| append(1, value, value, value)).collect();
    let failure = linearizable::<AppendLog>(&operations).expect_err("T12: more than it searches");
    assert!(failure.what.contains("at most"), "{failure}");
}

#[test]
fn effects_happen_once_and_stay() {
    let asked = BTreeSet::from([1, 2, 3]);
    assert_eq!(exactly_once(&asked, &[1, 3]), Ok(()));
    assert!(exactly_once(&asked, &[1, 3, 1]).is_err(), "twice");
    assert!(exactly_once(&asked, &[4]).is_err(), "never asked for");
    assert_eq!(durable(&BTreeSet::from([1, 3]), &[3, 2, 1]), Ok(()));
    assert!(durable(&BTreeSet::from([1, 3]), &[3]).is_err(), "lost");
}

#[test]
fn replicas_differ_in_content_or_length() {
    let replicas = |lists: &[&[u32]]| -> Vec<(String, Vec<u32>)> {
        lists.iter().enumerate().map(|(i, list)| (i.to_string(), list.to_vec())).collect()
    };
    assert_eq!(replicas_equal(&replicas(&[&[1, 2], &[1, 2], &[1, 2]])), Ok(()));
    assert!(replicas_equal(&replicas(&[&[1, 2], &[1, 2], &[1, 3]])).is_err());
    assert!(replicas_equal(&replicas(&[&[1, 2], &[1]])).is_err());
}

#[test]
fn reads_of_one_client_only_grow() {
    let reads = |lists: &[(u32, &[u32])]| -> Vec<(u32, char, Vec<u32>)> {
        lists.iter().map(|(client, list)| (*client, 'k', list.to_vec())).collect()
    };
    assert_eq!(monotonic_reads(reads(&[(1, &[1]), (2, &[]), (1, &[1, 2])])), Ok(()));
    assert!(monotonic_reads(reads(&[(1, &[1, 2]), (1, &[1])])).is_err(), "shrinks");
    assert!(monotonic_reads(reads(&[(1, &[1]), (1, &[2, 1])])).is_err(), "changes");
}

#[test]
fn a_call_that_waits_for_ever_is_found() {
    let mut operations = vec![append(1, 0, 1, 7)];
    assert_eq!(every_call_ends(&operations), Ok(()));
    operations[0].end = End::Pending;
    assert!(every_call_ends(&operations).is_err());
}
