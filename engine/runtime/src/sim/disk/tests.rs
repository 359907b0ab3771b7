//! Files and devices under faults.

use core::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use super::super::tests::{CREATE, HOUR, filled, ms, run, sleep, world};
use super::super::{Count, DiskFaults, Sim, SimEnv, SimFile};
use super::*;
use crate::env::Env;
use crate::file::{File, FileError, Geometry, OpenOptions};
use engine_types::NodeId;

const PATH: &str = "/disk";
const WRITE: OpenOptions = OpenOptions { write: true, create: false, truncate: false, lock: false };

/// A node with a device of 1 MiB whose first page is durably filled with ones.
fn device(seed: u64) -> (Sim, NodeId) {
    let (sim, [node]) = world::<1>(seed);
    sim.add_device(node, PATH, 1 << 20, 512);
    run(&sim, node, |env| async move {
        let file = open(&env).await;
        file.write(0, filled(&env, PAGE, 1)).await.unwrap();
        file.flush().await.unwrap();
    });
    (sim, node)
}

async fn open(env: &SimEnv) -> SimFile {
    env.open(PATH.as_ref(), WRITE).await.unwrap()
}

/// The sectors of the first page, each by its byte.
fn sectors(sim: &Sim, node: NodeId) -> Vec<u8> {
    let page = sim.peek(node, PATH, 0, PAGE).unwrap();
    let whole = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors do not tear");
        sector[0]
    };
    page.chunks(SECTOR).map(whole).collect()
}

/// Writes twos, flushing as `flush` says, then loses power; what the sectors hold over many seeds.
fn crash_after<F: Future<Output = ()> + 'static>(
    write: impl Fn(SimEnv, SimFile) -> F + Copy + 'static,
) -> BTreeSet<Vec<u8>> {
    let outcome = |seed| {
        let (sim, node) = device(seed);
        sim.start(node, move |env| async move {
            let file = open(&env).await;
            write(env, file).await;
            core::future::pending::<()>().await;
        });
        sim.run_for(ms(50)).unwrap();
        sim.crash(node);
        sectors(&sim, node)
    };
    (0..300).map(outcome).collect()
}

#[test]
fn a_crash_keeps_any_subset_of_the_sectors_that_were_not_flushed() {
    let outcomes = crash_after(|env, file| async move {
        file.write(0, filled(&env, PAGE, 2)).await.unwrap();
    });
    assert!(outcomes.contains(&vec![1; 8]) && outcomes.contains(&vec![2; 8]));
    assert!(50 < outcomes.len(), "mixtures: {}", outcomes.len());
    assert!(outcomes.iter().flatten().all(|byte| [1, 2].contains(byte)), "E44");
}

#[test]
fn a_flush_covers_what_had_completed() {
    let outcomes = crash_after(|env, file| async move {
        file.write(0, filled(&env, PAGE, 2)).await.unwrap();
        file.flush().await.unwrap();
    });
    assert_eq!(Vec::from_iter(outcomes), [vec![2; 8]]);
}

#[test]
fn a_flush_does_not_cover_what_was_under_way() {
    let outcomes = crash_after(|env, file| async move {
        let write = file.write(0, filled(&env, PAGE, 2));
        let flush = file.flush();
        write.await.unwrap();
        flush.await.unwrap();
    });
    assert!(50 < outcomes.len(), "E36: {}", outcomes.len());
}

#[test]
fn a_lying_flush_covers_nothing_and_the_next_one_everything() {
    let lie = |honest: bool| {
        let outcome = move |seed| {
            let (sim, node) = device(seed);
            let lying = DiskFaults { flush_lie_permille: 1000, ..DiskFaults::default() };
            sim.set_disk(node, lying);
            run(&sim, node, |env| async move {
                let file = open(&env).await;
                file.write(0, filled(&env, PAGE, 2)).await.unwrap();
                file.flush().await.unwrap();
            });
            if honest {
                sim.set_disk(node, DiskFaults::default());
                run(&sim, node, |env| async move { open(&env).await.flush().await.unwrap() });
            }
            sim.crash(node);
            sectors(&sim, node)
        };
        (0..50).map(outcome).collect::<BTreeSet<_>>()
    };
    assert!(10 < lie(false).len());
    assert_eq!(Vec::from_iter(lie(true)), [vec![2; 8]]);
}

