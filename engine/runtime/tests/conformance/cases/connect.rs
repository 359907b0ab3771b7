//! E34 and E37: how connections begin.

use core::time::Duration;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use engine_runtime::{
    Buf, Closer as _, Env, Listener as _, Reader as _, Stream, Writer as _, until,
};
use engine_types::Instant;

use crate::ground::{Ground, a_moment, after, bytes, check, far};

/// Both ends of a new connection: who connected, who accepted.
pub(crate) async fn pair<E: Env>(env: &E, ground: &Ground) -> (Stream<E>, Stream<E>) {
    let mut listener = env.listen(ground.address).unwrap();
    let connecting = env.connect(listener.address(), far(env));
    let server = listener.accept().await.unwrap();
    (connecting.await.unwrap(), server)
}

/// Reads exactly `len` bytes, in whatever pieces they come.
pub(crate) async fn read_exact<E: Env>(
    env: &E,
    reader: &mut E::Reader,
    len: usize,
) -> Buf<E::Memory> {
    let mut buf = env.pool().alloc_wait(len).await.unwrap();
    let mut done = 0;
    while done < len {
        let (back, count) = reader.read(buf, done..len).await;
        let count = count.unwrap();
        assert!(0 < count && count <= len - done, "{count} bytes at {done} of {len}");
        (buf, done) = (back, done + count);
    }
    assert!(buf.is_empty(), "a read leaves the length to its caller");
    buf.set_len(len);
    buf
}

/// E37.
pub(crate) async fn both_ends_agree_on_addresses<E: Env>(env: E, ground: Ground) {
    let mut listener = env.listen(ground.address).unwrap();
    let address = listener.address();
    assert_eq!(address.ip(), ground.address.ip());
    assert_ne!(address.port(), 0, "a free port was picked");
    let connecting = env.connect(address, far(&env));
    let server = listener.accept().await.unwrap();
    let client = connecting.await.unwrap();
    assert_eq!((client.peer, server.local), (address, address));
    assert_eq!(client.local, server.peer);
}

/// Two listeners would share connections unnoticed.
pub(crate) async fn an_address_is_listened_on_once<E: Env>(env: E, ground: Ground) {
    let listener = env.listen(ground.address).unwrap();
    let refused = env.listen(listener.address()).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::AddrInUse));
}

/// A kernel refuses; a lost answer in simulation may also end at the deadline.
pub(crate) async fn nobody_listens<E: Env>(env: E, ground: Ground) {
    let address = env.listen(ground.address).unwrap().address();
    a_moment(&env).await; // the listener is closed
    let error = env.connect(address, far(&env)).await.err().unwrap();
    let timed_out = !ground.real && error.kind() == ErrorKind::TimedOut;
    assert!(error.kind() == ErrorKind::ConnectionRefused || timed_out, "{error}");
}

/// Nothing answers there: a documentation address (RFC 5737), or no route to it at all.
pub(crate) async fn an_attempt_ends_at_its_deadline<E: Env>(env: E, _: Ground) {
    let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    for milliseconds in [0, 1, 50] {
        let give_up_at = after(&env, Duration::from_millis(milliseconds));
        assert!(env.connect(nowhere, give_up_at).await.is_err());
    }
    assert!(env.connect(nowhere, Instant::ZERO).await.is_err(), "long past");
}

/// A listener that nobody serves takes one connection and ignores the others.
pub(crate) async fn a_full_backlog_does_not_hold_an_attempt<E: Env>(env: E, ground: Ground) {
    if !ground.real {
        return;
    }
    let listener = std::net::TcpListener::bind(ground.address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let soon = after(&env, Duration::from_millis(300));
    let attempts: Vec<_> = (0..4).map(|_| env.connect(address, soon)).collect();
    let mut refused = Vec::new();
    let mut connected = Vec::new();
    for attempt in attempts {
        match attempt.await {
            Ok(stream) => connected.push(stream),
            Err(error) => refused.push(error.kind()),
        }
    }
    assert!(!refused.is_empty(), "{} connected", connected.len());
    assert!(refused.iter().all(|kind| *kind == ErrorKind::TimedOut), "{refused:?}");
    assert!(soon <= env.now());
}

/// E34: the attempt goes on, its result is closed.
pub(crate) async fn a_connection_that_nobody_waits_for_is_closed<E: Env>(env: E, ground: Ground) {
    let mut listener = env.listen(ground.address).unwrap();
    drop(env.connect(listener.address(), far(&env)));
    let soon = after(&env, Duration::from_secs(2));
    if let Ok(server) = until(&env, soon, listener.accept()).await {
        let mut server = server.unwrap();
        let buf = env.pool().alloc(100).unwrap();
        let (_, answer) = server.reader.read(buf, 0..100).await;
        assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
    }
}

/// Each with its own bytes.
pub(crate) async fn many_connections_at_once<E: Env>(env: E, ground: Ground) {
    const CONNECTIONS: usize = 64;
    let mut listener = env.listen(ground.address).unwrap();
    let address = listener.address();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let env = env.clone();
            env.clone().spawn(async move {
                let mut stream = env.connect(address, far(&env)).await.unwrap();
                let stream_id = index as u64;
                let sent = bytes(&env, stream_id, 0, 5000).await;
                stream.writer.write_all(&[sent]).await.unwrap();
                let echo = read_exact(&env, &mut stream.reader, 5000).await;
                check(&echo, stream_id, 0);
            })
        })
        .collect();
    for _ in 0..CONNECTIONS {
        let (mut stream, env) = (listener.accept().await.unwrap(), env.clone());
        drop(env.clone().spawn(async move {
            let received = read_exact(&env, &mut stream.reader, 5000).await;
            stream.writer.write_all(&[received.freeze()]).await.unwrap();
            // Held until the peer has closed, so that nothing is cut off.
            let buf = env.pool().alloc_wait(1).await.unwrap();
            let _ = stream.reader.read(buf, 0..1).await;
        }));
    }
    for client in clients {
        client.await;
    }
}

/// Any error after that is final.
pub(crate) async fn closing_ends_a_pending_accept<E: Env>(env: E, ground: Ground) {
    let mut listener = env.listen(ground.address).unwrap();
    let closer = listener.closer();
    let accepting = env.spawn(async move {
        let first = listener.accept().await.map(drop);
        (first, listener.accept().await.map(drop))
    });
    a_moment(&env).await;
    closer.close();
    let (first, second) = accepting.await;
    assert!(first.is_err() && second.is_err(), "{first:?}, {second:?}");
    closer.close();
}
