//! E37: bytes on connections, and how they end.

use core::cell::Cell;
use core::pin::pin;
use core::time::Duration;
use std::io::ErrorKind;
use std::rc::Rc;

use engine_runtime::{Bytes, Closer as _, Elapsed, Env, Reader as _, Writer as _, until};
use engine_types::Rng;

use super::connect::{pair, read_exact};
use crate::ground::{Ground, SEED, a_moment, after, bytes, check, filled};

/// What bulk cases write and read at once.
const PIECE: usize = 1 << 20;

/// Requests of odd sizes, read in pieces of odd sizes into odd places.
pub(crate) async fn echo_in_pieces_of_all_sizes<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    let echo = env.spawn({
        let env = env.clone();
        async move {
            let mut rng = Rng::new(SEED);
            loop {
                let buf = env.pool().alloc_wait(70_000).await.unwrap();
                let room = usize::try_from(rng.range(1..=70_000)).unwrap();
                let (mut buf, count) = server.reader.read(buf, 0..room).await;
                match count.unwrap() {
                    0 => return,
                    count => buf.set_len(count),
                }
                server.writer.write_all(&[buf.freeze()]).await.unwrap();
            }
        }
    });
    let mut position = 0;
    for len in [1, 2, 3, 7, 100, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000] {
        let sent = bytes(&env, 5, position, len).await;
        let (mut writer, mut reader) = (client.writer, client.reader);
        let writing = env.spawn(async move {
            writer.write_all(&[sent]).await.unwrap();
            writer
        });
        let received = read_exact(&env, &mut reader, len).await;
        check(&received, 5, position);
        position += len;
        (client.writer, client.reader) = (writing.await, reader);
    }
    drop(client);
    echo.await;
}

async fn send_bulk<E: Env>(env: E, mut writer: E::Writer, stream: u64, len: usize) -> E::Writer {
    let mut start = 0;
    while start < len {
        let piece = bytes(&env, stream, start, PIECE.min(len - start)).await;
        start += piece.len();
        writer.write_all(&[piece]).await.unwrap();
    }
    writer
}

async fn receive_bulk<E: Env>(env: E, mut reader: E::Reader, stream: u64, len: usize) -> E::Reader {
    let mut start = 0;
    while start < len {
        let piece = read_exact(&env, &mut reader, PIECE.min(len - start)).await;
        check(&piece, stream, start);
        start += piece.len();
    }
    reader
}

/// Both directions move although each end only ever does its part of both.
pub(crate) async fn bulk_in_both_directions_at_once<E: Env>(env: E, ground: Ground) {
    let (client, server) = pair(&env, &ground).await;
    let len = ground.bulk_bytes;
    let there = env.spawn(send_bulk::<E>(env.clone(), client.writer, 1, len));
    let back = env.spawn(send_bulk::<E>(env.clone(), server.writer, 2, len));
    let at_server = env.spawn(receive_bulk::<E>(env.clone(), server.reader, 1, len));
    let at_client = env.spawn(receive_bulk::<E>(env.clone(), client.reader, 2, len));
    let _whole = (there.await, back.await, at_server.await, at_client.await);
    assert!(PIECE < env.pool().held_peak());
}

/// More parts than one system call takes, among them empty ones.
pub(crate) async fn many_odd_parts_arrive_in_order<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    let whole = bytes(&env, 3, 0, 2 << 20).await;
    let mut rng = Rng::new(SEED);
    for count in [2, 3, 1023, 1024, 1025, 3000] {
        let mut parts = Vec::new();
        let mut start = 0;
        for _ in 0..count {
            let len = usize::try_from(rng.range(0..=700)).unwrap();
            parts.push(whole.slice(start..start + len));
            start += len;
        }
        let (env2, mut reader) = (env.clone(), server.reader);
        let reading = env.spawn(async move {
            let received = read_exact(&env2, &mut reader, start).await;
            check(&received, 3, 0);
            reader
        });
        client.writer.write_all(&parts).await.unwrap();
        server.reader = reading.await;
    }
}

/// A writer without work neither waits nor fails.
pub(crate) async fn nothing_to_write_is_written<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    let empty = bytes(&env, 1, 0, 10).await.slice(5..5);
    client.writer.write_all(&[]).await.unwrap();
    client.writer.write_all(core::slice::from_ref(&empty)).await.unwrap();
    client.writer.write_all(&[empty.clone(), empty]).await.unwrap();
    client.writer.write_all(&[bytes(&env, 1, 0, 10).await]).await.unwrap();
    check(&read_exact(&env, &mut server.reader, 10).await, 1, 0);
}