#[test]
fn a_write_through_device_loses_nothing_that_had_completed() {
    let outcome = |seed, awaited: bool| {
        let (sim, node) = device(seed);
        assert!(geometry(&sim, node).volatile_cache, "the default");
        sim.set_volatile_cache(node, PATH, false);
        assert!(!geometry(&sim, node).volatile_cache);
        let now = Rc::new(Cell::new(false));
        let reached = now.clone();
        sim.start(node, move |env| async move {
            let file = open(&env).await;
            let write = file.write(0, filled(&env, PAGE, 2));
            if awaited {
                write.await.unwrap();
            }
            reached.set(true);
            core::future::pending::<()>().await;
        });
        assert!(sim.run_while(HOUR, |_| !now.get()).unwrap());
        sim.crash(node);
        sectors(&sim, node)
    };
    for seed in 0..100 {
        assert_eq!(outcome(seed, true), [2; 8], "seed {seed}: completed, and no flush");
    }
    let cut: BTreeSet<_> = (0..100).map(|seed| outcome(seed, false)).collect();
    assert!(10 < cut.len(), "what had not completed tears all the same: {}", cut.len());
}

/// A discard promises nothing, not even on a device that writes through.
#[test]
fn a_write_through_device_may_forget_a_discard() {
    let outcome = |seed| {
        let (sim, node) = device(seed);
        sim.set_volatile_cache(node, PATH, false);
        run(&sim, node, |env| async move {
            let file = open(&env).await;
            file.write(PAGE as u64, filled(&env, PAGE, 3)).await.unwrap();
            file.discard(0, PAGE as u64).await.unwrap();
            file.write(PAGE as u64, filled(&env, PAGE, 4)).await.unwrap();
        });
        sim.crash(node);
        assert_eq!(sim.peek(node, PATH, PAGE as u64, PAGE).unwrap(), [4; PAGE]);
        sim.peek(node, PATH, 0, PAGE).unwrap()
    };
    let outcomes: BTreeSet<_> = (0..100).map(outcome).collect();
    assert!(outcomes.contains([1; PAGE].as_slice()), "as it was before");
    assert!(outcomes.contains([0; PAGE].as_slice()), "forgotten");
}

#[test]
fn a_cache_that_is_switched_off_is_written_out() {
    for seed in 0..30 {
        let (sim, node) = device(seed);
        run(&sim, node, |env| async move {
            open(&env).await.write(0, filled(&env, PAGE, 2)).await.unwrap();
        });
        sim.set_volatile_cache(node, PATH, false);
        sim.crash(node);
        assert_eq!(sectors(&sim, node), [2; 8]);
    }
}

fn geometry(sim: &Sim, node: NodeId) -> Geometry {
    run(sim, node, |env| async move { open(&env).await.geometry() })
}

#[test]
fn a_kill_loses_nothing_that_had_completed() {
    for seed in 0..30 {
        let (sim, node) = device(seed);
        sim.start(node, move |env| async move {
            let file = open(&env).await;
            file.write(0, filled(&env, PAGE, 2)).await.unwrap();
            core::future::pending::<()>().await;
        });
        sim.run_for(ms(50)).unwrap();
        sim.kill(node);
        assert_eq!(sectors(&sim, node), [2; 8]);
    }
}

#[test]
fn a_write_that_nobody_waits_for_lands_later() {
    for seed in 0..30 {
        let (sim, node) = device(seed);
        run(&sim, node, |env| async move {
            let file = open(&env).await;
            drop(file.write(0, filled(&env, PAGE, 2)));
            drop(file); // the open file lives on with its operation
            let file = open(&env).await;
            sleep(&env, ms(100)).await;
            let read = file.read(0, PAGE).await.unwrap();
            assert!(read.iter().all(|byte| *byte == 2));
        });
    }
}

#[test]
fn a_read_that_overlaps_a_write_sees_any_mixture() {
    let outcome = |seed| {
        let (sim, node) = device(seed);
        run(&sim, node, |env| async move {
            let file = open(&env).await;
            let write = file.write(0, filled(&env, PAGE, 2));
            let read = file.read(0, PAGE);
            let bytes = read.await.unwrap();
            write.await.unwrap();
            let after = file.read(0, PAGE).await.unwrap();
            assert!(after.iter().all(|byte| *byte == 2), "a later read sees the write");
            bytes.chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<_>>()
        })
    };
    let outcomes: BTreeSet<_> = (0..300).map(outcome).collect();
    assert!(50 < outcomes.len(), "{}", outcomes.len());
    assert!(outcomes.iter().flatten().all(|byte| [1, 2].contains(byte)));
}

