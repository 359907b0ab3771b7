mod model;

use alloc::string::{String, ToString};
use alloc::vec;

use engine_types::{ClusterId, Incarnation, NodeId};

use super::*;

const T0: Timeline = Timeline::new(0);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn id(raw: u64) -> SessionId {
    SessionId::new(raw)
}

fn r(raw: u64) -> RoutingVersion {
    RoutingVersion::new(raw)
}

fn client(uuid: u128, epoch: u32) -> Client {
    let (name, host) = (String::from("job"), String::from("h1"));
    Client { uuid: StoreId::new(uuid), epoch, process: 1, name, host }
}

fn empty() -> Sessions {
    let timeout = SESSION_TIMEOUT_DEFAULT;
    Sessions::load(SessionSummary::default(), [], T0, timeout, at(0), at(0)).unwrap()
}

fn open(sessions: &mut Sessions, uuid: u128, now: u64) -> SessionId {
    match sessions.plan_open(client(uuid, 1), r(1), r(2)).unwrap() {
        Opening::Existing(session) => session,
        Opening::New(session, change) => {
            sessions.committed(change, at(now));
            session
        }
    }
}

fn revoke(sessions: &mut Sessions, session: u64, version: u64) {
    let reason = RevokeReason::Operator;
    let change = sessions.plan_revoke(&[id(session)], reason, r(version)).unwrap().unwrap();
    sessions.committed(change, at(0));
}

/// Floor and single ids as they are published.
fn published(sessions: &Sessions) -> (u64, Vec<u64>) {
    let mut routing = RoutingInfo::empty(ClusterId::new(1));
    sessions.publish(&mut routing);
    (routing.revoked_below.get(), routing.revoked.into_iter().map(SessionId::get).collect())
}

#[test]
fn ids_ascend_and_an_answer_may_be_lost() {
    let mut sessions = empty();
    assert_eq!(open(&mut sessions, 10, 0), id(0));
    assert_eq!(open(&mut sessions, 11, 0), id(1));
    assert_eq!(open(&mut sessions, 10, 0), id(0), "the same session again");
    let mut lost = empty();
    let Opening::New(_, change) = lost.plan_open(client(1, 1), r(1), r(2)).unwrap() else {
        panic!("nothing is open")
    };
    lost.failed(change);
    assert_eq!((open(&mut lost, 1, 0), lost.live_count()), (id(0), 1));
}

#[test]
fn a_later_epoch_replaces_and_an_earlier_one_is_refused() {
    let mut sessions = empty();
    open(&mut sessions, 10, 0);
    let Opening::New(session, change) = sessions.plan_open(client(10, 2), r(4), r(5)).unwrap()
    else {
        panic!("another epoch")
    };
    assert!(change.revokes && change.put.len() == 2);
    sessions.committed(change, at(0));
    assert_eq!((session, published(&sessions)), (id(1), (1, vec![])));
    assert_eq!(sessions.extend(id(0), at(1)), Err(SessionError::Revoked { session: id(0) }));
    let error = sessions.plan_open(client(10, 1), r(5), r(6)).unwrap_err();
    let text = "epoch 1 is over, session-1 is of epoch 2";
    assert!(error.to_string().ends_with(text), "{error}");
}

#[test]
fn the_floor_swallows_revoked_ids_below_the_lowest_live_one() {
    let mut sessions = empty();
    (0..6).for_each(|uuid| {
        open(&mut sessions, uuid, 0);
    });
    let rows = [(3, (0, vec![3])), (1, (0, vec![1, 3])), (0, (2, vec![3])), (2, (4, vec![]))];
    for (version, (session, expected)) in (2..).zip(rows) {
        revoke(&mut sessions, session, version);
        assert_eq!(published(&sessions), expected, "after {session}");
    }
    let none = sessions.plan_revoke(&[id(3), id(0)], RevokeReason::Closed, r(9));
    assert_eq!(none, Ok(None), "they are revoked already");
    let unknown = sessions.plan_revoke(&[id(6)], RevokeReason::Closed, r(9));
    assert_eq!(unknown, Err(SessionError::Unknown { session: id(6), next: id(6) }));
}

