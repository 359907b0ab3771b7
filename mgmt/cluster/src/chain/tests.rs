//! The table of 3FS's design notes as data, our deviations from it, and random chains.

use std::string::String;
use std::vec;
use std::vec::Vec;

use engine_types::{ChainVersion, Incarnation, Member, PublicState, Rng, StoreId, TargetId};

use super::{LocalState, Moment, Updated, View, check, rotate, update};
use crate::record::{ChainRecord, LastServer, Leaving, UNADOPTED};
use LocalState as L;
use PublicState as P;

const NOW: Moment = Moment { may_demote: true, stopped: false };
const VERSION: ChainVersion = ChainVersion::new(7);

fn store(target: u64) -> StoreId {
    StoreId::new(u128::from(target) + 1000)
}

/// A chain of targets 1, 2, ... in these states, each at its first start.
fn chain(states: &[P]) -> ChainRecord {
    let members: Vec<Member> = (1..)
        .zip(states)
        .map(|(target, &state)| Member {
            target: TargetId::new(target),
            state,
            incarnation: Incarnation::new(1),
        })
        .collect();
    let last = |m: &&Member| matches!(m.state, P::Serving | P::LastServing);
    let last_serving = members
        .iter()
        .filter(last)
        .map(|m| LastServer { target: m.target, store: store(m.target.get()) })
        .collect();
    let record = ChainRecord {
        version: VERSION,
        members,
        last_serving,
        preferred: Vec::new(),
        departed: Vec::new(),
    };
    check(&record);
    record
}

/// What targets 1, 2, ... report, each in the current version at its first start.
fn views(locals: &[L]) -> Vec<View> {
    (1..)
        .zip(locals)
        .map(|(target, &local)| View {
            local: Some(local),
            incarnation: Incarnation::new(1),
            version: VERSION,
            outdated: false,
            damaged: false,
            store: store(target),
            leaving: Leaving::No,
            may_sync: true,
        })
        .collect()
}

fn states(record: &ChainRecord) -> Vec<(u64, P)> {
    record.members.iter().map(|m| (m.target.get(), m.state)).collect()
}

/// The next record, or the present one if nothing changes.
fn next(record: &ChainRecord, views: &[View]) -> ChainRecord {
    update(record, views, NOW).map_or_else(|| record.clone(), |updated| updated.record)
}

/// The next state of the target that is `state` and reports `local` beside a predecessor (target
/// 1) in that state, which stays as it is.
fn row(local: L, state: P, predecessor: Option<P>) -> P {
    let (record, views, of) = match predecessor {
        None => (chain(&[state]), views(&[local]), 1),
        Some(before) => {
            let its = if matches!(before, P::Serving) { L::UpToDate } else { L::Offline };
            (chain(&[before, state]), views(&[its, local]), 2)
        }
    };
    next(&record, &views).member(TargetId::new(of)).expect("nobody is removed").state
}

#[test]
fn public_states_follow_the_table() {
    // A predecessor that serves, one that does not, and none at all. "Any" of 3FS's table is every
    // combination that can exist: nobody syncs while nobody serves (E262), except in the moment in
    // which the predecessor is lost, which has a test of its own.
    let serving = &[Some(P::Serving)][..];
    let silent = &[Some(P::Offline), None][..];
    let any = &[Some(P::Serving), Some(P::Offline), None][..];
    #[rustfmt::skip]
    let rows = [
        // local       current          predecessor  next
        (L::UpToDate, P::Serving,      any,         P::Serving),
        (L::UpToDate, P::Syncing,      serving,     P::Serving),
        (L::UpToDate, P::Waiting,      serving,     P::Syncing), // what it says is of another time
        (L::UpToDate, P::Waiting,      silent,      P::Waiting),
        (L::UpToDate, P::LastServing,  silent,      P::Serving),
        (L::UpToDate, P::Offline,      any,         P::Waiting),
        (L::Online,   P::Serving,      any,         P::Serving),
        (L::Online,   P::Syncing,      serving,     P::Syncing),
        (L::Online,   P::Waiting,      serving,     P::Syncing),
        (L::Online,   P::Waiting,      silent,      P::Waiting),
        (L::Online,   P::LastServing,  silent,      P::Serving),
        (L::Online,   P::Offline,      any,         P::Waiting),
        (L::Offline,  P::Serving,      silent,      P::LastServing), // nobody else serves: R10
        (L::Offline,  P::Serving,      serving,     P::Offline),
        (L::Offline,  P::Syncing,      serving,     P::Offline),
        (L::Offline,  P::Waiting,      any,         P::Offline),
        (L::Offline,  P::LastServing,  silent,      P::LastServing),
        (L::Offline,  P::Offline,      any,         P::Offline),
    ];
    for (local, current, predecessors, expected) in rows {
        for &predecessor in predecessors {
            // Members stand in the order of states, so an offline predecessor stands behind.
            let found = match predecessor {
                Some(P::Offline) if current != P::Offline => {
                    let record = chain(&[current, P::Offline]);
                    next(&record, &views(&[local, L::Offline])).members[0].state
                }
                other => row(local, current, other),
            };
            assert_eq!(found, expected, "{local:?}, {current:?}, before it {predecessor:?}");
        }
    }
}