#[test]
fn errors_happen_where_they_were_asked_for() {
    let (sim, node) = device(1);
    let fail = |faults| {
        sim.set_file_faults(node, PATH, Some(faults));
        run(&sim, node, |env| async move {
            let file = env.open(PATH.as_ref(), WRITE).await?;
            file.read(0, PAGE).await?;
            file.write(PAGE as u64, filled(&env, PAGE, 3)).await?;
            file.flush().await
        })
    };
    let error = |result: Result<(), FileError>| {
        let error = result.unwrap_err();
        (error.operation, error.source.raw_os_error().unwrap())
    };
    let none = DiskFaults::default();
    fail(none).unwrap();
    let read = fail(DiskFaults { read_error_permille: 1000, ..none });
    assert_eq!(error(read), (crate::FileOperation::Read, libc::EIO));
    let write = fail(DiskFaults { write_error_permille: 1000, ..none });
    assert_eq!(error(write), (crate::FileOperation::Write, libc::EIO));
    let flush = fail(DiskFaults { flush_error_permille: 1000, ..none });
    assert_eq!(error(flush), (crate::FileOperation::Flush, libc::EIO));
    let gone = fail(DiskFaults { gone: true, ..none });
    assert_eq!(error(gone), (crate::FileOperation::Open, libc::ENODEV));
    let report = sim.report();
    for count in [Count::ReadError, Count::WriteError, Count::FlushError, Count::DeviceGone] {
        assert_eq!(report.count(count), 1, "{}", count.name());
    }
}

#[test]
fn a_failed_write_may_have_changed_any_sector() {
    let outcome = |seed| {
        let (sim, node) = device(seed);
        let failing = DiskFaults { write_error_permille: 1000, ..DiskFaults::default() };
        sim.set_disk(node, failing);
        run(&sim, node, |env| async move {
            open(&env).await.write(0, filled(&env, PAGE, 2)).await.unwrap_err();
        });
        sectors(&sim, node)
    };
    let outcomes: BTreeSet<_> = (0..100).map(outcome).collect();
    assert!(outcomes.contains(&vec![1; 8]) && outcomes.contains(&vec![2; 8]));
    assert!(10 < outcomes.len());
}

#[test]
fn flipped_bits_pass_or_stay() {
    let (sim, node) = device(1);
    let wrong = |faults| {
        sim.set_disk(node, faults);
        run(&sim, node, |env| async move {
            let bytes = open(&env).await.read(0, PAGE).await.unwrap();
            bytes.iter().filter(|byte| **byte != 1).count()
        })
    };
    let none = DiskFaults::default();
    assert_eq!(wrong(DiskFaults { read_flip_permille: 1000, ..none }), 1);
    assert_eq!(wrong(none), 0);
    assert_eq!(wrong(DiskFaults { rot_permille: 1000, ..none }), 1);
    assert_eq!(wrong(none), 1, "it stays");
    sim.crash(node);
    assert_eq!(wrong(none), 1);
    sim.flip_bit(node, PATH, 17, 2);
    assert_eq!(sim.peek(node, PATH, 0, PAGE).unwrap()[17] & 4, 4);
}

#[test]
fn a_misdirected_write_lands_at_another_page() {
    let (sim, node) = device(1);
    sim.set_disk(node, DiskFaults { misdirect_permille: 1000, ..DiskFaults::default() });
    run(&sim, node, |env| async move {
        open(&env).await.write(0, filled(&env, PAGE, 2)).await.unwrap();
    });
    assert_eq!(sectors(&sim, node), [1; 8]);
    let all = sim.peek(node, PATH, 0, 1 << 20).unwrap();
    let landed: Vec<_> = all.chunks(PAGE).filter(|page| page[0] == 2).collect();
    assert_eq!(landed, [[2; PAGE]]);
}

