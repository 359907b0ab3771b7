//! Connections under faults.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use super::super::tests::{HOUR, PORT, filled, ms, run, sleep, start, world};
use super::super::{Count, Link, NetFaults, Sim};
use super::*;
use crate::env::Env;
use engine_types::NodeId;

fn receive(sim: &Sim, node: NodeId) -> Rc<RefCell<Option<io::Result<Vec<u8>>>>> {
    let address = sim.address(node, PORT);
    start(sim, node, move |env| async move {
        let mut listener = env.listen(address).unwrap();
        let mut stream = listener.accept().await.unwrap();
        receive_all(&env, &mut stream.reader).await
    })
}

/// What arrives until the end of the stream.
async fn receive_all(env: &SimEnv, reader: &mut SimReader) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buf = env.pool().alloc(4096).unwrap();
    loop {
        let (back, read) = reader.read(buf, 100..4096).await;
        buf = back;
        let len = read?;
        if len == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&buf.whole_mut()[100..100 + len]);
    }
}

fn send(sim: &Sim, node: NodeId, to: NodeId, data: Vec<u8>) -> Rc<RefCell<Option<io::Result<()>>>> {
    let address = sim.address(to, PORT);
    start(sim, node, move |env| async move {
        let mut stream = env.connect(address, env.now() + HOUR).await?;
        for piece in data.chunks(10_000) {
            let mut buf = env.pool().alloc(piece.len()).unwrap();
            buf.extend_from_slice(piece);
            stream.writer.write_all(&[buf.freeze()]).await?;
        }
        Ok(())
    })
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index.wrapping_mul(31) >> 3).to_le_bytes()[0]).collect()
}

#[test]
fn a_stream_stays_in_order_whatever_the_link_does() {
    for seed in 0..60 {
        let (sim, [a, b]) = world::<2>(seed);
        let bad = Link {
            loss_permille: 100,
            duplicate_permille: 100,
            reorder_permille: 200,
            ..Link::default()
        };
        sim.set_default_link(bad);
        sim.set_net(NetFaults {
            segment_bytes: 3000,
            window_bytes: 20_000,
            retransmit_max: 20,
            ..NetFaults::default()
        });
        let received = receive(&sim, b);
        let sent = send(&sim, a, b, bytes(300_000));
        sim.run_for(HOUR).unwrap();
        sent.take().unwrap().unwrap();
        // What was sent arrives: the machine goes on sending for a process that has ended.
        assert!(received.take().unwrap().unwrap() == bytes(300_000), "seed {seed}");
        let report = sim.report();
        for count in [Count::Lost, Count::Duplicated, Count::Reordered, Count::Retransmitted] {
            assert!(0 < report.count(count), "seed {seed}: no {}", count.name());
        }
    }
}

fn connect_error(sim: &Sim, from: NodeId, to: SocketAddr, within: Duration) -> io::ErrorKind {
    run(sim, from, move |env| async move {
        let give_up_at = env.now() + within;
        let error = env.connect(to, give_up_at).await.err().expect("nobody is there").kind();
        if error == io::ErrorKind::TimedOut {
            assert!(give_up_at <= env.now(), "given up early");
        }
        error
    })
}

#[test]
fn connecting_fails_as_it_should() {
    let (sim, [a, b]) = world::<2>(1);
    let to = sim.address(b, PORT);
    assert_eq!(connect_error(&sim, a, to, HOUR), io::ErrorKind::ConnectionRefused);
    sim.crash(b);
    assert_eq!(connect_error(&sim, a, to, ms(5000)), io::ErrorKind::TimedOut);
    let nowhere = "10.99.0.1:1".parse().unwrap();
    assert_eq!(connect_error(&sim, a, nowhere, ms(5000)), io::ErrorKind::TimedOut);
    let _listening = receive(&sim, b);
    sim.cut(b, a);
    assert_eq!(connect_error(&sim, a, to, ms(5000)), io::ErrorKind::TimedOut);
    assert_eq!(connect_error(&sim, a, to, Duration::ZERO), io::ErrorKind::TimedOut);
}