#[test]
fn rows_whose_predecessor_is_lost_in_the_same_step() {
    #[rustfmt::skip]
    let rows = [
        // the syncing one   first becomes   the other becomes
        (L::UpToDate,       P::Offline,     P::Serving), // its ack was needed since syncDone: R11
        (L::Online,         P::LastServing, P::Waiting),
        (L::Offline,        P::LastServing, P::Offline),
    ];
    for (local, first, second) in rows {
        let after = next(&chain(&[P::Serving, P::Syncing]), &views(&[L::Offline, local]));
        let of = |target| after.member(TargetId::new(target)).expect("a member").state;
        assert_eq!((of(1), of(2)), (first, second), "{local:?}");
    }
}

#[test]
fn a_new_start_never_inherits_serving() {
    // R5, beside others and alone.
    let mut seen = views(&[L::Online, L::UpToDate]);
    seen[0].incarnation = Incarnation::new(2);
    let beside = next(&chain(&[P::Serving, P::Serving]), &seen);
    assert_eq!(states(&beside), [(2, P::Serving), (1, P::Offline)]);
    let mut seen = views(&[L::Online]);
    seen[0].incarnation = Incarnation::new(2);
    let alone = next(&chain(&[P::Serving]), &seen);
    assert_eq!(states(&alone), [(1, P::LastServing)]);
    seen[0].version = alone.version;
    let again = next(&alone, &seen);
    assert_eq!(states(&again), [(1, P::Serving)]);
    assert_eq!(again.members[0].incarnation, Incarnation::new(2));
}

#[test]
fn a_fresh_chain_adopts_first_starts_once() {
    let mut record = chain(&[P::Serving, P::Serving]);
    for member in &mut record.members {
        member.incarnation = UNADOPTED;
    }
    let mut seen = views(&[L::Online, L::Online]);
    seen[1].local = None; // its node has not created it yet
    let one = next(&record, &seen);
    assert_eq!(states(&one), [(1, P::Serving), (2, P::Serving)]);
    assert_eq!(one.members[0].incarnation, Incarnation::new(1));
    assert_eq!(one.members[1].incarnation, UNADOPTED);
    seen[1].local = Some(L::Offline);
    assert_eq!(states(&next(&one, &seen)), [(1, P::Serving), (2, P::Offline)]);
}

#[test]
fn all_that_are_lost_together_may_restart_the_chain() {
    let lost = next(&chain(&[P::Serving; 3]), &views(&[L::Offline; 3]));
    assert_eq!(states(&lost), [(1, P::LastServing), (2, P::LastServing), (3, P::LastServing)]);
    // Whoever comes first restarts it; the others of the set resync (R10).
    let back = next(&lost, &views(&[L::Offline, L::Online, L::Online]));
    assert_eq!(states(&back), [(2, P::Serving), (3, P::Waiting), (1, P::Offline)]);
    assert_eq!(back.last_serving, [LastServer { target: TargetId::new(2), store: store(2) }]);
}

#[test]
fn only_the_recorded_set_restarts_a_chain() {
    let gone = chain(&[P::LastServing, P::Offline]);
    let outsider = next(&gone, &views(&[L::Offline, L::UpToDate]));
    assert_eq!(states(&outsider), [(1, P::LastServing), (2, P::Waiting)]);
    let mut seen = views(&[L::Online, L::Offline]);
    seen[0].damaged = true;
    assert_eq!(next(&gone, &seen), gone, "a damaged store lost something (S8)");
    seen[0].damaged = false;
    seen[0].store = store(99);
    assert_eq!(next(&gone, &seen), gone, "another store has none of the data");
}