#[test]
fn silence_ends_a_session() {
    let mut sessions = empty();
    (0..3).for_each(|uuid| {
        open(&mut sessions, uuid, uuid.try_into().unwrap());
    });
    assert_eq!(sessions.extend(id(1), at(30)), Ok(SESSION_TIMEOUT_DEFAULT));
    assert_eq!(sessions.plan_expire(at(59), r(2)), Ok(None));
    let change = sessions.plan_expire(at(62), r(2)).unwrap().unwrap();
    let ended: Vec<_> = change.put.iter().map(|(session, _)| session.get()).collect();
    assert_eq!(ended, [0, 2]);
    sessions.committed(change, at(62));
    assert_eq!(published(&sessions), (1, vec![2]));
    let live: Vec<_> = sessions.list(at(62)).filter_map(|(.., silence)| silence).collect();
    assert_eq!(live, [Duration::from_secs(32)]);
}

#[test]
fn silence_that_nobody_listened_to_ends_nothing() {
    let mut sessions = empty();
    (0..2).for_each(|uuid| {
        open(&mut sessions, uuid, 0);
    });
    sessions.extend(id(1), at(200)).unwrap();
    sessions.resumed(at(100));
    assert_eq!(sessions.plan_expire(at(159), r(2)), Ok(None));
    let change = sessions.plan_expire(at(160), r(2)).unwrap().unwrap();
    assert_eq!(change.put[0].0, id(0));
    assert_eq!(change.put.len(), 1, "what was heard later stays");
    sessions.committed(change, at(160));
    sessions.resumed(at(300));
    assert_eq!(sessions.plan_expire(at(359), r(3)), Ok(None));
    assert_eq!(sessions.row(id(0)).map(SessionRecord::is_live), Some(false));
    assert_eq!(sessions.row(id(2)), None);
    let behind: Vec<_> = sessions.list_after(Some(id(0)), at(300)).map(|row| row.0).collect();
    assert_eq!(behind, [id(1)]);
}

#[test]
fn the_longest_silence_ends_first() {
    let mut sessions = empty();
    let count = SESSION_ROWS_PER_CHANGE_MAX as u64 + 2;
    (0..count).for_each(|uuid| {
        open(&mut sessions, uuid.into(), 0);
    });
    // The lower the id, the later it was heard.
    for raw in 0..count {
        sessions.extend(id(raw), at(10 + count - raw)).unwrap();
        sessions.extend(id(raw), at(5)).unwrap(); // late: nothing is taken back
    }
    let change = sessions.plan_expire(at(5000), r(2)).unwrap().unwrap();
    let ended: BTreeSet<u64> = change.put.iter().map(|(session, _)| session.get()).collect();
    assert_eq!(ended, (2..count).collect());
    sessions.committed(change, at(5000));
    let change = sessions.plan_expire(at(5000), r(3)).unwrap().unwrap();
    assert_eq!(change.put.len(), 2, "the rest");
    sessions.committed(change, at(5000));
    assert_eq!(sessions.plan_expire(at(9000), r(4)), Ok(None));
}

