//! The limit: bare TCP that moves the bytes of a shape and does nothing else (B6).
//!
//! Honest means as fast as these sockets allow: it reads as much as one call gives, answers all of
//! it with one call, sends the messages that an arrival makes room for with one call, and looks at
//! no byte. It keeps the same number of messages in flight as the RPC beside it.
//!
//! Owner: the cores of client and server. A client begins with [`Opening`], which tells the server
//! the lengths. Failure: a broken connection ends the slice with its reason.

use core::cell::Cell;
use core::net::SocketAddr;
use core::ops::Range;
use std::io;
use std::rc::Rc;

use engine_runtime::Writer as _;
use engine_runtime::{Buf, Bytes, Closer as _, Env, Listener as _, Notify, Reader as _, Stream};
use engine_types::Instant;

use super::shape::Shape;
use crate::meter::{ANSWER_TIME_MAX, Meter};

#[cfg(test)]
mod tests;

/// Room for one read, or one message where that is longer, and length of one part of a write: as
/// much as a socket gives at once, and it stays in the second-level cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest message of either direction; a length that no shape has ends the connection.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What a client says first: bytes of each request and of each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    request: usize,
    answer: usize,
}

impl Opening {
    const BYTES: usize = 8;

    fn encode(self) -> [u8; Self::BYTES] {
        let field = |bytes: usize| u32::try_from(bytes).expect("below MESSAGE_BYTES_MAX");
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&field(self.request).to_le_bytes());
        bytes[4..].copy_from_slice(&field(self.answer).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (request, answer) = bytes.split_at_checked(4)?;
        let field = |bytes: &[u8]| {
            let length = usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()?;
            (1..=MESSAGE_BYTES_MAX).contains(&length).then_some(length)
        };
        Some(Self { request: field(request)?, answer: field(answer)? })
    }
}

/// Counts whole messages in a stream of bytes.
struct Counter {
    message: usize,
    rest: usize,
}

impl Counter {
    fn new(message: usize) -> Self {
        Self { message, rest: 0 }
    }

    /// Messages that `bytes` more bytes complete.
    fn add(&mut self, bytes: usize) -> usize {
        self.rest += bytes;
        let complete = self.rest / self.message;
        self.rest %= self.message;
        complete
    }
}

/// Bytes to send again and again.
struct Source<E: Env> {
    chunk: Bytes<E::Memory>,
    parts: Vec<Bytes<E::Memory>>,
}

impl<E: Env> Source<E> {
    fn new(env: &E) -> io::Result<Self> {
        let mut bytes = chunk(env)?;
        bytes.set_len(CHUNK_BYTES);
        Ok(Self { chunk: bytes.freeze(), parts: Vec::new() })
    }

    /// Sends `bytes` bytes with one call.
    async fn send(&mut self, writer: &mut E::Writer, bytes: usize) -> io::Result<()> {
        self.parts.clear();
        let mut left = bytes;
        while 0 < left {
            let length = left.min(CHUNK_BYTES);
            self.parts.push(self.chunk.slice(0..length));
            left -= length;
        }
        writer.write_all(&self.parts).await
    }
}

/// Answers every connection of `listener` until that is closed.
pub(crate) async fn serve<E: Env>(env: E, mut listener: E::Listener) {
    while let Ok(stream) = listener.accept().await {
        let own = env.clone();
        drop(env.spawn(async move {
            // The client sees the connection end and says why its row failed.
            let _ = answer(&own, stream).await;
        }));
    }
}

async fn answer<E: Env>(env: &E, mut stream: Stream<E>) -> io::Result<()> {
    let mut buf = chunk(env)?;
    let mut have = 0;
    while have < Opening::BYTES {
        let (back, count) = read::<E>(&mut stream.reader, buf, have..Opening::BYTES).await?;
        buf = back;
        have += count;
    }
    let opening = Opening::decode(&buf.whole_mut()[..Opening::BYTES])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "lengths of no shape"))?;
    let buf = room(env, opening.request)?;
    if opening.request == opening.answer {
        send_back(env, stream, buf).await
    } else {
        exchange(env, stream, buf, opening).await
    }
}

/// The classic echo: what came goes back.
async fn send_back<E: Env>(
    env: &E,
    mut stream: Stream<E>,
    mut buf: Buf<E::Memory>,
) -> io::Result<()> {
    loop {
        let capacity = buf.capacity();
        let (mut filled, count) = read::<E>(&mut stream.reader, buf, 0..capacity).await?;
        filled.set_len(count);
        let bytes = [filled.freeze()];
        stream.writer.write_all(&bytes).await?;
        let [bytes] = bytes;
        buf = match bytes.try_into_buf() {
            Ok(buf) => buf,
            Err(_still_referred_to) => chunk(env)?,
        };
    }
}

/// One answer per complete request.
async fn exchange<E: Env>(
    env: &E,
    mut stream: Stream<E>,
    mut buf: Buf<E::Memory>,
    opening: Opening,
) -> io::Result<()> {
    let mut source = Source::new(env)?;
    let mut requests = Counter::new(opening.request);
    loop {
        let capacity = buf.capacity();
        let (back, count) = read::<E>(&mut stream.reader, buf, 0..capacity).await?;
        buf = back;
        let complete = requests.add(count);
        if 0 < complete {
            source.send(&mut stream.writer, complete * opening.answer).await?;
        }
    }
}

