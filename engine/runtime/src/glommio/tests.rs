use core::cell::Cell;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::io::Read as _;
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::sync::mpsc;

use super::{GlommioEnv, run};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::Env;
use crate::file::{File, OpenOptions};
use crate::stream::{Closer, Listener, Reader, Writer};
use crate::system::tests::{Folder, open_when_free};

/// Longest that a test may hang.
const HANG: Duration = Duration::from_secs(60);
const STORE: OpenOptions = OpenOptions { write: true, create: true, truncate: false, lock: true };
const SECTOR: usize = 4096;

/// Runs `main` on a thread of its own, because glommio keeps its verdicts on devices by thread.
fn on_new_thread<F, T>(main: impl FnOnce(GlommioEnv) -> F + Send + 'static) -> T
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        let _ = sender.send(run(CoreSpec::new("test"), main).expect("glommio runs here"));
    });
    match receiver.recv_timeout(HANG) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = thread.expect("a thread").join().expect_err("it sent no answer");
            std::panic::resume_unwind(panic)
        }
    }
}

fn sector(env: &GlommioEnv, byte: u8) -> crate::buffer::Buf<super::GlommioMemory> {
    let mut buf = env.pool().alloc(SECTOR).expect("the pool is large");
    buf.extend_from_slice(&[byte; SECTOR]);
    buf
}

/// glommio judges a file system by its first file; one without data misleads it, and then reads
/// of all others fail with EOPNOTSUPP.
#[test]
fn an_empty_first_file_does_not_spoil_the_others() {
    let folder = Folder::new("probe");
    let full = folder.0.join("full");
    std::fs::write(&full, [7; 2 * SECTOR]).expect("there is space");
    std::fs::File::open(&full).and_then(|file| file.sync_all()).expect("there is a disk");
    let empty = folder.0.join("empty");
    on_new_thread(async move |env| {
        let _first = env.open(&empty, STORE).await.expect("new");
        let second = env.open(&full, OpenOptions::default()).await.expect("it exists");
        let bytes = second.read(SECTOR as u64, SECTOR).await.expect("the verdict is right");
        assert_eq!(*bytes, [7; SECTOR]);
    });
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("it exists").collect();
    assert_eq!(left.len(), 2, "the probe leaves nothing behind: {left:?}");
}

#[test]
fn a_preallocated_first_file_does_not_spoil_itself() {
    let folder = Folder::new("holes");
    let path = folder.0.join("store");
    on_new_thread(async move |env| {
        let file = env.open(&path, STORE).await.expect("new");
        file.preallocate(0, 4 * SECTOR as u64).await.expect("there is space");
        assert_eq!(*file.read(0, SECTOR).await.expect("inside"), [0; SECTOR]);
        file.write(SECTOR as u64, sector(&env, 3).freeze()).await.expect("inside");
        file.flush().await.expect("there is a disk");
        assert_eq!(*file.read(SECTOR as u64, SECTOR).await.expect("inside"), [3; SECTOR]);
    });
}

#[test]
fn whole_buffers_are_written_without_a_copy_and_parts_with_one() {
    let folder = Folder::new("copies");
    let path = folder.0.join("store");
    on_new_thread(async move |env| {
        let file = env.open(&path, STORE).await.expect("new");
        let whole = sector(&env, 1).freeze();
        file.write(0, whole.clone()).await.expect("there is space");
        assert_eq!(env.write_copies(), 0);
        let mut large = env.pool().alloc(2 * SECTOR).expect("the pool is large");
        large.extend_from_slice(&[2; 2 * SECTOR]);
        let part = large.freeze().slice(SECTOR..2 * SECTOR);
        file.write(SECTOR as u64, part).await.expect("there is space");
        assert_eq!(env.write_copies(), 1);
        let read = file.read(0, SECTOR).await.expect("inside");
        assert_eq!(*read, [1; SECTOR]);
        file.write(2 * SECTOR as u64, read).await.expect("there is space");
        assert_eq!(env.write_copies(), 2, "glommio does not take back what it read");

        assert!(whole.try_into_buf().is_ok(), "glommio has let go of it");
        let past = file.read(0, 8 * SECTOR).await.expect("short at the end only");
        assert_eq!(past.len(), 3 * SECTOR);
        drop((past, file));
        assert_eq!(env.pool().held(), 0, "everything came back (E32)");
    });
}