#[test]
fn a_session_is_fenced_when_every_node_has_drained_or_lost_its_lease() {
    let mut sessions = empty();
    let (one, two, start) = (NodeId::new(1), NodeId::new(2), Incarnation::new(1));
    for node in [one, two] {
        sessions.fences_mut().reported(node, start, r(1), r(1)).unwrap();
        sessions.fences_mut().granted(node, at(10));
    }
    open(&mut sessions, 5, 0);
    assert!(!sessions.fenced(id(0)) && !sessions.fenced(id(1)), "live, and never opened");
    revoke(&mut sessions, 0, 2);
    assert!(!sessions.fenced(id(0)));
    assert_eq!(sessions.plan_fence(at(1)), Ok(None));
    sessions.fences_mut().reported(one, start, r(2), r(2)).unwrap();
    let waits = Waiting { node: two, drained: r(1), needed: r(2), lease_until: at(10) };
    assert_eq!(sessions.waits_for(id(0), at(1)), [waits]);
    assert_eq!(sessions.plan_fence(at(9)), Ok(None));
    let change = sessions.plan_fence(at(10)).unwrap().unwrap();
    // E294: from the plan on.
    assert_eq!(sessions.fences().may_lease(one, start), Ok(()));
    let (found, needed) = (r(1), r(2));
    let refused = FenceError::NotDrained { node: two, incarnation: start, found, needed };
    assert_eq!(sessions.fences().may_lease(two, start), Err(refused));
    assert!(!sessions.fenced(id(0)), "it is not in the KV");
    sessions.committed(change, at(10));
    assert!(sessions.fenced(id(0)) && sessions.waits_for(id(0), at(10)).is_empty());
    let change = sessions.plan_sweep().unwrap().unwrap();
    sessions.committed(change, at(10));
    assert!(sessions.fenced(id(0)) && sessions.list(at(10)).next().is_none());
    sessions.fences_mut().reported(two, start, r(2), r(2)).unwrap();
    assert_eq!(sessions.fences().may_lease(two, start), Ok(()));
}

#[test]
fn a_new_start_does_not_speak_for_the_former_one() {
    let mut sessions = empty();
    let node = NodeId::new(1);
    sessions.fences_mut().reported(node, Incarnation::new(1), r(1), r(1)).unwrap();
    sessions.fences_mut().granted(node, at(10));
    open(&mut sessions, 5, 0);
    revoke(&mut sessions, 0, 2);
    sessions.fences_mut().reported(node, Incarnation::new(2), r(2), r(2)).unwrap();
    assert_eq!(sessions.plan_fence(at(9)), Ok(None), "its lease may be in use");
    sessions.fences_mut().forget(node);
    assert_eq!(sessions.plan_fence(at(9)), Ok(None), "nor does unregistering end it");
    let late = sessions.fences_mut().reported(node, Incarnation::new(1), r(2), r(2));
    let (found, known) = (Incarnation::new(1), Incarnation::new(2));
    assert_eq!(late, Err(FenceError::FormerStart { node, found, known }));
    let early = sessions.fences_mut().reported(node, known, r(3), r(2));
    assert_eq!(early, Err(FenceError::Beyond { node, found: r(3), published: r(2) }));
    assert!(sessions.plan_fence(at(10)).unwrap().is_some());
}

#[test]
fn after_a_takeover_every_lease_counts_as_just_granted() {
    let mut sessions = empty();
    open(&mut sessions, 5, 0);
    revoke(&mut sessions, 0, 2);
    let rows: Vec<_> = sessions.list(at(0)).map(|(id, row, _)| (id, row.clone())).collect();
    let (summary, timeout) = (sessions.summary(), SESSION_TIMEOUT_DEFAULT);
    let mut next = Sessions::load(summary, rows, T0, timeout, at(100), at(103)).unwrap();
    assert_eq!(next.plan_fence(at(102)), Ok(None), "nobody was heard, but somebody may serve");
    assert!(next.plan_fence(at(103)).unwrap().is_some());
}