#[test]
fn up_to_date_counts_for_the_current_version_and_start_only() {
    let record = chain(&[P::Serving, P::Syncing]);
    let mut old = views(&[L::UpToDate, L::UpToDate]);
    old[1].version = ChainVersion::new(6);
    assert_eq!(next(&record, &old), record);
    let mut restarted = views(&[L::UpToDate, L::UpToDate]);
    restarted[1].incarnation = Incarnation::new(2);
    let after = next(&record, &restarted);
    assert_eq!(states(&after), [(1, P::Serving), (2, P::Syncing)], "and its cursor starts anew");
    assert_eq!(after.members[1].incarnation, Incarnation::new(2));
}

#[test]
fn one_member_syncs_at_a_time_and_only_with_a_slot() {
    let record = chain(&[P::Serving, P::Waiting, P::Waiting]);
    let mut seen = views(&[L::UpToDate, L::Online, L::Online]);
    let one = next(&record, &seen);
    assert_eq!(states(&one), [(1, P::Serving), (2, P::Syncing), (3, P::Waiting)]);
    assert_eq!(next(&one, &seen), one);
    seen[1].may_sync = false;
    assert_eq!(states(&next(&record, &seen)), [(1, P::Serving), (3, P::Syncing), (2, P::Waiting)]);
}

#[test]
fn nobody_is_demoted_before_predecessors_leases_end() {
    let record = chain(&[P::Serving, P::Serving, P::Offline]);
    let mut seen = views(&[L::Offline, L::Online, L::Online]);
    seen[1].incarnation = Incarnation::new(2);
    let early = Moment { may_demote: false, stopped: true };
    let after = update(&record, &seen, early).expect("an addition").record;
    assert_eq!(states(&after), [(1, P::Serving), (2, P::Serving), (3, P::Waiting)]);
    assert_eq!(after.members[1].incarnation, Incarnation::new(1), "E263");
}

#[test]
fn draining_never_takes_the_last_server() {
    let mut seen = views(&[L::UpToDate, L::UpToDate]);
    seen[0].leaving = Leaving::Drained;
    let record = chain(&[P::Serving, P::Serving]);
    let after = next(&record, &seen);
    assert_eq!(states(&after), [(2, P::Serving), (1, P::Offline)]);
    seen[1].leaving = Leaving::Drained;
    assert_eq!(next(&record, &seen), record, "E265: both leave, so both stay");
    seen.reverse();
    assert_eq!(next(&after, &seen), after, "a drained member is not synced again");
}

#[test]
fn a_replaced_member_leaves_when_its_successor_serves() {
    let mut seen = views(&[L::UpToDate, L::UpToDate, L::Online]);
    seen[0].leaving = Leaving::ReplacedBy(TargetId::new(3));
    let record = chain(&[P::Serving, P::Serving, P::Syncing]);
    assert_eq!(next(&record, &seen), record);
    let record = chain(&[P::Serving, P::Serving, P::Serving]);
    let demoted = next(&record, &seen);
    assert_eq!(states(&demoted), [(2, P::Serving), (3, P::Serving), (1, P::Offline)]);
    seen.rotate_left(1);
    let Updated { record, removed } = update(&demoted, &seen, NOW).expect("it is removed");
    assert_eq!(states(&record), [(2, P::Serving), (3, P::Serving)]);
    assert_eq!(removed, [TargetId::new(1)]);
}

#[test]
fn a_planned_stop_remembers_who_served() {
    let stop = Moment { may_demote: true, stopped: true };
    let record = chain(&[P::Serving, P::Serving, P::Syncing]);
    let all = views(&[L::UpToDate, L::UpToDate, L::Online]);
    let stopped = update(&record, &all, stop).expect("a stop").record;
    assert_eq!(states(&stopped), [(1, P::LastServing), (2, P::LastServing), (3, P::Offline)]);
    assert_eq!(update(&stopped, &all, stop), None);
    let started = next(&stopped, &all);
    assert_eq!(states(&started), [(1, P::Serving), (2, P::Waiting), (3, P::Waiting)]);
}

#[test]
fn a_new_timeline_lifts_versions_above_what_stores_installed() {
    let record = chain(&[P::Serving, P::Serving, P::Offline]);
    let mut seen = views(&[L::UpToDate, L::UpToDate, L::Offline]);
    for (view, version) in seen.iter_mut().zip([12, 9, 3]) {
        view.outdated = true;
        view.version = ChainVersion::new(version);
    }
    let after = next(&record, &seen);
    assert_eq!(after.version, ChainVersion::new(13));
    assert_eq!(states(&after), [(1, P::Serving), (2, P::Offline), (3, P::Offline)]);
    let early = Moment { may_demote: false, stopped: false };
    assert_eq!(update(&record, &seen, early), None, "demotions wait, and so does the lift");
}

