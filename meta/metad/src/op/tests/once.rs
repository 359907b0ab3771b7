//! Exactly once: commits whose result nobody knows, requests that come again, fences.

use core::time::Duration;

use meta_kv::{Kv, Transaction, TransactionOptions};
use meta_protocol::{Operation, Request};
use meta_schema::codec::Record;
use meta_schema::xattr::XattrSet;
use meta_schema::{Layout, RequestRecord, key};

use super::*;
use crate::bed::{Bed, Fate};

/// A history with everything that changes the namespace, twice where the second has another
/// answer.
fn history(a: InodeId, b: InodeId, f: InodeId) -> Vec<Operation> {
    let user = |value: &[u8]| ask::SetXattr {
        ino: f,
        name: b"user.x".into(),
        value: value.into(),
        set: XattrSet::Create,
    };
    vec![
        create(a, "n", 0o644).into(),
        create(a, "n", 0o644).into(),
        mkdir(a, "d", 0o755).into(),
        mkdir(a, "d", 0o755).into(),
        mknod(b, "p", 0o010_644, 0).into(),
        symlink(b, "l", "somewhere").into(),
        link(f, b, "f2").into(),
        link(f, b, "f2").into(),
        chmod(f, 0o600).into(),
        user(b"1").into(),
        user(b"2").into(),
        ask::RemoveXattr { ino: f, name: b"user.x".into() }.into(),
        ask::RemoveXattr { ino: f, name: b"user.x".into() }.into(),
        rename(a, "n", b, "n").into(),
        rename(a, "n", b, "n").into(),
        rename(a, "d", b, "d").into(),
        exchange(b, "d", b, "l").into(),
        unlink(b, "d").into(),
        unlink(b, "d").into(),
        rmdir(b, "l").into(),
        rmdir(b, "l").into(),
        unlink(b, "f2").into(),
        ask::SetLayout { ino: a, layout: None }.into(),
    ]
}

/// What is answered, and what is there at the end, without what differs from run to run.
type Told = (Vec<Result<Answer, Errno>>, Vec<String>, Vec<(u32, u64, u64)>);

async fn run(bed: &Bed, fate: Option<Fate>) -> Told {
    let root = bed.root();
    let a = root.attr(mkdir(INODE_ROOT, "a", 0o755)).await.ino;
    let b = root.attr(mkdir(INODE_ROOT, "b", 0o755)).await.ino;
    let f = root.attr(create(a, "f", 0o644)).await.ino;
    bed.source().every_other(fate);
    let mut answers = Vec::new();
    for operation in history(a, b, f) {
        answers.push(root.ask(operation).await.map(timeless).map_err(|refusal| refusal.errno));
    }
    bed.source().every_other(None);
    // Whatever comes late has come.
    bed.wait(Duration::from_secs(60)).await;
    let mut names = Vec::new();
    let mut counts = Vec::new();
    for dir in [INODE_ROOT, a, b] {
        names.extend(listed(&root, dir).await.into_iter().map(|name| format!("{dir}/{name}")));
        let attr = root.attr(stat(dir)).await;
        counts.push((attr.nlink, attr.change, attr.size));
    }
    names.sort(); // slots differ with the key of the hash
    let attr = root.attr(stat(f)).await;
    counts.push((attr.nlink, attr.change, attr.size));
    (answers, names, counts)
}

fn timeless(answer: Answer) -> Answer {
    let zero = Timestamp::EPOCH;
    let plain = |attr: Attr| Attr {
        atime: zero,
        mtime: zero,
        ctime: zero,
        btime: zero,
        layout: attr.layout.map(|layout| Layout { base: 0, seed: 0, ..layout }),
        ..attr
    };
    match answer {
        Answer::Attr(attr) => Answer::Attr(plain(attr)),
        Answer::Opened { attr, created } => Answer::Opened { attr: plain(attr), created },
        other => other,
    }
}