#[test]
fn a_raised_timeline_ends_every_session_known_or_not() {
    let mut sessions = empty();
    (1..4).for_each(|uuid| {
        open(&mut sessions, uuid, 0);
    });
    let (node, start, next) = (NodeId::new(1), Incarnation::new(1), Timeline::new(1));
    // The node drained far more in the history that was lost.
    sessions.fences_mut().reported_in(node, start, (T0, r(90)), r(90)).unwrap();
    sessions.fences_mut().granted(node, at(100));
    assert_eq!(sessions.plan_lift(r(2)), Ok(None));
    sessions.raise_timeline(next);
    let (found, expected) = (T0, next);
    let former = Err(SessionError::FormerTimeline { found, expected });
    assert_eq!(sessions.plan_open(client(1, 1), r(1), r(2)), former);
    let change = sessions.plan_lift(r(3)).unwrap().unwrap();
    assert_eq!((change.put.len(), change.remove.len(), change.revokes), (0, 0, true));
    let rows: Vec<_> = sessions.list(at(0)).map(|(id, row, _)| (id, row.clone())).collect();
    sessions.committed(change, at(0));
    let first = id(SESSION_ID_LIFT + 3);
    let timeout = SESSION_TIMEOUT_DEFAULT;
    let loaded = Sessions::load(sessions.summary(), rows, next, timeout, at(0), at(0)).unwrap();
    for mut sessions in [sessions, loaded] {
        // A session of the lost history has an id between those known and the next one.
        let lost = id(700);
        assert_eq!(published(&sessions), (first.get(), vec![]));
        assert!(!sessions.fenced(id(0)) && !sessions.fenced(lost) && !sessions.fenced(first));
        assert_eq!(sessions.extend(lost, at(1)), Err(SessionError::Revoked { session: lost }));
        sessions.fences_mut().reported_in(node, start, (T0, r(91)), r(3)).unwrap();
        sessions.fences_mut().granted(node, at(100));
        assert_eq!(sessions.plan_fence(at(1)), Ok(None), "91 is of another timeline");
        assert_eq!(open(&mut sessions, 1, 1), first);
        sessions.fences_mut().reported_in(node, start, (next, r(3)), r(3)).unwrap();
        let change = sessions.plan_fence(at(1)).unwrap().unwrap();
        sessions.committed(change, at(1));
        assert!(sessions.fenced(id(0)) && sessions.fenced(lost) && !sessions.fenced(first));
        assert_eq!(sessions.plan_lift(r(9)), Ok(None));
        let change = sessions.plan_sweep().unwrap().unwrap();
        assert_eq!(change.remove, [id(0), id(1), id(2)]);
        sessions.committed(change, at(1));
    }
}

#[test]
fn e291_an_older_backup_does_not_give_ids_out_again() {
    let lifted = |timeline: u32| {
        let mut sessions = empty();
        open(&mut sessions, 1, 0);
        (0..=timeline).for_each(|timeline| sessions.raise_timeline(Timeline::new(timeline)));
        let change = sessions.plan_lift(r(3)).unwrap().unwrap();
        sessions.committed(change, at(0));
        open(&mut sessions, 1, 0)
    };
    // The same backup, restored twice.
    assert_eq!((lifted(1), lifted(2)), (id(SESSION_ID_LIFT + 1), id(2 * SESSION_ID_LIFT + 1)));
}

#[test]
fn rows_that_do_not_belong_together_are_not_loaded() {
    let live =
        |uuid| SessionRecord { client: client(uuid, 1), opened: r(1), state: SessionState::Live };
    let check = |floor, next, rows: Vec<(SessionId, SessionRecord)>, text: &str| {
        let summary = SessionSummary { next: id(next), floor: id(floor), ..Default::default() };
        let timeout = SESSION_TIMEOUT_DEFAULT;
        let error = Sessions::load(summary, rows, T0, timeout, at(0), at(0)).unwrap_err();
        assert_eq!(error.to_string(), text);
    };
    check(3, 2, vec![], "floor session-3 is above the next session session-2");
    check(0, 2, vec![(id(2), live(1))], "session-2 has a row, but the next one is session-2");
    check(2, 2, vec![(id(1), live(1))], "session-1 is live below the floor session-2");
    let twice = vec![(id(0), live(1)), (id(1), live(1))];
    let text = "client 00000000-0000-0000-0000-000000000001 has two live sessions, \
                session-0 and session-1";
    check(0, 2, twice, text);
}