#[test]
fn a_lost_request_is_repeated() {
    let (sim, [a, b]) = world::<2>(1);
    let received = receive(&sim, b);
    sim.cut(a, b);
    let sent = send(&sim, a, b, bytes(10));
    sim.run_for(ms(2500)).unwrap();
    assert!(sent.borrow().is_none());
    sim.heal(a, b);
    sim.run_for(HOUR).unwrap();
    sent.take().unwrap().unwrap();
    assert_eq!(received.take().unwrap().unwrap(), bytes(10));
}

/// The client of a server that crashed after it was accepted: what its pings end with.
fn ping_after_crash(sim: &Sim, a: NodeId, b: NodeId, restart: bool) -> (io::ErrorKind, Duration) {
    let _server = receive(sim, b);
    let to = sim.address(b, PORT);
    let result = start(sim, a, move |env| async move {
        let mut stream = env.connect(to, env.now() + HOUR).await.unwrap();
        let start = env.world_now();
        loop {
            sleep(&env, ms(10)).await;
            if let Err(error) = stream.writer.write_all(&[filled(&env, 100, 1)]).await {
                return (error.kind(), env.world_now().saturating_since(start));
            }
        }
    });
    sim.run_for(ms(100)).unwrap();
    assert!(result.borrow().is_none());
    sim.crash(b);
    sim.run_for(ms(100)).unwrap();
    assert!(result.borrow().is_none(), "nothing tells the client");
    if restart {
        sim.start(b, |_| core::future::pending());
    }
    sim.run_for(HOUR).unwrap();
    result.take().unwrap()
}

#[test]
fn a_crashed_peer_says_nothing_until_its_machine_is_back() {
    let (sim, [a, b]) = world::<2>(1);
    let (error, after) = ping_after_crash(&sim, a, b, true);
    assert_eq!(error, io::ErrorKind::ConnectionReset);
    assert!(after < ms(1000), "{after:?}");
    let (sim, [a, b]) = world::<2>(1);
    let (error, after) = ping_after_crash(&sim, a, b, false);
    assert_eq!(error, io::ErrorKind::TimedOut);
    assert!(ms(20_000) < after, "{after:?}");
}

