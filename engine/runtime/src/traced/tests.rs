//! On every backend: the same scenario leaves the same record.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

use super::*;
use crate::file::FileKind;

const PAGE: usize = 4096;
const CREATE: OpenOptions = OpenOptions { write: true, create: true, truncate: false, lock: false };

async fn bytes<E: Env>(env: &E, byte: u8, len: usize) -> Bytes<E::Memory> {
    let mut buf = env.pool().alloc_wait(len).await.unwrap();
    buf.set_len(len);
    buf.whole_mut()[..len].fill(byte);
    buf.freeze()
}

/// A page is written, flushed and acknowledged; then one that nobody flushes.
async fn acknowledged<E: Env>(env: Traced<E>, path: PathBuf) {
    let file = env.open(&path, CREATE).await.unwrap();
    assert_eq!((file.geometry().kind, file.geometry().size), (FileKind::Regular, 0));
    for round in 1..=3 {
        let data = file.write(u64::from(round) << 12, bytes(&env, round, PAGE).await);
        let record = file.write(0, bytes(&env, 0x80 | round, PAGE).await);
        data.await.unwrap();
        record.await.unwrap();
        file.flush().await.unwrap();
        env.log().mark(format!("acknowledged {round}"));
    }
    file.write(0, bytes(&env, 9, PAGE).await).await.unwrap();
    let read = file.read(PAGE as u64, 3 * PAGE).await.unwrap();
    assert_eq!([read[0], read[PAGE], read[2 * PAGE]], [1, 2, 3]);
}

/// What a test of a store does with the record; the first write without a flush is the error.
fn check_acknowledgements(log: &FileLog) -> Result<usize, String> {
    let marks = log.marks();
    for mark in &marks {
        if let Some(write) = log.unflushed(mark.at).first() {
            return Err(format!("{} before {write:?} was durable:\n{log}", mark.text));
        }
    }
    Ok(marks.len())
}

fn check_record(log: &FileLog, path: &Path) {
    assert_eq!(check_acknowledgements(log), Ok(3));
    let operations = log.operations();
    let kinds: Vec<_> = operations.iter().map(|it| (it.operation, it.position, it.len)).collect();
    use FileOperation::{Flush, Read, Write};
    let page = PAGE as u64;
    let round = |round| [(Write, round * page, page), (Write, 0, page), (Flush, 0, 0)];
    let mut expected: Vec<_> = (1..=3).flat_map(round).collect();
    expected.extend([(Write, 0, page), (Read, page, 3 * page)]);
    assert_eq!(kinds, expected, "{log}");
    for it in &operations {
        assert_eq!(it.path, path);
        assert!(it.ok && it.ended.is_some_and(|ended| it.began < ended), "{it:?}");
    }
    let last = log.of(Write).pop().unwrap();
    assert_eq!(log.unflushed(log.now()), [last], "the last one was never flushed");
}

/// The same without flushes: the record must show it.
fn check_negative(log: &FileLog) {
    assert_eq!(log.skipped_flushes(), 3);
    assert_eq!(log.of(FileOperation::Flush), []);
    let error = check_acknowledgements(log).unwrap_err();
    assert!(error.starts_with("acknowledged 1 before"), "{error}");
    assert!(error.contains("#0 write 4096+4096"), "{error}");
}

/// Both runs on a backend that `run` starts.
fn check_backend(name: &str, path: &Path, run: impl Fn(FileLog, PathBuf)) {
    for skip in [false, true] {
        let (log, path) = (FileLog::new(), path.join(format!("{name}-{skip}")));
        log.skip_flushes(skip);
        run(log.clone(), path.clone());
        if skip { check_negative(&log) } else { check_record(&log, &path) }
    }
}

mod real {
    use super::*;
    use crate::system::tests::Folder;