#[test]
fn rotation_takes_one_member_out_per_step() {
    let mut record = chain(&[P::Serving, P::Serving, P::Serving]);
    assert_eq!(rotate(&record), None, "no order is preferred");
    record.preferred = [2, 3, 1].map(TargetId::new).to_vec();
    let mut steps = 0;
    while let Some(step) = rotate(&record) {
        steps += 1;
        assert_eq!(step.serving().count(), 2, "step {steps}");
        record = step;
        record.members[2].state = P::Serving; // it was synced meanwhile
        let target = record.members[2].target;
        record.last_serving.push(LastServer { target, store: store(target.get()) });
    }
    assert_eq!(states(&record).iter().map(|(t, _)| *t).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(steps, 1);
}

/// One random view that could follow from `record`.
fn random_view(rng: &mut Rng, record: &ChainRecord, member: &Member) -> View {
    let local = *rng.pick(&[L::UpToDate, L::Online, L::Offline]).unwrap();
    let leaving = match rng.below(8) {
        0 => Leaving::Drained,
        1 => Leaving::ReplacedBy(TargetId::new(rng.range(1..=4))),
        _ => Leaving::No,
    };
    View {
        local: if rng.chance(50) { None } else { Some(local) },
        incarnation: Incarnation::new(member.incarnation.get().max(1) + u64::from(rng.chance(100))),
        version: ChainVersion::new(record.version.get() - u32::from(rng.chance(300))),
        outdated: rng.chance(30),
        damaged: rng.chance(50),
        store: store(member.target.get()),
        leaving,
        may_sync: rng.chance(800),
    }
}

/// E263 and E264, said independently of how `update` decides.
fn explains(before: &ChainRecord, seen: &[View], moment: Moment, after: &ChainRecord) -> String {
    for (member, view) in before.members.iter().zip(seen) {
        let serves = after.serving().find(|m| m.target == member.target);
        if let Some(serves) = serves {
            let same = serves.incarnation == member.incarnation || member.incarnation == UNADOPTED;
            let may = match member.state {
                P::Serving => same,
                P::Syncing => {
                    same && view.local == Some(L::UpToDate) && view.version == before.version
                }
                P::LastServing => before.last_serving.iter().any(|l| l.target == member.target),
                P::Waiting | P::Offline => false,
            };
            if !may {
                return std::format!("E263: {member:?} with {view:?} serves");
            }
        } else if member.state == P::Serving && !moment.may_demote {
            return std::format!("E264: {member:?} with {view:?} no longer serves");
        }
    }
    String::new()
}

#[test]
fn random_chains_keep_the_invariants() {
    for seed in 0..400 {
        let rng = &mut Rng::new(seed);
        let mut record = chain(&vec![P::Serving; usize::try_from(rng.range(1..=4)).unwrap()]);
        if rng.chance(500) {
            record.members.iter_mut().for_each(|member| member.incarnation = UNADOPTED);
        }
        for _ in 0..40 {
            let seen: Vec<View> =
                record.members.iter().map(|m| random_view(rng, &record, m)).collect();
            let moment = Moment { may_demote: rng.chance(850), stopped: rng.chance(50) };
            let Some(updated) = update(&record, &seen, moment) else { continue };
            let why = explains(&record, &seen, moment, &updated.record);
            assert_eq!(why, "", "seed {seed}: {record:?} became {:?}", updated.record);
            check(&updated.record);
            let served = record.serving().count();
            let replaced = updated.removed.len();
            assert_eq!(record.members.len(), updated.record.members.len() + replaced);
            assert!(replaced == 0 || 0 < served, "seed {seed}: removed while nobody serves");
            record = updated.record;
        }
    }
}

#[test]
fn the_explanation_can_fail() {
    let before = chain(&[P::Serving, P::Waiting]);
    let after = chain(&[P::Serving, P::Serving]);
    let seen = views(&[L::UpToDate, L::UpToDate]);
    assert!(explains(&before, &seen, NOW, &after).starts_with("E263"));
    let after = chain(&[P::LastServing, P::Waiting]);
    let early = Moment { may_demote: false, stopped: false };
    assert!(explains(&before, &seen, early, &after).starts_with("E264"));
}