#[test]
fn a_killed_peer_is_noticed_at_once() {
    for seed in 0..20 {
        let (sim, [a, b]) = world::<2>(seed);
        let received = receive(&sim, b);
        let to = sim.address(b, PORT);
        sim.start(a, move |env| async move {
            let _stream = env.connect(to, env.now() + HOUR).await.unwrap();
            core::future::pending::<()>().await;
        });
        sim.run_for(ms(50)).unwrap();
        assert!(received.borrow().is_none());
        sim.kill(a);
        sim.run_for(ms(50)).unwrap();
        match received.take().expect("it was told") {
            Ok(bytes) => assert!(bytes.is_empty()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_sender_that_hears_nothing_breaks_off_although_its_bytes_arrive() {
    let (sim, [a, b]) = world::<2>(1);
    let got = Rc::new(RefCell::new(0));
    let (counter, to) = (got.clone(), sim.address(b, PORT));
    sim.start(b, move |env| async move {
        let mut listener = env.listen(to).unwrap();
        let mut stream = listener.accept().await.unwrap();
        let buf = env.pool().alloc(4096).unwrap();
        let (_, read) = stream.reader.read(buf, 0..4096).await;
        *counter.borrow_mut() = read.unwrap();
        core::future::pending::<()>().await;
    });
    let result = start(&sim, a, move |env| async move {
        let mut stream = env.connect(to, env.now() + HOUR).await.unwrap();
        sleep(&env, ms(100)).await;
        stream.writer.write_all(&[filled(&env, 1, 1)]).await.unwrap();
        let buf = env.pool().alloc(4096).unwrap();
        stream.reader.read(buf, 0..1).await.1.unwrap_err().kind()
    });
    sim.run_for(ms(50)).unwrap();
    sim.cut(b, a);
    sim.run_for(ms(100)).unwrap();
    assert_eq!(*got.borrow(), 1);
    sim.run_for(HOUR).unwrap();
    assert_eq!(result.take(), Some(io::ErrorKind::TimedOut));
}

#[test]
fn a_partition_that_heals_only_delays() {
    let (sim, [a, b]) = world::<2>(1);
    let received = receive(&sim, b);
    sim.set_default_link(Link { bandwidth: 1_000_000, ..Link::default() });
    let sent = send(&sim, a, b, bytes(500_000));
    sim.run_for(ms(100)).unwrap();
    sim.partition(&[a], &[b]);
    sim.run_for(ms(3000)).unwrap();
    assert!(received.borrow().is_none());
    sim.heal_all();
    sim.run_for(ms(20_000)).unwrap();
    sent.take().unwrap().unwrap();
    assert!(received.take().unwrap().unwrap() == bytes(500_000));
    assert!(0 < sim.report().count(Count::Cut));
}

#[test]
fn a_slow_link_takes_its_time() {
    let (sim, [a, b]) = world::<2>(1);
    let received = receive(&sim, b);
    sim.set_link(a, b, Link { bandwidth: 100_000, ..Link::default() });
    let _sent = send(&sim, a, b, bytes(200_000));
    sim.run_for(ms(1900)).unwrap();
    assert!(received.borrow().is_none());
    sim.run_for(ms(300)).unwrap();
    assert_eq!(received.take().unwrap().unwrap().len(), 200_000);
}

/// M9: bytes of a connection that its client has closed reach the server after the client talks
/// to it on a new one.
#[test]
fn bytes_of_a_closed_connection_may_arrive_late() {
    let late = |seed| {
        let (sim, [a, b]) = world::<2>(seed);
        sim.set_link(a, b, Link { loss_permille: 300, ..Link::default() });
        let to = sim.address(b, PORT);
        let order = Rc::new(RefCell::new(Vec::new()));
        let log = order.clone();
        sim.start(b, move |env| async move {
            let mut listener = env.listen(to).unwrap();
            loop {
                let mut stream = listener.accept().await.unwrap();
                let (log, task) = (log.clone(), env.clone());
                drop(env.spawn(async move {
                    let buf = task.pool().alloc(4096).unwrap();
                    let (mut buf, read) = stream.reader.read(buf, 0..4096).await;
                    if read.is_ok_and(|read| 0 < read) {
                        log.borrow_mut().push(buf.whole_mut()[0]);
                    }
                }));
            }
        });
        sim.start(a, move |env| async move {
            for byte in 0..2 {
                let mut stream = env.connect(to, env.now() + HOUR).await.unwrap();
                stream.writer.write_all(&[filled(&env, 10, byte)]).await.unwrap();
            }
        });
        sim.run_for(HOUR).unwrap();
        let order = order.take();
        assert_eq!(order.len(), 2, "what was written before the close arrives, seed {seed}");
        order == [1, 0]
    };
    assert!((0..50).any(late));
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (sim, [a, b]) = world::<2>(1);
    let to = sim.address(b, PORT);
    sim.set_net(NetFaults { window_bytes: 50_000, ..NetFaults::default() });
    let release = Rc::new(RefCell::new(false));
    let flag = release.clone();
    let received = start(&sim, b, move |env| async move {
        let mut listener = env.listen(to).unwrap();
        let mut stream = listener.accept().await.unwrap();
        while !*flag.borrow() {
            sleep(&env, ms(100)).await;
        }
        receive_all(&env, &mut stream.reader).await.unwrap()
    });
    let sent = send(&sim, a, b, bytes(120_000));
    sim.run_for(ms(60_000)).unwrap();
    assert_eq!(sim.report().count(Count::SentByte), 50_000, "E48");
    assert!(sent.borrow().is_none());
    *release.borrow_mut() = true;
    sim.run_for(ms(60_000)).unwrap();
    assert!(received.take().unwrap() == bytes(120_000));
}

#[test]
fn a_full_backlog_leaves_attempts_waiting() {
    let (sim, [a, b]) = world::<2>(1);
    sim.set_net(NetFaults { backlog_max: 2, ..NetFaults::default() });
    let to = sim.address(b, PORT);
    let accepted = start(&sim, b, move |env| async move {
        let mut listener = env.listen(to).unwrap();
        sleep(&env, ms(500)).await;
        for _ in 0..5 {
            listener.accept().await.unwrap();
        }
    });
    run(&sim, a, move |env| async move {
        let attempts: Vec<_> = (0..5).map(|_| env.connect(to, env.now() + HOUR)).collect();
        for attempt in attempts {
            attempt.await.unwrap();
        }
    });
    sim.run_for(HOUR).unwrap();
    assert!(accepted.take().is_some());
    assert!(3 <= sim.report().count(Count::BacklogFull));
}

#[test]
fn a_half_whose_operation_was_dropped_refuses() {
    let (sim, [a, b]) = world::<2>(1);
    let _received = receive(&sim, b);
    let to = sim.address(b, PORT);
    run(&sim, a, move |env| async move {
        let mut stream = env.connect(to, env.now() + HOUR).await.unwrap();
        let buf = env.pool().alloc(4096).unwrap();
        let read = stream.reader.read(buf, 0..1);
        assert!(crate::wait::until(&env, env.now() + ms(5), read).await.is_err());
        let buf = env.pool().alloc(4096).unwrap();
        let (_, again) = stream.reader.read(buf, 0..1).await;
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        stream.writer.write_all(&[filled(&env, 1, 1)]).await.unwrap();
    });
}

#[test]
fn a_listener_that_closes_resets_its_backlog() {
    let (sim, [a, b]) = world::<2>(1);
    let to = sim.address(b, PORT);
    sim.start(b, move |env| async move {
        let listener = env.listen(to).unwrap();
        assert_eq!(env.listen(to).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        sleep(&env, ms(100)).await;
        drop(listener);
        let _again = env.listen(to).unwrap();
        core::future::pending::<()>().await;
    });
    let kind = run(&sim, a, move |env| async move {
        sleep(&env, ms(10)).await;
        let mut stream = env.connect(to, env.now() + HOUR).await.unwrap();
        let buf = env.pool().alloc(4096).unwrap();
        stream.reader.read(buf, 0..1).await.1.unwrap_err().kind()
    });
    assert_eq!(kind, io::ErrorKind::ConnectionReset);
}

#[test]
fn severed_connections_end_on_both_sides_and_new_ones_can_be_made() {
    let (sim, [a, b, c]) = world::<3>(1);
    assert!(!sim.sever(a, b), "there is none");
    let received = receive(&sim, b);
    let address = sim.address(b, PORT);
    let connected = start(&sim, a, move |env| async move {
        let mut stream = env.connect(address, env.now() + HOUR).await.unwrap();
        receive_all(&env, &mut stream.reader).await
    });
    sim.run_for(ms(100)).unwrap();
    assert!(!sim.sever(a, c), "of others");
    assert!(sim.sever(b, a));
    sim.run_for(ms(1)).unwrap();
    let ends = [received.take(), connected.take()].map(|end| end.unwrap().unwrap_err().kind());
    assert_eq!(ends, [io::ErrorKind::ConnectionReset; 2]);
    let received = receive(&sim, b);
    send(&sim, a, b, bytes(1000));
    sim.run_for(HOUR).unwrap();
    assert!(received.take().unwrap().unwrap() == bytes(1000));
}
