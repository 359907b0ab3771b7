use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use futures_lite::future::block_on;

use super::start::RunError;
use super::{Blocking, disk, now, place, signals, start_core, uring, wall};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::Signal;
use crate::file::{FileError, FileKind, FileOperation, OpenOptions};

/// Longest that a test may hang.
const HANG: Duration = Duration::from_secs(60);

/// A folder on the disk that holds the build, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let test = std::env::current_exe().expect("the test has a path");
        let folder = test.with_file_name(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a former process of the same id
        fs::create_dir(&folder).expect("the build folder can be written");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the next build cleans up what is left
    }
}

/// Opens a file whose lock was let go of. Another test may be starting a program at this moment,
/// whose process has a copy of every descriptor until it runs the program.
pub(crate) fn open_when_free(path: &Path, options: OpenOptions) -> disk::Opened {
    let give_up_at = now() + HANG;
    loop {
        match disk::open(path, options) {
            Ok(opened) => return opened,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && now() < give_up_at => {
                thread::yield_now();
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

const STORE: OpenOptions = OpenOptions { write: true, create: true, truncate: false, lock: true };

#[test]
fn clocks_are_those_of_the_node() {
    let text = fs::read_to_string("/proc/uptime").expect("Linux");
    let uptime: f64 = text.split(' ').next().expect("a number").parse().expect("a number");
    let difference = now().nanos() as f64 / 1e9 - uptime;
    assert!((-1.0..60.0).contains(&difference), "{difference} s from CLOCK_BOOTTIME");
    let year_2024 = 1_704_067_200_000_000_000;
    assert!(year_2024 < wall().nanos());
}

#[test]
fn blocking_calls_run_in_line_and_outlive_their_waiters() {
    let blocking = Blocking::new(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (go, gone) = mpsc::channel::<()>();
    let (done, all_done) = mpsc::channel();
    let seen = order.clone();
    drop(blocking.run(move || {
        gone.recv_timeout(HANG).expect("the test goes on");
        seen.lock().expect("nobody panics").push(0);
    }));
    for number in 1..4 {
        let (seen, done) = (order.clone(), done.clone());
        drop(blocking.run(move || {
            seen.lock().expect("nobody panics").push(number);
            done.send(()).expect("the test waits");
        }));
    }
    assert_eq!(*order.lock().expect("nobody panics"), [], "the first one occupies the only place");
    go.send(()).expect("it waits");
    for _ in 1..4 {
        all_done.recv_timeout(HANG).expect("calls run though nobody awaits them (E34)");
    }
    assert_eq!(*order.lock().expect("nobody panics"), [0, 1, 2, 3]);
    assert_eq!(block_on(blocking.run(|| 7)), 7);
}

#[test]
fn a_blocking_call_hands_its_panic_to_whoever_waits() {
    let blocking = Blocking::new(2);
    let call = blocking.run(|| panic!("call failed"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(call)));
    let panic = caught.expect_err("the panic goes on");
    assert_eq!(super::start::panic_text(&*panic), "call failed");
    assert_eq!(block_on(blocking.run(|| 1)), 1, "its place is free again");
}

#[test]
fn a_cpu_that_does_not_exist_is_named() {
    for cpu in [1023, 5000] {
        let error = place(Some(cpu)).err().expect("no machine of ours has it");
        assert!(error.to_string().contains(&format!("CPU {cpu} does not exist")), "{error}");
        assert!(error.to_string().contains("allowed: 0"), "{error}");
    }
}

#[test]
fn threads_of_a_pinned_thread_roam() {
    let before = rustix::thread::sched_getaffinity(None).expect("own thread");
    let first = (0..1024).find(|&cpu| before.is_set(cpu)).expect("a CPU");
    {
        let _placed = place(Some(first)).expect("allowed");
        assert_eq!(rustix::thread::sched_getaffinity(None).expect("own thread").count(), 1);
        let seen = block_on(
            Blocking::new(1)
                .run(|| rustix::thread::sched_getaffinity(None).expect("own thread").count()),
        );
        assert_eq!(seen, before.count(), "a blocking call is not bound to its core's CPU");
    }
    assert_eq!(rustix::thread::sched_getaffinity(None).expect("own thread"), before);
}

#[test]
fn a_core_reports_why_it_did_not_start_and_how_it_ended() {
    let spec = CoreSpec::new("c");
    let refused = start_core(&spec, |_| {
        let reason = "no ring".to_owned();
        Err(RunError::Ring { core: "c".to_owned(), reason })
    });
    let error = refused.err().expect("it did not start");
    assert!(error.to_string().contains("no ring"), "{error}");
    assert!(start_core(&spec.clone().on_cpu(1023), |_| Ok(())).is_err(), "no such CPU");

    let ended = start_core(&spec, |started| {
        started.report();
        Ok(())
    });
    assert_eq!(block_on(ended.expect("it runs").wait()), CoreEnd::Finished);
    let panicked = start_core(&spec, |started| {
        started.report();
        panic!("lost {}", 3)
    });
    let end = block_on(panicked.expect("it runs").wait());
    assert_eq!(end, CoreEnd::Panicked("lost 3".to_owned()));
}

#[test]
fn every_subscriber_gets_every_signal() {
    let (one, two) = (signals().expect("handlers"), signals().expect("handlers"));
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::HUP).expect("own process");
    assert_eq!(block_on(one.recv()), Some(Signal::Reload));
    assert_eq!(block_on(two.recv()), Some(Signal::Reload));
}

#[test]
fn a_refused_ring_comes_with_its_remedy() {
    let rows = [
        (libc::EPERM, Some("2\n"), "kernel.io_uring_disabled=0"),
        (libc::EPERM, Some("1\n"), "io_uring_group"),
        (libc::EPERM, Some("0\n"), "seccomp"),
        (libc::EPERM, None, "seccomp"),
        (libc::ENOSYS, None, "older than 5.6"),
        (libc::ENOMEM, Some("0\n"), "LimitMEMLOCK"),
        (libc::EMFILE, Some("0\n"), "ulimit -n"),
    ];
    for (errno, disabled, expected) in rows {
        let text = uring::remedy(&io::Error::from_raw_os_error(errno), disabled);
        assert!(text.contains(expected), "{errno} {disabled:?}: {text}");
    }
    assert!(uring::memlock_remedy(65536, 524_288).contains("ulimit -l 512"));
    super::check_uring("c", 0).expect("the tests need io_uring");
    let refused = super::check_uring("c", u64::MAX);
    let unlimited = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    assert_eq!(refused.is_err(), unlimited.is_some());
}

#[test]
fn what_is_neither_file_nor_device_is_refused_unopened() {
    let folder = Folder::new("kinds");
    let fifo = folder.0.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("the folder can be written");
    for path in [folder.0.clone(), fifo, PathBuf::from("/dev/null")] {
        let error = disk::open(&path, OpenOptions::default()).expect_err("not for storage");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("expected a regular file or a block device"));
    }
    let missing = disk::open(&folder.0.join("missing"), OpenOptions::default());
    assert_eq!(missing.expect_err("it is not there").kind(), io::ErrorKind::NotFound);
    let read_only = OpenOptions { create: true, ..OpenOptions::default() };
    let error = disk::open(&folder.0.join("new"), read_only).expect_err("it needs write access");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_locked_store_is_neither_opened_nor_truncated() {
    let folder = Folder::new("lock");
    let path = folder.0.join("store");
    let held = disk::open(&path, STORE).expect("new");
    disk::preallocate(held.descriptor.as_fd(), &held.geometry, 0, 8192).expect("there is space");
    let truncate = OpenOptions { truncate: true, ..STORE };
    let error = disk::open(&path, truncate).expect_err("it is in use");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains("somebody else holds the lock"), "{error}");
    assert_eq!(fs::metadata(&path).expect("it exists").len(), 8192, "locked before truncated");
    drop(held);
    let cut = open_when_free(&path, truncate); // the lock ended with its descriptor
    assert_eq!(cut.geometry.size, 0);
}

#[test]
fn only_write_through_means_no_volatile_cache() {
    let folder = Folder::new("cache");
    let disk = folder.0.join("disk");
    let partition = disk.join("partition");
    fs::create_dir_all(partition.join("holders")).expect("the build folder can be written");
    fs::create_dir(disk.join("queue")).expect("the build folder can be written");
    // As in /sys/dev/block: links, whose parent is not the disk.
    let link = |name: &str, to: &Path| {
        let link = folder.0.join(name);
        std::os::unix::fs::symlink(to, &link).expect("the build folder can be written");
        link
    };
    let (disk_link, partition_link) = (link("8:0", &disk), link("8:1", &partition));
    let unknown = folder.0.join("9:9");
    for path in [&disk_link, &partition_link, &unknown] {
        assert!(disk::has_volatile_cache(path), "{}: nothing is declared", path.display());
    }
    let rows = [
        ("write through\n", false),
        ("write through", false),
        ("write back\n", true),
        ("write-through\n", true),
        ("", true),
    ];
    for (text, expected) in rows {
        fs::write(disk.join("queue/write_cache"), text).expect("the folder can be written");
        for path in [&disk_link, &partition_link] {
            assert_eq!(disk::has_volatile_cache(path), expected, "{text:?}: {}", path.display());
        }
        assert!(disk::has_volatile_cache(&unknown));
    }
}

#[test]
fn space_of_a_file_is_given_and_taken_back() {
    let folder = Folder::new("space");
    let path = folder.0.join("store");
    let file = disk::open(&path, STORE).expect("new");
    let (fd, geometry) = (file.descriptor.as_fd(), file.geometry);
    assert_eq!((geometry.kind, geometry.size), (FileKind::Regular, 0));
    assert!(4096 <= geometry.align && geometry.logical_block <= geometry.align);
    assert!(geometry.volatile_cache);
    disk::preallocate(fd, &geometry, 8192, 1 << 20).expect("there is space");
    assert_eq!(disk::size(fd, &geometry).expect("it is open"), 8192 + (1 << 20));
    let blocks = || rustix::fs::fstat(fd).expect("it is open").st_blocks;
    let allocated = blocks();
    assert!(!disk::has_first_sector(fd).expect("it is open"), "it starts with a hole");
    disk::discard(fd, &geometry, 8192, 1 << 20).expect("the file system punches holes");
    assert!(blocks() < allocated, "{} of {allocated} blocks", blocks());
    disk::set_len(fd, &geometry, 4096).expect("a file can be cut");
    assert_eq!(disk::size(fd, &geometry).expect("it is open"), 4096);
    fs::write(&path, [1; 8192]).expect("there is space");
    assert!(disk::has_first_sector(fd).expect("it is open"));
    let huge = disk::preallocate(fd, &geometry, 0, 1 << 60).expect_err("no disk is that large");
    let error = disk::file_error(FileOperation::Preallocate, &path, 0, 1 << 60, huge);
    assert!(error.to_string().starts_with("preallocate "), "{error}");
}

#[test]
fn errors_have_the_promised_kinds() {
    let rows = [
        (libc::ENOSPC, io::ErrorKind::StorageFull),
        (libc::EDQUOT, io::ErrorKind::StorageFull),
        (libc::EOPNOTSUPP, io::ErrorKind::Unsupported),
        (libc::ENOTTY, io::ErrorKind::Unsupported),
        (libc::ENOENT, io::ErrorKind::NotFound),
    ];
    for (errno, kind) in rows {
        let source = io::Error::from_raw_os_error(errno);
        let path = PathBuf::from("p");
        let error = disk::file_error(FileOperation::Write, &path, 1, 2, source);
        assert_eq!(error.source.kind(), kind, "{errno}");
        let text = error.to_string();
        assert!(text.starts_with("write p at 1, 2 bytes: "), "{text}");
        let whole = FileError { position: 0, len: 0, ..error };
        assert!(whole.to_string().starts_with("write p: "), "{whole}");
    }
}

mod watching {
    use super::*;
    use crate::env::Watch;
    use crate::system::Watcher;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn a_foreign_descriptor_wakes_its_watcher_again_and_again() {
        let fd = eventfd(0, EventfdFlags::NONBLOCK).expect("a descriptor");
        let watcher = Watcher::default();
        let mut watched = watcher.watch(fd.try_clone().expect("a descriptor")).expect("pollable");
        for _ in 0..3 {
            let theirs = fd.try_clone().expect("a descriptor");
            let writer = thread::Builder::new().spawn(move || {
                rustix::io::write(&theirs, &1_u64.to_le_bytes()).expect("room");
            });
            block_on(watched.readable()).expect("it is open");
            block_on(watched.readable()).expect("level-triggered: still readable");
            rustix::io::read(&fd, &mut [0; 8]).expect("something was written");
            writer.expect("a thread").join().expect("it does not panic");
            let waiting = block_on(futures_lite::future::poll_once(watched.readable()));
            assert!(waiting.is_none(), "nothing is there any more");
        }
        drop(watcher); // what it watches keeps its thread
        rustix::io::write(&fd, &1_u64.to_le_bytes()).expect("room");
        block_on(watched.readable()).expect("it is open");
    }

    #[test]
    fn a_file_cannot_be_watched() {
        let file = fs::File::open("/proc/self/exe").expect("own program");
        let error = Watcher::default().watch(file.into()).err().expect("epoll refuses files");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