/// Header and payload of a frame share a buffer.
pub(crate) async fn a_read_touches_only_its_range<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    client.writer.write_all(&[bytes(&env, 1, 0, 5000).await]).await.unwrap();
    let mut buf = filled(&env, 2, 0, 8192).await;
    let mut done = 0;
    while done < 1000 {
        let (back, count) = server.reader.read(buf, 3000 + done..4000).await;
        buf = back;
        done += count.unwrap();
    }
    assert_eq!(buf.len(), 8192, "the length stays as it was");
    check(&buf[..3000], 2, 0);
    check(&buf[3000..4000], 1, 0);
    check(&buf[4000..], 2, 4000);
}

/// The reader hears of it; so does the peer.
pub(crate) async fn closing_ends_a_pending_read<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    let closer = client.closer.clone();
    let (mine, yours) = (env.pool().alloc(100).unwrap(), env.pool().alloc(100).unwrap());
    let reading = env.spawn(async move {
        let first = client.reader.read(mine, 0..100).await;
        client.reader.read(first.0, 0..100).await.1
    });
    a_moment(&env).await;
    closer.close();
    let answer = reading.await;
    assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
    let (_, answer) = server.reader.read(yours, 0..100).await;
    assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
}

/// Writes until nothing moves any more; answers the task that waits and its count of bytes.
async fn write_until_full<E: Env>(
    env: &E,
    mut writer: E::Writer,
) -> (E::Join<ErrorKind>, Rc<Cell<u64>>) {
    let written = Rc::new(Cell::new(0));
    let (piece, count) = (bytes(env, 1, 0, 1 << 18).await, written.clone());
    let writing = env.spawn(async move {
        loop {
            if let Err(error) = writer.write_all(&[piece.clone(), piece.clone()]).await {
                return error.kind();
            }
            count.set(count.get() + 1);
        }
    });
    let mut before = u64::MAX;
    while before != written.get() {
        before = written.get();
        env.sleep_until(after(env, Duration::from_millis(100))).await;
    }
    (writing, written)
}

/// Backpressure: what the peer does not read is not taken, and a close still ends the wait.
pub(crate) async fn closing_ends_a_write_that_waits_for_the_peer<E: Env>(env: E, ground: Ground) {
    let (client, _server) = pair(&env, &ground).await;
    let (writing, written) = write_until_full(&env, client.writer).await;
    client.closer.close();
    writing.await;
    assert!(written.get() < 4096, "2 GiB were taken for a peer that reads nothing");
}

/// E72: closers outlive what they close.
pub(crate) async fn closing_twice_or_late_is_harmless<E: Env>(env: E, ground: Ground) {
    let (client, server) = pair(&env, &ground).await;
    let closers = [client.closer.clone(), client.closer.clone(), server.closer.clone()];
    closers[0].close();
    closers[1].close();
    drop((client, server));
    let (mut client, mut server) = pair(&env, &ground).await; // perhaps the same descriptors
    for closer in &closers {
        closer.close();
    }
    client.writer.write_all(&[bytes(&env, 1, 0, 10).await]).await.unwrap();
    check(&read_exact(&env, &mut server.reader, 10).await, 1, 0);
}

/// What was sent before arrives first.
pub(crate) async fn dropping_both_halves_ends_the_connection<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    client.writer.write_all(&[bytes(&env, 1, 0, 10_000).await]).await.unwrap();
    let _closer = client.closer.clone(); // holds nothing open
    drop(client);
    check(&read_exact(&env, &mut server.reader, 10_000).await, 1, 0);
    let (_, answer) = server.reader.read(env.pool().alloc(1).unwrap(), 0..1).await;
    assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
    let piece = bytes(&env, 1, 0, 10_000).await;
    while server.writer.write_all(core::slice::from_ref(&piece)).await.is_ok() {
        a_moment(&env).await; // until the peer's refusal has come back
    }
}