#[test]
fn a_panic_of_any_task_leaves_run() {
    let caught = std::panic::catch_unwind(|| {
        on_new_thread(async |env: GlommioEnv| {
            drop(env.spawn(async { panic!("own mistake") }));
            core::future::pending::<()>().await;
        });
    });
    let panic = caught.expect_err("the task panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"own mistake"));
}

#[test]
fn a_core_tells_how_it_ended() {
    on_new_thread(async |env: GlommioEnv| {
        let finished = env.on_core(CoreSpec::new("a"), async |_| ()).expect("it starts");
        assert_eq!(finished.await, CoreEnd::Finished);
        let panicked = env.on_core(CoreSpec::new("b"), async |env| {
            drop(env.spawn(async { panic!("own mistake") }));
            core::future::pending::<()>().await;
        });
        let end = panicked.expect("it starts").await;
        assert_eq!(end, CoreEnd::Panicked("own mistake".to_owned()));
        let nowhere = env.on_core(CoreSpec::new("c").on_cpu(1023), async |_| ());
        assert!(nowhere.is_err(), "there is no CPU 1023");
    });
}

/// glommio itself would keep the task, and with it the socket, for the life of the process.
#[test]
fn tasks_that_are_left_at_the_end_release_their_sockets() {
    struct Dropped(mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).expect("the test waits");
        }
    }
    let (sender, dropped) = mpsc::channel();
    let (address, mut client) = on_new_thread(async move |env: GlommioEnv| {
        let mut listener = env.listen("127.0.0.1:0".parse().expect("valid")).expect("a port");
        let address = listener.address();
        let connected = env.blocking(move || StdStream::connect(address).expect("it listens"));
        let mut accepted = listener.accept().await.expect("somebody connects");
        let guard = Dropped(sender);
        let inner = env.clone();
        drop(env.spawn(async move {
            let _guard = guard;
            let buf = inner.pool().alloc(SECTOR).expect("the pool is large");
            accepted.reader.read(buf, 0..1).await.1.expect("nobody sends");
        }));
        drop(env.spawn(async move { listener.accept().await.map(drop) }));
        env.sleep_until(env.now() + Duration::from_millis(5)).await; // both wait by now
        (address, connected.await)
    });
    dropped.try_recv().expect("the task was dropped before run returned (E62)");
    client.set_read_timeout(Some(HANG)).expect("a socket");
    assert_eq!(client.read(&mut [0; 1]).expect("the end of the stream"), 0);
    std::net::TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn a_core_ends_only_when_its_io_has_completed() {
    let folder = Folder::new("end");
    let path = folder.0.join("store");
    let theirs = path.clone();
    on_new_thread(async move |env| {
        let file = env.open(&theirs, STORE).await.expect("new");
        for index in 0..16 {
            drop(file.write(index * SECTOR as u64, sector(&env, 9).freeze()));
        }
    });
    let bytes = std::fs::read(&path).expect("it exists");
    assert_eq!(bytes, [9; 16 * SECTOR], "submitted writes were not cancelled (E34)");
    open_when_free(&path, STORE); // the lock ended with the core
}

#[test]
fn closing_a_listener_ends_its_accept_for_good() {
    on_new_thread(async |env: GlommioEnv| {
        let mut listener = env.listen("127.0.0.1:0".parse().expect("valid")).expect("a port");
        let address = listener.address();
        let in_use = env.listen(address).err().expect("only one listens");
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
        let closer = listener.closer();
        let accepting = env.spawn(async move {
            let first = listener.accept().await.err();
            (first, listener.accept().await.err())
        });
        env.sleep_until(env.now() + Duration::from_millis(5)).await;
        closer.close();
        closer.close();
        assert!(matches!(accepting.await, (Some(_), Some(_))));
        closer.close(); // the listener is gone
    });
}