#[test]
fn space_runs_out_and_comes_back() {
    let (sim, [node]) = world::<1>(1);
    sim.set_space(node, Some(10 * PAGE as u64));
    run(&sim, node, |env| async move {
        let full = |result: Result<(), FileError>| {
            result.is_err_and(|error| error.source.kind() == io::ErrorKind::StorageFull)
        };
        let page = |number: usize| (number * PAGE) as u64;
        let (a, b) = (env.open("/a".as_ref(), CREATE).await, env.open("/b".as_ref(), CREATE).await);
        let (a, b) = (a.unwrap(), b.unwrap());
        a.preallocate(0, page(6)).await.unwrap();
        b.write(0, filled(&env, 4 * PAGE, 1)).await.unwrap();
        assert!(full(b.write(page(4), filled(&env, PAGE, 1)).await));
        assert!(full(b.preallocate(page(100), page(1)).await));
        a.write(0, filled(&env, 6 * PAGE, 1)).await.unwrap(); // V9: allocated before
        b.write(page(2), filled(&env, PAGE, 2)).await.unwrap(); // nothing new
        a.discard(page(1), page(2)).await.unwrap();
        assert!(a.read(page(1), PAGE).await.unwrap().iter().all(|byte| *byte == 0));
        b.write(page(4), filled(&env, 2 * PAGE, 1)).await.unwrap();
        assert!(full(a.write(page(1), filled(&env, PAGE, 1)).await));
        b.set_len(page(1)).await.unwrap();
        a.write(page(1), filled(&env, PAGE, 1)).await.unwrap();
    });
    assert!(3 <= sim.report().count(Count::NoSpace));
}

/// V9: what a store relies on. Allocating fails at once and changes nothing; what is allocated
/// takes writes, also those that were never made before; a device has its space already.
#[test]
fn a_full_disk_refuses_to_allocate_and_takes_writes_where_space_is() {
    let (sim, [node]) = world::<1>(1);
    sim.add_device(node, PATH, 1 << 20, 512);
    let allocated = 16 * PAGE as u64;
    run(&sim, node, move |env| async move {
        let file = env.open("/store".as_ref(), CREATE).await.unwrap();
        file.preallocate(0, allocated).await.unwrap();
        file.write(0, filled(&env, PAGE, 1)).await.unwrap();
        file.flush().await.unwrap();
    });
    for space in [allocated, PAGE as u64, 0] {
        sim.set_space(node, Some(space));
        run(&sim, node, move |env| async move {
            let file = env.open("/store".as_ref(), CREATE).await.unwrap();
            for position in [allocated, 0, 64 * allocated] {
                let error = file.preallocate(position, allocated + 1).await.unwrap_err();
                assert_eq!(error.source.kind(), io::ErrorKind::InvalidInput, "not a page");
                let error = file.preallocate(position, 2 * allocated).await.unwrap_err();
                assert_eq!(error.operation, crate::FileOperation::Preallocate);
                assert_eq!(error.source.kind(), io::ErrorKind::StorageFull, "{error}");
            }
            assert_eq!(file.read(allocated, PAGE).await.unwrap().len(), 0, "nothing grew");
            file.preallocate(0, allocated).await.expect("it is there already");
            for position in (0..allocated).step_by(PAGE) {
                file.write(position, filled(&env, PAGE, 2)).await.unwrap();
            }
            file.flush().await.unwrap();
            let error = file.write(allocated, filled(&env, PAGE, 3)).await.unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::StorageFull, "{error}");
            let device = open(&env).await;
            device.preallocate(0, 1 << 20).await.unwrap();
            device.write(0, filled(&env, PAGE, 2)).await.unwrap();
        });
        sim.crash(node);
        let content = sim.peek(node, "/store", 0, 16 * PAGE).unwrap();
        assert_eq!(content, vec![2; 16 * PAGE]);
    }
    assert_eq!(sim.report().count(Count::NoSpace), 12);
    sim.set_space(node, Some(2 * allocated));
    run(&sim, node, move |env| async move {
        let file = env.open("/store".as_ref(), CREATE).await.unwrap();
        file.preallocate(allocated, allocated).await.expect("there is room again");
    });
}

#[test]
fn a_length_is_durable_with_the_next_flush() {
    let size_after = |seed, flush: bool| {
        let (sim, [node]) = world::<1>(seed);
        sim.start(node, move |env| async move {
            let file = env.open(PATH.as_ref(), CREATE).await.unwrap();
            file.write(0, filled(&env, PAGE, 1)).await.unwrap();
            if flush {
                file.flush().await.unwrap();
            }
            core::future::pending::<()>().await;
        });
        sim.run_for(ms(50)).unwrap();
        sim.crash(node);
        let bytes = sim.peek(node, PATH, 0, 2 * PAGE).unwrap();
        assert!(!flush || bytes == [1; PAGE]);
        sim.file_size(node, PATH).unwrap()
    };
    let sizes = |flush| (0..60).map(|seed| size_after(seed, flush)).collect::<BTreeSet<_>>();
    assert_eq!(Vec::from_iter(sizes(true)), [PAGE as u64]);
    assert_eq!(Vec::from_iter(sizes(false)), [0, PAGE as u64]);
}