/// There is no half-close: whichever half goes first, the other one works and the peer hears
/// nothing; the second one takes the connection with it.
pub(crate) async fn dropping_one_half_ends_nothing<E: Env>(env: E, ground: Ground) {
    for writer_first in [true, false] {
        let (client, server) = pair(&env, &ground).await;
        let (mut reader, mut writer) = (Some(client.reader), Some(client.writer));
        let (mut hears, mut sends) = (server.reader, server.writer);
        let (len, inner) = (if writer_first { 0 } else { 10 }, env.clone());
        let hearing = env.spawn(async move {
            check(&read_exact(&inner, &mut hears, len).await, 1, 0);
            hears.read(inner.pool().alloc(1).unwrap(), 0..1).await.1
        });
        drop(if writer_first { (None, writer.take()) } else { (reader.take(), None) });
        a_moment(&env).await; // what would be sent now arrives
        if let Some(reader) = &mut reader {
            sends.write_all(&[bytes(&env, 2, 0, 10).await]).await.unwrap();
            check(&read_exact(&env, reader, 10).await, 2, 0);
        }
        if let Some(writer) = &mut writer {
            writer.write_all(&[bytes(&env, 1, 0, 10).await]).await.unwrap();
        }
        a_moment(&env).await;
        let soon = after(&env, Duration::from_millis(20));
        let mut hearing = pin!(hearing);
        let early = until(&env, soon, hearing.as_mut()).await;
        assert!(matches!(early, Err(Elapsed)), "one half is left, yet the peer got {early:?}");
        drop((reader, writer));
        let answer = hearing.await;
        assert!(matches!(answer, Ok(0)), "{answer:?}");
    }
}

/// E37.
pub(crate) async fn a_dropped_read_poisons_its_half<E: Env>(env: E, ground: Ground) {
    let (mut client, mut server) = pair(&env, &ground).await;
    let soon = after(&env, Duration::from_millis(2));
    let buf = env.pool().alloc(4096).unwrap();
    let dropped = until(&env, soon, server.reader.read(buf, 0..4096)).await;
    assert!(matches!(dropped, Err(Elapsed)));
    client.writer.write_all(&[bytes(&env, 1, 0, 100).await]).await.unwrap();
    for _ in 0..2 {
        let buf = filled(&env, 2, 0, 100).await;
        let (buf, answer) = server.reader.read(buf, 0..100).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::BrokenPipe);
        check(&buf, 2, 0);
    }
    server.writer.write_all(&[bytes(&env, 3, 0, 100).await]).await.unwrap();
    check(&read_exact(&env, &mut client.reader, 100).await, 3, 0);
}

/// V2, S5, E32: the kernel may still write, but only into memory that nobody else has got.
pub(crate) async fn a_dropped_read_writes_into_no_reused_buffer<E: Env>(env: E, ground: Ground) {
    for round in 0..20 {
        let (mut client, mut server) = pair(&env, &ground).await;
        let soon = after(&env, Duration::from_millis(1));
        let buf = env.pool().alloc(PIECE).unwrap();
        let dropped = until(&env, soon, server.reader.read(buf, 0..PIECE)).await;
        assert!(matches!(dropped, Err(Elapsed)));
        let mut others = Vec::new();
        for stream in 10..14 {
            others.push((stream, filled(&env, stream, 0, PIECE).await));
        }
        client.writer.write_all(&[bytes(&env, round, 0, 50_000).await]).await.unwrap();
        a_moment(&env).await;
        for (stream, other) in &others {
            check(other, *stream, 0);
        }
    }
    crate::ground::eventually(&env, || env.pool().held() == 0).await;
}

/// E37: part of a frame may be on its way; another frame behind it would be read as its rest.
pub(crate) async fn a_dropped_write_poisons_its_half<E: Env>(env: E, ground: Ground) {
    let (mut client, _server) = pair(&env, &ground).await;
    let piece = bytes(&env, 1, 0, 1 << 18).await;
    let parts: [Bytes<E::Memory>; 2] = [piece.clone(), piece];
    loop {
        let soon = after(&env, Duration::from_millis(100));
        match until(&env, soon, client.writer.write_all(&parts)).await {
            Ok(written) => written.unwrap(),
            Err(Elapsed) => break,
        }
    }
    for count in [1, 2] {
        let error = client.writer.write_all(&parts[..count]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

/// A peer that goes away without reading resets the connection: the answer is an end or an error.
pub(crate) async fn unread_bytes_do_not_hang_a_close<E: Env>(env: E, ground: Ground) {
    let (mut client, server) = pair(&env, &ground).await;
    client.writer.write_all(&[bytes(&env, 1, 0, 10_000).await]).await.unwrap();
    a_moment(&env).await;
    drop(server);
    let (_, answer) = client.reader.read(env.pool().alloc(1).unwrap(), 0..1).await;
    assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
}