/// Many parts, more bytes than the socket takes at once, a reader that is slower: every fallback
/// of the send path.
#[test]
fn parts_arrive_whole_and_in_order() {
    const PARTS: u8 = 150;
    on_new_thread(async |env: GlommioEnv| {
        let mut listener = env.listen("127.0.0.1:0".parse().expect("valid")).expect("a port");
        let far = env.now() + HANG;
        let connecting = env.connect(listener.address(), far);
        let mut there = listener.accept().await.expect("somebody connects");
        let mut here = connecting.await.expect("it listens");
        let parts: Vec<_> = (0..PARTS)
            .map(|index| {
                let len = if index % 7 == 3 { 0 } else { 1 + usize::from(index) * 997 % 65_000 };
                let mut buf = env.pool().alloc(len).expect("the pool is large");
                buf.extend_from_slice(&vec![index; len]);
                buf.freeze()
            })
            .collect();
        let expected: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let sending = env.spawn(async move {
            here.writer.write_all(&parts).await.expect("the peer reads");
            here.writer.write_all(&[]).await.expect("nothing is easy");
            drop(here); // with both halves the connection ends
        });
        let mut got = Vec::new();
        let mut buf = env.pool().alloc(16 << 10).expect("the pool is large");
        loop {
            let (back, answer) = there.reader.read(buf, 5..9000).await;
            buf = back;
            match answer.expect("the peer sends") {
                0 => break,
                count => got.extend_from_slice(&buf.whole_mut()[5..5 + count]),
            }
            if got.len() % 11 == 0 {
                env.sleep_until(env.now() + Duration::from_micros(200)).await;
            }
        }
        sending.await;
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    });
}

#[test]
fn a_half_whose_operation_was_dropped_refuses_further_use() {
    on_new_thread(async |env: GlommioEnv| {
        let mut listener = env.listen("127.0.0.1:0".parse().expect("valid")).expect("a port");
        let connecting = env.connect(listener.address(), env.now() + HANG);
        let _there = listener.accept().await.expect("somebody connects");
        let mut here = connecting.await.expect("it listens");
        let buf = || env.pool().alloc(SECTOR).expect("the pool is large");
        assert!(futures_lite::future::poll_once(here.reader.read(buf(), 0..1)).await.is_none());
        let (_, answer) = here.reader.read(buf(), 0..1).await;
        assert_eq!(answer.expect_err("E37").kind(), io::ErrorKind::BrokenPipe);
        let sector = sector(&env, 1).freeze();
        here.writer.write_all(&[sector]).await.expect("the other half works");
    });
}

#[test]
fn spawning_never_runs_the_task_inside_its_spawner() {
    on_new_thread(async |env: GlommioEnv| {
        let ran = Rc::new(Cell::new(false));
        let theirs = ran.clone();
        let task = env.spawn(async move { theirs.set(true) });
        assert!(!ran.get(), "it would meet whatever its spawner has borrowed");
        task.await;
        assert!(ran.get());
    });
}

/// A task that wakes itself shares the core with timers and disks (E38).
#[test]
fn a_task_that_wakes_itself_starves_nobody() {
    let folder = Folder::new("fair");
    let path = folder.0.join("store");
    on_new_thread(async move |env| {
        let stop = Rc::new(Cell::new(false));
        let seen = stop.clone();
        let spinning = env.spawn(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if seen.get() { Poll::Ready(()) } else { Poll::Pending }
        }));
        let file = env.open(&path, STORE).await.expect("new");
        file.write(0, sector(&env, 4).freeze()).await.expect("there is space");
        env.sleep_until(env.now() + Duration::from_millis(1)).await;
        assert_eq!(*file.read(0, SECTOR).await.expect("inside"), [4; SECTOR]);
        stop.set(true);
        spinning.await;
    });
}