/// Every commit of the history loses its answer, in each way it can be lost, or meets a conflict:
/// answers and end are those of a run without (E426).
#[test]
fn unknown_results_change_nothing() {
    let fates = [
        Fate::Conflict,
        Fate::LostApplied,
        Fate::LostDropped,
        Fate::LostLate(Duration::from_micros(300)),
        Fate::LostLate(Duration::from_millis(2)),
        Fate::LostLate(Duration::from_secs(30)),
    ];
    with_bed(1, move |bed| async move {
        let expected = std::rc::Rc::new(run(&bed, None).await);
        assert_eq!(expected.0.iter().filter(|answer| answer.is_ok()).count(), 15);
        for (number, fate) in fates.into_iter().enumerate() {
            let other = bed.another().await;
            assert_eq!(run(&other, Some(fate)).await, *expected, "{number}: {fate:?}");
        }
    });
}

#[test]
fn a_request_that_comes_again_has_its_answer() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        let first = root.request(create(INODE_ROOT, "f", 0o644));
        let answer = root.send(&first).await.unwrap();
        assert_eq!(root.send(&first).await, Ok(answer.clone()), "again");
        // Also when what it made is gone, and its name is another's.
        let second = root.request(unlink(INODE_ROOT, "f"));
        root.send(&second).await.unwrap();
        root.send(&second).await.unwrap();
        let old = root.send(&first).await.unwrap_err();
        assert!(old.to_string().contains("was answered already"), "{old}");
        let untagged = Request { tag: None, ..root.request(create(INODE_ROOT, "g", 0o644)) };
        let refused = root.send(&untagged).await.unwrap_err();
        assert!(refused.to_string().contains("no tag"), "{refused}");
        assert_eq!(listed(&root, INODE_ROOT).await, Vec::<String>::new());
        // A refusal is not recorded: the same request may be done later.
        let early = root.request(unlink(INODE_ROOT, "h"));
        root.send(&early).await.unwrap_err();
        bed.root().attr(create(INODE_ROOT, "h", 0o644)).await;
        assert_eq!(root.send(&early).await, Ok(Answer::Done));
    });
}

/// E427: nothing is done for a fenced session, nor by what it had under way.
#[test]
fn a_fenced_session_does_nothing() {
    with_bed(3, |bed| async move {
        let (old, new) = (bed.root(), bed.root());
        for (key, value) in [
            (key::fenced(old.session).to_vec(), Vec::new()),
            (key::fenced_below().to_vec(), key::encode_number(new.session.get()).to_vec()),
        ] {
            // It is under way when the fence comes: its commit arrives 2 ms later, and fails.
            bed.source().take_log();
            bed.source().script([Fate::LostLate(Duration::from_millis(2)), Fate::Passes]);
            let request = old.request(create(INODE_ROOT, "f", 0o644));
            let fence = async {
                while bed.source().commits() == 0 {
                    bed.wait(Duration::from_micros(10)).await;
                }
                let transaction = bed.kv.begin(TransactionOptions::default());
                transaction.set(&key, &value).unwrap();
                transaction.commit().await.unwrap();
            };
            let (end, ()) = futures_lite::future::zip(old.send(&request), fence).await;
            assert!(end.unwrap_err().to_string().contains("is fenced"));
            bed.wait(Duration::from_secs(1)).await;
            assert_eq!(listed(&new, INODE_ROOT).await, Vec::<String>::new());
            new.attr(create(INODE_ROOT, "f", 0o644)).await;
            new.ask(unlink(INODE_ROOT, "f")).await.unwrap();
            let transaction = bed.kv.begin(TransactionOptions::default());
            transaction.clear(&key).unwrap();
            transaction.commit().await.unwrap();
        }
    });
}

#[test]
fn an_answer_is_recorded_as_it_was_sent() {
    with_bed(4, |bed| async move {
        let root = bed.root();
        let request = root.request(mkdir(INODE_ROOT, "d", 0o755));
        let answer = root.send(&request).await.unwrap();
        let tag = request.tag.unwrap();
        let key = key::request(root.session, tag.channel);
        let all = bed.dump().await;
        let (_, value) = all.iter().find(|(found, _)| *found == key).unwrap();
        let record = RequestRecord::decode(value).unwrap();
        assert_eq!((record.seq, Answer::decode(&record.answer)), (tag.seq, Ok(answer)));
    });
}