    #[test]
    fn flushes_are_seen_on_glommio() {
        let folder = Folder::new("traced-glommio");
        check_backend("glommio", &folder.0, |log, path| {
            crate::glommio::run(CoreSpec::new("c"), |env| {
                acknowledged(Traced::new(env, log), path)
            })
            .unwrap();
        });
    }

    #[test]
    fn flushes_are_seen_on_monoio() {
        use crate::monoio::{Driver, run_on};
        let folder = Folder::new("traced-monoio");
        for (driver, name) in [(Driver::Uring, "uring"), (Driver::Legacy, "legacy")] {
            check_backend(name, &folder.0, |log, path| {
                let main = |env| acknowledged(Traced::new(env, log), path);
                run_on(driver, CoreSpec::new("c"), main).unwrap();
            });
        }
    }

    #[test]
    fn other_cores_write_to_the_same_log() {
        let folder = Folder::new("traced-cores");
        let (log, path) = (FileLog::new(), folder.0.join("file"));
        let traced = log.clone();
        crate::monoio::run(CoreSpec::new("c"), |env| async move {
            let env = Traced::new(env, traced);
            let theirs = |env: Traced<_>| acknowledged(env, path);
            let end = env.on_core(CoreSpec::new("d"), theirs).unwrap().await;
            assert_eq!(end, CoreEnd::Finished);
        })
        .unwrap();
        assert_eq!(check_acknowledgements(&log), Ok(3));
    }
}

mod simulated {
    use core::time::Duration;
    use std::io::ErrorKind;

    use super::*;
    use crate::sim::{DiskFaults, NodeSpec, Sim, SimConfig, SimEnv};

    type Main<E> = core::pin::Pin<Box<dyn Future<Output = E>>>;

    /// Runs one process in a world of its own.
    fn run(seed: u64, faults: DiskFaults, main: impl FnOnce(SimEnv) -> Main<()> + 'static) {
        let sim = Sim::new(SimConfig { disk: faults, ..SimConfig::new(seed) });
        let node = sim.add_node(NodeSpec::new("n"));
        sim.start(node, main);
        let ended = sim.run_while(Duration::from_secs(60), |sim| !sim.is_finished(node));
        assert!(ended.unwrap(), "hangs:\n{}", sim.trace_tail());
    }

    /// A write that is held ends later than one that began after it.
    #[test]
    fn large_writes_can_be_held() {
        let log = FileLog::new();
        log.hold_writes(8192, Duration::from_secs(1));
        let inner = log.clone();
        run(1, DiskFaults::default(), |env| {
            let env = Traced::new(env, inner);
            Box::pin(async move {
                let options =
                    OpenOptions { write: true, create: true, truncate: false, lock: false };
                let file = env.open(Path::new("/held"), options).await.unwrap();
                let large = file.write(0, bytes(&env, 1, 8192).await);
                let small = file.write(8192, bytes(&env, 2, 4096).await);
                small.await.unwrap();
                large.await.unwrap();
            })
        });
        let writes = log.of(FileOperation::Write);
        assert_eq!(writes.len(), 2);
        assert!(writes[1].ended < writes[0].ended, "{log}");
    }

    #[test]
    fn flushes_are_seen_in_simulation() {
        for seed in 1..20 {
            check_backend("sim", Path::new("/"), |log, path| {
                run(seed, DiskFaults::default(), |env| {
                    Box::pin(acknowledged(Traced::new(env, log), path))
                });
            });
        }
    }

    #[test]
    fn a_flush_covers_only_what_had_ended_before_it_began() {
        run(1, DiskFaults::default(), |env| {
            Box::pin(async move {
                let env = Traced::new(env, FileLog::new());
                let log = env.log();
                let file = env.open("/f".as_ref(), CREATE).await.unwrap();
                let other = env.open("/g".as_ref(), CREATE).await.unwrap();
                let write = file.write(0, bytes(&env, 1, PAGE).await);
                file.flush().await.unwrap();
                write.await.unwrap();
                other.flush().await.unwrap();
                let [write] = log.of(FileOperation::Write).try_into().unwrap();
                assert!(!log.is_flushed(&write, log.now()), "E36; and the other file's is another");
                let early = log.now();
                file.clone().flush().await.unwrap();
                assert!(log.is_flushed(&write, log.now()));
                assert!(!log.is_flushed(&write, early), "not yet then");
                let ended = log.of(FileOperation::Flush).pop().unwrap().ended.unwrap();
                assert!(log.is_flushed(&write, ended));
            })
        });
    }

