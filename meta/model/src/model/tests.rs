//! The model judges: answers as it wants them pass, mistakes in a copy of them do not.

use alloc::boxed::Box;
use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::{Answer, Attr, LockTold, Operation as O, Refusal, Request};
use meta_schema::{Errno, Mode, Timestamp, TruncateEpoch, Uid};

use super::Model;
use crate::generate::{Weights, generate, simpler};
use crate::moment::When;
use crate::shrink::shrink;
use crate::step::{Binding, Step};
use crate::twin::{EMPTY, Twin};

type Found = Result<Answer, Refusal>;
/// A mistake: what is answered instead, where it applies.
type Mistake = Box<dyn Fn(&Request, &Found) -> Option<Found>>;

mod cases;
mod unknown;

/// Runs a history whose answers are changed from the first place on where the mistake applies;
/// nothing if it nowhere does, else whether that was found.
fn play(steps: &[Step], mistake: &Mistake) -> Option<bool> {
    let (mut twin, mut model, mut binding) = (Twin::new(), Model::new(&EMPTY), Binding::new());
    let mut planted = false;
    for step in steps {
        let request = binding.request(step);
        let right = twin.answer(&request);
        let found = mistake(&request, &right);
        planted |= found.is_some();
        let found = found.unwrap_or(right);
        if let Err(divergence) = model.check(&request, &found, twin.when()) {
            assert!(planted, "step {}: {divergence}", step.id);
            return Some(true);
        }
        binding.learn(step, &request, &found);
    }
    planted.then_some(false)
}

#[test]
fn e466_answers_as_the_model_wants_them_pass() {
    let nothing: Mistake = Box::new(|_, _| None);
    for seed in 0..150 {
        let steps = generate(seed, 200, Weights::ALL, &EMPTY);
        assert_eq!(play(&steps, &nothing), None, "seed {seed}");
    }
}

/// Changes the attributes of answers that are nothing else.
fn attr(change: impl Fn(&mut Attr) + 'static) -> Mistake {
    Box::new(move |_, found| {
        let Ok(Answer::Attr(attr)) = found else { return None };
        let mut attr = *attr;
        change(&mut attr);
        (Ok(Answer::Attr(attr)) != *found).then_some(Ok(Answer::Attr(attr)))
    })
}

fn earlier(time: &mut Timestamp) {
    *time = Timestamp::from_nanos(time.nanos().saturating_sub(2000));
}

fn on(change: impl Fn(&O, &Answer) -> Option<Found> + 'static) -> Mistake {
    Box::new(move |request, found| change(&request.operation, found.as_ref().ok()?))
}

