//! While the system is in use: no finding that is none. After any history: nothing to find.

use std::cell::Cell;
use std::rc::Rc;

use engine_runtime::all;
use engine_types::Rng;
use meta_protocol::Operation;

use super::*;
use crate::deletion::{Collector, DeletionSettings};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Something with names, drawn at random; most of it is refused.
fn operation(rng: &mut Rng, known: &[InodeId]) -> Operation {
    let dir = *rng.pick(known).unwrap();
    let to = *rng.pick(known).unwrap();
    let name: Vec<u8> = (*rng.pick(&NAMES).unwrap()).into();
    let other: Vec<u8> = (*rng.pick(&NAMES).unwrap()).into();
    let (mode, umask) = (Mode::new(0o755), Mode::default());
    match rng.below(12) {
        0 | 1 => ask::Mkdir { parent: dir, name, mode, umask, layout: None }.into(),
        2 | 3 => {
            let open = rng.chance(500).then_some(WRITE);
            ask::Create { parent: dir, name, mode, umask, exclusive: false, open, layout: None }
                .into()
        }
        4 => ask::Symlink { parent: dir, name, target: other }.into(),
        5 => ask::Link { ino: to, parent: dir, name }.into(),
        6 => ask::Unlink { parent: dir, name, hold: rng.chance(300) }.into(),
        7 => ask::Rmdir { parent: dir, name }.into(),
        8 => ask::RemoveTree { parent: dir, name }.into(),
        9 => ask::Close { ino: to, hint: None, atime: None }.into(),
        _ => {
            let (exchange, hold) = (rng.chance(200), rng.chance(200));
            ask::Rename {
                from: dir,
                from_name: name,
                to,
                to_name: other,
                no_replace: false,
                exchange,
                hold,
            }
            .into()
        }
    }
}

/// One client that asks for `count` of them; inodes that it hears of are used from then on.
async fn client(service: Service, number: u64, seed: u64, count: usize) {
    let mut rng = Rng::new(seed * 64 + number);
    let mount = Mount::new(&service, 20 + number);
    let mut known = vec![INODE_ROOT];
    for _ in 0..count {
        let answer = mount.ask(operation(&mut rng, &known)).await;
        if let Ok(meta_protocol::Answer::Attr(attr) | meta_protocol::Answer::Opened { attr, .. }) =
            answer
        {
            known.push(attr.ino);
        }
        if known.len() > 12 {
            known.remove(1);
        }
    }
}

fn clients(
    bed: &Bed,
    services: &[Service],
    seed: u64,
    count: usize,
) -> Vec<impl Future<Output = ()> + use<>> {
    let each = (0..4).map(|number| {
        let at = usize::try_from(number).unwrap() % services.len();
        bed.env.spawn(client(services[at].clone(), number, seed, count))
    });
    each.collect()
}

#[test]
fn random_histories_leave_nothing_to_find() {
    for seed in 0..6 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let fate = (seed % 2 == 1).then_some(crate::bed::Fate::LostApplied);
            bed.source().every_other(fate);
            all(clients(&bed, &services, seed, 150)).await;
            bed.source().every_other(None);
            let report = check(&services[0]).await;
            assert_eq!(report.findings, [], "seed {seed}");
            assert!(report.is_whole() && 20 < report.inodes, "seed {seed}: {report:?}");
            // What waits for its removal goes, and leaves nothing either.
            let settings = DeletionSettings::default().unlimited();
            let collector = Collector::start(&services[1], settings);
            bed.wait(Duration::from_secs(120)).await;
            let report = check(&services[0]).await;
            assert_eq!(report.findings, [], "seed {seed}, after removal");
            drop(collector);
        });
    }
}

#[test]
fn load_makes_no_false_findings() {
    for seed in 0..6 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let settings = DeletionSettings::default().unlimited();
            let collector = Collector::start(&services[1], settings);
            let done = Rc::new(Cell::new(false));
            let (load, ended) = (clients(&bed, &services, seed, 400), done.clone());
            let load = bed.env.spawn(async move {
                all(load).await;
                ended.set(true);
            });
            let mut checks = 0;
            while !done.get() {
                // A repair must find nothing to do, either.
                let report = if checks % 2 == 0 {
                    check(&services[0]).await
                } else {
                    mend(&services[0]).await
                };
                assert_eq!(report.findings, [], "E490: seed {seed}, check {checks}");
                checks += 1;
            }
            load.await;
            assert!(1 < checks, "seed {seed}: there was a load to check under");
            drop(collector);
        });
    }
}