fn chunk<E: Env>(env: &E) -> io::Result<Buf<E::Memory>> {
    room(env, CHUNK_BYTES)
}

/// What messages of this length are read into.
fn room<E: Env>(env: &E, message: usize) -> io::Result<Buf<E::Memory>> {
    env.pool().alloc(message.max(CHUNK_BYTES)).map_err(io::Error::other)
}

/// Reads at least one byte; the end of the stream is an error.
async fn read<E: Env>(
    reader: &mut E::Reader,
    buf: Buf<E::Memory>,
    range: Range<usize>,
) -> io::Result<(Buf<E::Memory>, usize)> {
    let (buf, outcome) = reader.read(buf, range).await;
    match outcome? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok((buf, count)),
    }
}

/// The client's end of one connection, between slices.
pub(crate) struct Link<E: Env> {
    stream: Stream<E>,
    buf: Buf<E::Memory>,
    source: Source<E>,
}

/// Connects and says what will be sent.
///
/// # Errors
/// When the connection fails or the pool is too small for it.
pub(crate) async fn connect<E: Env>(
    env: &E,
    address: SocketAddr,
    shape: Shape,
) -> io::Result<Link<E>> {
    let opening = Opening { request: shape.bare_request(), answer: shape.bare_answer() };
    let mut stream = env.connect(address, env.now() + ANSWER_TIME_MAX).await?;
    let mut first = chunk(env)?;
    first.extend_from_slice(&opening.encode());
    stream.writer.write_all(&[first.freeze()]).await?;
    Ok(Link { stream, buf: room(env, opening.answer)?, source: Source::new(env)? })
}

/// What the two tasks of a connection share.
struct Flow {
    /// Messages that the writer has to send.
    wanted: Cell<usize>,
    /// Messages sent or wanted and not answered.
    in_flight: Cell<usize>,
    /// When the writer last began to send.
    sent_at: Cell<Instant>,
    changed: Notify,
}

/// Keeps the shape's messages in flight on every link for one slice, and gives the links back.
pub(crate) async fn flood<E: Env>(
    links: Vec<Link<E>>,
    shape: Shape,
    meter: Rc<Meter<E>>,
) -> Vec<Link<E>> {
    let env = meter.env();
    let tasks: Vec<_> =
        links.into_iter().map(|link| env.spawn(pump(link, shape, meter.clone()))).collect();
    let mut links = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(link) => links.push(link),
            Err(error) => meter.fail(format_args!("bare echo: {error}")),
        }
    }
    links
}

/// One connection: a task that sends, and this one, which receives.
async fn pump<E: Env>(link: Link<E>, shape: Shape, meter: Rc<Meter<E>>) -> io::Result<Link<E>> {
    let Link { stream, mut buf, source } = link;
    let Stream { mut reader, writer, closer, peer, local } = stream;
    let depth = usize::try_from(shape.depth).expect("32 bits fit");
    let flow = Rc::new(Flow {
        wanted: Cell::new(depth),
        in_flight: Cell::new(depth),
        sent_at: Cell::new(meter.env().now()),
        changed: Notify::default(),
    });
    let sender = meter.env().spawn(send(writer, source, shape, flow.clone(), meter.clone()));
    let mut answers = Counter::new(shape.bare_answer());
    let received = loop {
        let capacity = buf.capacity();
        let count;
        (buf, count) = match read::<E>(&mut reader, buf, 0..capacity).await {
            Ok(both) => both,
            Err(error) => break Err(error),
        };
        let complete = answers.add(count);
        if 0 < complete {
            on_answers(complete, shape, &flow, &meter);
        }
        if flow.in_flight.get() == 0 {
            break Ok(buf);
        }
    };
    if received.is_err() {
        meter.fail("bare echo: the connection ended");
        flow.in_flight.set(0);
        flow.changed.notify();
        closer.close();
    }
    let (writer, source) = sender.await?;
    Ok(Link { stream: Stream { reader, writer, closer, peer, local }, buf: received?, source })
}

fn on_answers<E: Env>(complete: usize, shape: Shape, flow: &Flow, meter: &Meter<E>) {
    let left = flow.in_flight.get().checked_sub(complete);
    let left = left.expect("the server answers a request once");
    meter.completed(complete as u64);
    if shape.is_latency() {
        meter.answered(flow.sent_at.get());
    }
    if meter.stopping() {
        flow.in_flight.set(left);
        if left == 0 {
            flow.changed.notify();
        }
    } else {
        flow.wanted.set(flow.wanted.get() + complete);
        flow.changed.notify();
    }
}

/// Sends whatever is wanted with one call, until nothing is in flight.
async fn send<E: Env>(
    mut writer: E::Writer,
    mut source: Source<E>,
    shape: Shape,
    flow: Rc<Flow>,
    meter: Rc<Meter<E>>,
) -> io::Result<(E::Writer, Source<E>)> {
    loop {
        flow.changed.until(|| 0 < flow.wanted.get() || flow.in_flight.get() == 0).await;
        let messages = flow.wanted.take();
        if messages == 0 {
            return Ok((writer, source));
        }
        if shape.is_latency() {
            flow.sent_at.set(meter.env().now());
        }
        source.send(&mut writer, messages * shape.bare_request()).await?;
    }
}