fn mistakes() -> Vec<(&'static str, Mistake)> {
    let mut all: Vec<(&'static str, Mistake)> = Vec::new();
    let mut add = |name, mistake| all.push((name, mistake));
    add("mode", attr(|a| a.mode = Mode::new(u32::from(a.mode.bits() ^ 0o100))));
    add("sticky bit", attr(|a| a.mode = Mode::new(u32::from(a.mode.bits() ^ 0o1000))));
    add("owner", attr(|a| a.uid = Uid::new(a.uid.get() + 1)));
    add("links", attr(|a| a.nlink += 1));
    add(
        "length",
        attr(|a| {
            if a.layout.is_some() {
                a.size += 1
            }
        }),
    );
    add("mtime earlier", attr(|a| earlier(&mut a.mtime)));
    add("ctime earlier", attr(|a| earlier(&mut a.ctime)));
    add("ctime in the future", attr(|a| a.ctime = Timestamp::from_nanos(i64::MAX)));
    add("another inode", attr(|a| a.ino = InodeId::new(1)));
    add("change falls", attr(|a| a.change = a.change.saturating_sub(1)));
    add("ACL that is none", attr(|a| a.has_acl = !a.has_acl));
    add("device", attr(|a| a.rdev += 1));
    add("layout moves", attr(|a| a.layout.iter_mut().for_each(|l| l.stripe += 1)));
    add(
        "epoch falls",
        attr(|a| {
            a.truncate_epoch = TruncateEpoch::new(a.truncate_epoch.get().saturating_sub(1));
        }),
    );
    mistakes_of_names(&mut all);
    mistakes_of_values(&mut all);
    all
}

fn mistakes_of_names(all: &mut Vec<(&'static str, Mistake)>) {
    let mut add = |name, mistake| all.push((name, mistake));
    add("refused for nothing", on(|o, _| matches!(o, O::Mkdir(_)).then(|| refused(Errno::EPERM))));
    add(
        "another error",
        Box::new(|request, found| {
            let is_it = matches!(request.operation, O::Lookup(_) | O::Unlink(_));
            let is_it = is_it && found.as_ref().is_err_and(|r| r.errno == Errno::ENOENT);
            is_it.then(|| refused(Errno::EEXIST))
        }),
    );
    add(
        "done, but not allowed",
        Box::new(|request, found| {
            let is_it = matches!(request.operation, O::Unlink(_)) && found.is_err();
            is_it.then_some(Ok(Answer::Done))
        }),
    );
    add(
        "entry missing",
        on(|_, found| {
            let Answer::Entries { entries, end: true } = found else { return None };
            let fewer = entries.split_last()?.1.to_vec();
            Some(Ok(Answer::Entries { entries: fewer, end: true }))
        }),
    );
    add(
        "entry twice",
        on(|_, found| {
            let Answer::Entries { entries, end } = found else { return None };
            let mut more = entries.clone();
            let mut again = entries.last()?.clone();
            again.cookie += 1;
            more.push(again);
            Some(Ok(Answer::Entries { entries: more, end: *end }))
        }),
    );
    add(
        "entry that is not there",
        on(|_, found| {
            let Answer::Entries { entries, end } = found else { return None };
            let mut other = entries.clone();
            other.last_mut()?.name = b"nobody".to_vec();
            Some(Ok(Answer::Entries { entries: other, end: *end }))
        }),
    );
    add(
        "no end",
        on(|_, found| {
            let Answer::Entries { entries, .. } = found else { return None };
            entries.is_empty().then_some(Ok(Answer::Entries { entries: Vec::new(), end: false }))
        }),
    );
}

fn mistakes_of_values(all: &mut Vec<(&'static str, Mistake)>) {
    let mut add = |name, mistake| all.push((name, mistake));
    add(
        "target",
        on(|_, found| {
            let Answer::Target(_) = found else { return None };
            Some(Ok(Answer::Target(b"elsewhere".to_vec())))
        }),
    );
    add(
        "value",
        on(|_, found| {
            let Answer::Value(_) = found else { return None };
            Some(Ok(Answer::Value(b"other".to_vec())))
        }),
    );
    add(
        "name of an attribute lost",
        on(|_, found| {
            let Answer::Names(names) = found else { return None };
            names.starts_with(b"user").then_some(Ok(Answer::Names(Vec::new())))
        }),
    );
    add(
        "append elsewhere",
        on(|_, found| {
            let Answer::Appended { offset, attr } = found else { return None };
            Some(Ok(Answer::Appended { offset: offset + 1, attr: *attr }))
        }),
    );
    add(
        "created what was there",
        on(|_, found| {
            let Answer::Opened { attr, created } = found else { return None };
            Some(Ok(Answer::Opened { attr: *attr, created: !created }))
        }),
    );
    add(
        "lock of two",
        on(|_, found| {
            let Answer::Lock(LockTold::Busy) = found else { return None };
            Some(Ok(Answer::Lock(LockTold::Granted)))
        }),
    );
    add(
        "conflict unseen",
        on(|_, found| {
            let Answer::Conflict { lock: Some(_) } = found else { return None };
            Some(Ok(Answer::Conflict { lock: None }))
        }),
    );
}

fn refused(errno: Errno) -> Found {
    Err(Refusal::new(errno, ""))
}

#[test]
fn e466_mistakes_are_found() {
    for (name, mistake) in mistakes() {
        let mut met = 0;
        for seed in 0..60 {
            let steps = generate(seed, 250, Weights::ALL, &EMPTY);
            if let Some(found) = play(&steps, &mistake) {
                assert!(found, "seed {seed}: \"{name}\" passed");
                met += 1;
            }
            if met == 5 {
                break;
            }
        }
        assert!(0 < met, "\"{name}\" was never met");
    }
}

#[test]
fn e468_a_mistake_shrinks_to_what_it_needs() {
    let mistakes = mistakes();
    let (_, mistake) = mistakes.iter().find(|(name, _)| *name == "entry missing").unwrap();
    let steps = generate(1, 400, Weights::ALL, &EMPTY);
    assert_eq!(play(&steps, mistake), Some(true));
    let small = shrink(&steps, simpler, |steps| play(steps, mistake) == Some(true));
    // A directory is made, and something in it, and it is read.
    assert!(small.len() <= 3, "{small:?}");
}

#[test]
fn times_without_bounds_are_any() {
    let mut model = Model::new(&EMPTY);
    let mut twin = Twin::new();
    let root = meta_protocol::Caller::root();
    let request = twin.request(&root, meta_protocol::op::Stat { ino: InodeId::new(1) }.into());
    let found = twin.answer(&request);
    model.check(&request, &found, When::EVER).unwrap();
}