#[test]
fn e292_revoked_ids_above_an_old_session_take_room() {
    let mut sessions = empty();
    (0..SESSIONS_MAX as u128).for_each(|uuid| {
        open(&mut sessions, uuid, 0);
    });
    let last = id(SESSIONS_MAX as u64 - 1);
    let full = |live, revoked| {
        let (limit, oldest) = (SESSIONS_MAX, Some(id(0)));
        Err(SessionError::TooMany { live, revoked, limit, oldest })
    };
    let more =
        |sessions: &mut Sessions| sessions.plan_open(client(u128::MAX, 1), r(1), r(2)).map(|_| ());
    assert_eq!(more(&mut sessions), full(SESSIONS_MAX, 0));
    revoke(&mut sessions, last.get(), 2);
    let change = sessions.plan_fence(at(0)).unwrap().unwrap();
    sessions.committed(change, at(0));
    assert_eq!(sessions.plan_sweep(), Ok(None), "the list of revoked ids needs the row");
    assert_eq!(more(&mut sessions), full(SESSIONS_MAX - 1, 1));
    revoke(&mut sessions, 0, 3);
    let change = sessions.plan_fence(at(0)).unwrap().unwrap();
    sessions.committed(change, at(0));
    let change = sessions.plan_sweep().unwrap().unwrap();
    sessions.committed(change, at(0));
    assert_eq!(more(&mut sessions), Ok(()));
    let ids: Vec<_> = (0..1001).map(id).collect();
    let error = SessionError::TooManyAtOnce { found: 1001, limit: SESSION_ROWS_PER_CHANGE_MAX };
    assert_eq!(sessions.plan_revoke(&ids, RevokeReason::Closed, r(4)), Err(error));
    let mut long = client(3, 1);
    long.host = "h".repeat(254);
    let error = SessionError::NameTooLong { field: "host", found: 254, limit: 253 };
    assert_eq!(sessions.plan_open(long, r(1), r(2)), Err(error));
}

#[test]
fn e295_a_second_change_is_refused_and_the_first_goes_on() {
    let mut sessions = empty();
    open(&mut sessions, 1, 0);
    open(&mut sessions, 2, 0);
    revoke(&mut sessions, 0, 2);
    let planned = sessions.plan_open(client(3, 1), r(1), r(3)).unwrap();
    let Opening::New(session, change) = planned else { panic!("it has none") };
    let before = sessions.clone();
    let reason = RevokeReason::Operator;
    assert_eq!(sessions.plan_open(client(4, 1), r(1), r(3)), Err(SessionError::Busy));
    assert_eq!(sessions.plan_revoke(&[id(1)], reason, r(3)), Err(SessionError::Busy));
    assert_eq!(sessions.plan_expire(at(600), r(3)), Err(SessionError::Busy));
    assert_eq!(sessions.plan_fence(at(0)), Err(SessionError::Busy));
    let node = (NodeId::new(1), Incarnation::new(1));
    sessions.fences_mut().reported(node.0, node.1, r(0), r(1)).unwrap();
    assert_eq!(sessions.fences().may_lease(node.0, node.1), Ok(()), "E294: nothing was fenced");
    assert_eq!(sessions.live_count(), before.live_count());
    // What needs no change is answered.
    assert_eq!(sessions.plan_sweep(), Ok(None));
    assert_eq!(sessions.plan_open(client(2, 1), r(1), r(3)), Ok(Opening::Existing(id(1))));
    assert_eq!(sessions.plan_revoke(&[id(0)], reason, r(3)), Ok(None));
    sessions.committed(change, at(0));
    assert_eq!((session, sessions.live_count()), (id(2), 2));
}

#[test]
fn e293_a_version_that_counts_as_fenced_is_not_used_again() {
    let mut sessions = empty();
    open(&mut sessions, 1, 0);
    open(&mut sessions, 2, 0);
    revoke(&mut sessions, 0, 2);
    let change = sessions.plan_fence(at(0)).unwrap().unwrap();
    sessions.committed(change, at(0));
    let stale = SessionError::StaleVersion { found: r(2), fenced: r(2) };
    let reason = RevokeReason::Operator;
    assert_eq!(sessions.plan_revoke(&[id(1)], reason, r(2)), Err(stale.clone()));
    assert_eq!(sessions.plan_expire(at(600), r(2)), Err(stale.clone()));
    assert_eq!(sessions.plan_open(client(2, 2), r(1), r(2)), Err(stale));
    revoke(&mut sessions, 1, 3);
    assert_eq!(sessions.live_count(), 0);
}