#[test]
fn a_lock_excludes_until_its_file_is_closed() {
    let (sim, node) = device(1);
    let locking = OpenOptions { lock: true, ..WRITE };
    run(&sim, node, move |env| async move {
        let first = env.open(PATH.as_ref(), locking).await.unwrap();
        let error = env.open(PATH.as_ref(), locking).await.err().unwrap();
        assert_eq!(error.source.kind(), io::ErrorKind::WouldBlock);
        env.open(PATH.as_ref(), WRITE).await.unwrap(); // advisory
        drop(first);
        env.open(PATH.as_ref(), locking).await.unwrap();
        // A write under way holds the file, and with it the lock.
        let again = env.open(PATH.as_ref(), locking).await.unwrap();
        let write = again.write(0, filled(&env, PAGE, 1));
        drop(again);
        write.await.unwrap();
        env.open(PATH.as_ref(), locking).await.unwrap();
    });
    sim.start(node, move |env| async move {
        let _held = env.open(PATH.as_ref(), locking).await.unwrap();
        core::future::pending::<()>().await;
    });
    sim.run_for(ms(100)).unwrap();
    sim.kill(node);
    run(&sim, node, move |env| async move {
        env.open(PATH.as_ref(), locking).await.unwrap();
    });
}

#[test]
fn requests_outside_the_rules_are_refused() {
    let (sim, node) = device(1);
    run(&sim, node, |env| async move {
        let kind = |error: FileError| error.source.kind();
        let file = open(&env).await;
        let invalid = io::ErrorKind::InvalidInput;
        assert_eq!(kind(file.read(512, PAGE).await.unwrap_err()), invalid);
        assert_eq!(kind(file.read(0, 512).await.unwrap_err()), invalid);
        assert_eq!(kind(file.write(0, filled(&env, 100, 1)).await.unwrap_err()), invalid);
        assert_eq!(kind(file.write(1 << 20, filled(&env, PAGE, 1)).await.unwrap_err()), invalid);
        assert_eq!(kind(file.discard(0, 2 << 20).await.unwrap_err()), invalid);
        assert_eq!(kind(file.set_len(0).await.unwrap_err()), invalid);
        assert_eq!(kind(file.preallocate(0, 2 << 20).await.unwrap_err()), invalid);
        file.preallocate(0, 1 << 20).await.unwrap();
        assert_eq!(file.read((1 << 20) - PAGE as u64, 2 * PAGE).await.unwrap().len(), PAGE);
        assert_eq!(file.read(2 << 20, PAGE).await.unwrap().len(), 0);
        let missing = env.open("/none".as_ref(), WRITE).await.err().unwrap();
        assert_eq!(kind(missing), io::ErrorKind::NotFound);
        let reading = env.open(PATH.as_ref(), OpenOptions::default()).await.unwrap();
        let denied = reading.write(0, filled(&env, PAGE, 1)).await.unwrap_err();
        assert_eq!(kind(denied), io::ErrorKind::PermissionDenied);
    });
}

#[test]
fn reads_wait_for_memory() {
    let (sim, [node]) = world::<1>(1);
    sim.add_device(node, PATH, 64 << 20, 4096);
    run(&sim, node, |env| async move {
        let file = open(&env).await;
        let limit = env.pool().limit();
        let reads: Vec<_> = (0..20)
            .map(|_| {
                let read = file.read(0, limit / 4);
                env.spawn(async move { read.await.unwrap().len() })
            })
            .collect();
        for read in reads {
            assert_eq!(read.await, limit / 4);
        }
        assert!(env.pool().held_peak() <= limit);
        let error = file.read(0, 2 * limit).await.unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::OutOfMemory);
    });
}

#[test]
fn a_slow_disk_is_slow() {
    let time = |slow_factor| {
        let (sim, node) = device(1);
        sim.set_disk(node, DiskFaults { slow_factor, ..DiskFaults::default() });
        run(&sim, node, |env| async move {
            let file = open(&env).await;
            let start = env.now();
            for _ in 0..20 {
                file.read(0, PAGE).await.unwrap();
            }
            env.now().saturating_since(start)
        })
    };
    assert!(time(1) < ms(50) && ms(100) < time(100) && time(100) < HOUR);
}