    #[test]
    fn what_failed_is_neither_written_nor_flushed() {
        let failing = DiskFaults { flush_error_permille: 1000, ..DiskFaults::default() };
        run(1, failing, |env| {
            Box::pin(async move {
                let env = Traced::new(env, FileLog::new());
                let log = env.log();
                let file = env.open("/f".as_ref(), CREATE).await.unwrap();
                file.write(0, bytes(&env, 1, PAGE).await).await.unwrap();
                file.flush().await.unwrap_err();
                let error = file.write(1, bytes(&env, 1, PAGE).await).await.unwrap_err();
                assert_eq!(error.source.kind(), ErrorKind::InvalidInput);
                assert_eq!(log.unflushed(log.now()).len(), 2);
                let [done, refused] = log.of(FileOperation::Write).try_into().unwrap();
                assert!(done.is_done(log.now()) && !done.is_done(done.began));
                assert!(refused.ended.is_some() && !refused.is_done(log.now()));
                assert!(log.to_string().contains("fails"), "{log}");
            })
        });
    }

    #[test]
    fn everything_is_recorded_with_its_range_and_its_first_bytes() {
        run(1, DiskFaults::default(), |env| {
            Box::pin(async move {
                let env = Traced::new(env, FileLog::new());
                let log = env.log();
                log.keep_data(2);
                let file = env.open("/f".as_ref(), CREATE).await.unwrap();
                file.preallocate(0, 3 << 12).await.unwrap();
                file.write(1 << 12, bytes(&env, 5, PAGE).await).await.unwrap();
                file.discard(1 << 12, 1 << 12).await.unwrap();
                file.set_len(2 << 12).await.unwrap();
                drop(file.read(0, PAGE)); // its end is recorded all the same
                while log.operations().iter().any(|it| it.ended.is_none()) {
                    env.sleep_until(env.now() + Duration::from_millis(1)).await;
                }
                let found = log.operations();
                let shape: Vec<_> =
                    found.iter().map(|it| (it.operation, it.position, it.len)).collect();
                use FileOperation::{Discard, Preallocate, Read, SetLen, Write};
                let page = 1 << 12;
                let expected = [
                    (Preallocate, 0, 3 * page),
                    (Write, page, page),
                    (Discard, page, page),
                    (SetLen, 0, 2 * page),
                    (Read, 0, page),
                ];
                assert_eq!(shape, expected);
                assert_eq!(found[1].data, [5, 5]);
                assert!(found[1].overlaps(2 * page - 1, 1) && !found[1].overlaps(2 * page, page));
                log.clear();
                assert!(log.operations().is_empty() && log.marks().is_empty());
                let before = log.now();
                assert!(before < log.mark("later"), "moments go on");
            })
        });
    }

    #[test]
    fn what_is_under_way_when_the_log_is_cleared_ends_unseen() {
        run(1, DiskFaults::default(), |env| {
            Box::pin(async move {
                let env = Traced::new(env, FileLog::new());
                let file = env.open("/f".as_ref(), CREATE).await.unwrap();
                let first = file.write(0, bytes(&env, 1, PAGE).await);
                env.log().clear();
                let second = file.write(0, bytes(&env, 2, PAGE).await);
                first.await.unwrap();
                second.await.unwrap();
                let [write] = env.log().operations().try_into().unwrap();
                assert!(write.is_done(env.log().now()));
            })
        });
    }
}
