//! Peers that break the rules: each gets a status or a closed connection with a logged reason,
//! and an honest client beside it notices nothing.

use std::time::Duration;

use engine_net::{Call, CallError, Client, NetLimits};
use engine_runtime::sim::{NodeSpec, SimEnv};
use engine_runtime::{Env, Listener, Pool, Reader, Stream, Writer};
use engine_types::{ClusterId, RequestId, Status};
use engine_wire::bodies::{Body, Credit, EchoRequest, EchoResponse, Encoder, Ping, Pong};
use engine_wire::handshake::{self, ClusterSecret, Local, Versions, Windows};
use engine_wire::{
    Decoder, Ending, FRAME_HEADER_BYTES, FrameHeader, Item, Kind, Limits, SEGMENT_HEADER_BYTES,
    SegmentHeader,
};

use crate::ground::{CLIENT, Ground, PORT, SERVER, check, config, echo, request, soon, worlds};

/// A peer that says whatever it likes.
struct Stranger {
    env: SimEnv,
    stream: Stream<SimEnv>,
}

impl Stranger {
    async fn connect(env: &SimEnv, address: std::net::SocketAddr) -> Self {
        let give_up_at = env.now() + Duration::from_secs(10);
        let stream = env.connect(address, give_up_at).await.expect("the server listens");
        Self { env: env.clone(), stream }
    }

    async fn send(&mut self, bytes: &[u8]) {
        let pool: &Pool<_> = self.env.pool();
        let mut buf = pool.alloc(bytes.len()).unwrap();
        buf.extend_from_slice(bytes);
        // The server may have closed already: that is what most cases are about.
        let _closed = self.stream.writer.write_all(&[buf.freeze()]).await;
    }

    /// Everything that comes until the server closes.
    async fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buf = self.env.pool().alloc(4096).unwrap();
        loop {
            let (back, read) = self.stream.reader.read(buf, 0..4096).await;
            buf = back;
            match read {
                Ok(0) | Err(_) => return all,
                Ok(count) => all.extend_from_slice(&buf.whole_mut()[..count]),
            }
        }
    }

    async fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let buf = self.env.pool().alloc(len).unwrap();
            let (mut buf, read) = self.stream.reader.read(buf, 0..len - all.len()).await;
            let count = read.expect("the server answers");
            assert!(0 < count, "closed after {} of {len} bytes", all.len());
            all.extend_from_slice(&buf.whole_mut()[..count]);
        }
        all
    }

    async fn frame(&mut self, decoder: &mut Decoder) -> (FrameHeader, Vec<u8>) {
        loop {
            let bytes = self.read_exact(decoder.need()).await;
            if let Item::Body { body, .. } = decoder.advance(&bytes).unwrap() {
                let body = body.to_vec();
                return (*decoder.header(), body);
            }
        }
    }

    /// An honest handshake.
    async fn prove(&mut self, local: &Local) {
        let mut out = Vec::new();
        let mut client = handshake::Client::start(local, None, [9; 32], &mut out);
        let mut decoder = Decoder::new(Limits::HANDSHAKE);
        loop {
            self.send(&std::mem::take(&mut out)).await;
            let (header, body) = self.frame(&mut decoder).await;
            if client.receive(&header, &body, &mut out).unwrap().is_some() {
                return;
            }
        }
    }
}

fn honest() -> Local {
    config(CLIENT, NetLimits::default()).local.clone()
}

fn frame<B: Body>(header: FrameHeader, body: &B) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let body = encoder.encode(body);
    let mut bytes = header.with_body(&[], body).encode().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn id(slot: u32) -> RequestId {
    RequestId::new(slot, 1)
}

fn echo_frame(slot: u32) -> Vec<u8> {
    let header = FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id(slot));
    frame(header, &request(u64::from(slot), 0, 0))
}

/// A frame of a request with payload, without its payload.
fn bulk_frame(slot: u32, payload_len: u32) -> Vec<u8> {
    let header = FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id(slot));
    frame(FrameHeader { payload_len, ..header }, &request(1, 0, 0))
}

fn segment(slot: u32, length: u32, wrong_crc: bool) -> Vec<u8> {
    let header = SegmentHeader {
        request: id(slot),
        offset: 0,
        length,
        ending: Ending::Final,
        block_shift: 16,
        phase: 0,
    };
    let data = vec![5; length as usize];
    let mut crcs: Vec<u32> = data.chunks(1 << 16).map(|d| engine_types::crc32c(d).get()).collect();
    crcs[0] ^= u32::from(wrong_crc);
    let mut bytes = vec![0; header.head_bytes()];
    header.encode(&crcs, &mut bytes);
    bytes.extend_from_slice(&data);
    bytes
}

/// A byte of a payload as a segment of its own.
fn crumb(slot: u32, offset: u32) -> Vec<u8> {
    let ending = if offset == 1999 { Ending::Final } else { Ending::More };
    let header =
        SegmentHeader { request: id(slot), offset, length: 1, ending, block_shift: 16, phase: 0 };
    let mut bytes = vec![0; header.head_bytes()];
    header.encode(&[engine_types::crc32c(&[5]).get()], &mut bytes);
    bytes.push(5);
    bytes
}

/// Flips a byte of the header and repairs the header's CRC.
fn with_header_byte(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    let crc = engine_types::crc32c(&bytes[..FRAME_HEADER_BYTES - 4]).get();
    bytes[FRAME_HEADER_BYTES - 4..FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Runs `attack` beside an honest client; the server must close on the attacker for `reason`, and
/// serve the honest one on one connection throughout.
fn attacked<F>(reason: &str, attack: fn(Stranger) -> F)
where
    F: Future<Output = ()> + 'static,
{
    worlds(|seed| {
        let ground = Ground::new(seed);
        let address = ground.sim.address(SERVER, PORT);
        ground.client(move |env, client| async move {
            check(&echo(&env, &client, 0, 5000, 0).await.unwrap(), 0, 5000);
            attack(Stranger::connect(&env, address).await).await;
            check(&echo(&env, &client, 1, 5000, 0).await.unwrap(), 1, 5000);
            assert_eq!(client.metrics().counters.connections, 1);
        });
        ground.sim.run_for(Duration::from_secs(1)).unwrap(); // the server's task comes to its end
        let server = ground.server.borrow().clone().unwrap();
        let metrics = server.metrics();
        assert_eq!(metrics.counters.connections_failed, 1);
        let found = metrics.last_failure.unwrap();
        assert!(found.contains(reason), "ended by {found:?}, expected {reason:?}");
    });
}

/// Sends `bytes` after an honest handshake and waits for the server to close.
async fn after_handshake(mut stranger: Stranger, bytes: &[u8]) {
    stranger.prove(&honest()).await;
    stranger.send(bytes).await;
    stranger.read_to_end().await;
}

#[test]
fn garbage_instead_of_a_handshake_is_cut_off() {
    attacked("frame begins with", |mut stranger| async move {
        stranger.send(&[0x47; 200]).await;
        assert_eq!(stranger.read_to_end().await, [], "nothing is said to who speaks no EmberFS");
    });
}

#[test]
fn another_cluster_is_refused_with_the_reason() {
    attacked("cluster: found", |mut stranger| async move {
        let local = Local { cluster: ClusterId::new(8), ..honest() };
        let mut out = Vec::new();
        let mut client = handshake::Client::start(&local, None, [9; 32], &mut out);
        stranger.send(&std::mem::take(&mut out)).await;
        let (header, body) = stranger.frame(&mut Decoder::new(Limits::HANDSHAKE)).await;
        let error = client.receive(&header, &body, &mut out).unwrap_err();
        assert!(error.to_string().contains("cluster"), "{error}");
        stranger.read_to_end().await;
    });
}

#[test]
fn other_versions_are_refused_with_both_ranges() {
    attacked("protocol versions: found", |mut stranger| async move {
        let local = Local { versions: Versions { min: 40, max: 41 }, ..honest() };
        let mut out = Vec::new();
        let mut client = handshake::Client::start(&local, None, [9; 32], &mut out);
        stranger.send(&std::mem::take(&mut out)).await;
        let (header, body) = stranger.frame(&mut Decoder::new(Limits::HANDSHAKE)).await;
        let error = client.receive(&header, &body, &mut out).unwrap_err();
        assert!(error.to_string().contains("40 to 41"), "{error}");
        stranger.read_to_end().await;
    });
}

#[test]
fn a_wrong_secret_proves_nothing() {
    attacked("does not know the secret", |mut stranger| async move {
        let local = Local { secret: ClusterSecret::new([8; 32]).unwrap(), ..honest() };
        let mut out = Vec::new();
        let mut client = handshake::Client::start(&local, None, [9; 32], &mut out);
        let mut decoder = Decoder::new(Limits::HANDSHAKE);
        for _ in 0..2 {
            stranger.send(&std::mem::take(&mut out)).await;
            let (header, body) = stranger.frame(&mut decoder).await;
            if let Err(error) = client.receive(&header, &body, &mut out) {
                assert!(error.to_string().contains("not authenticated"), "{error}");
            }
        }
        stranger.read_to_end().await;
    });
}

#[test]
fn a_request_before_the_handshake_is_cut_off() {
    attacked("message: found", |mut stranger| async move {
        stranger.send(&echo_frame(0)).await;
        stranger.read_to_end().await;
    });
}

#[test]
fn a_handshake_of_a_byte_a_minute_is_cut_off_in_time() {
    attacked("handshake not complete", |mut stranger| async move {
        let started = stranger.env.now();
        stranger.send(b"E").await;
        stranger.read_to_end().await;
        let took = stranger.env.now().saturating_since(started);
        assert!(took < Duration::from_secs(10), "cut off after {took:?}");
    });
}

#[test]
fn a_frame_of_a_byte_a_second_is_cut_off_in_time() {
    attacked("a frame not complete", |mut stranger| async move {
        stranger.prove(&honest()).await;
        let started = stranger.env.now();
        for byte in echo_frame(0) {
            stranger.send(&[byte]).await;
            stranger.env.sleep_until(stranger.env.now() + Duration::from_secs(1)).await;
            if Duration::from_secs(60) < stranger.env.now().saturating_since(started) {
                break;
            }
        }
        stranger.read_to_end().await;
        let took = stranger.env.now().saturating_since(started);
        assert!(took < Duration::from_secs(120), "cut off after {took:?}");
    });
}

#[test]
fn silence_is_cut_off() {
    attacked("silent for", |mut stranger| async move {
        stranger.prove(&honest()).await;
        stranger.read_to_end().await;
    });
}

/// Keeps the connection alive without ever doing what it should.
async fn ping_for(stranger: &mut Stranger, how_long: Duration) {
    let until = stranger.env.now() + how_long;
    while stranger.env.now() < until {
        let ping = frame(FrameHeader::one_way(Ping::KIND, Ping::VERSION), &Ping { sequence: 0 });
        stranger.send(&ping).await;
        stranger.env.sleep_until(stranger.env.now() + Duration::from_secs(2)).await;
    }
}

#[test]
fn a_payload_that_is_announced_and_never_comes_is_cut_off() {
    attacked("a frame not complete", |mut stranger| async move {
        stranger.prove(&honest()).await;
        stranger.send(&bulk_frame(0, 5000)).await;
        ping_for(&mut stranger, Duration::from_secs(70)).await;
        stranger.read_to_end().await;
    });
}

#[test]
fn a_peer_that_never_reads_is_cut_off() {
    attacked("a frame not complete", |mut stranger| async move {
        stranger.prove(&honest()).await;
        for slot in 0..8 {
            let asked = FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id(slot));
            let asked = FrameHeader { reply_bytes_max: 1 << 20, ..asked };
            stranger.send(&frame(asked, &request(1, 1 << 20, 0))).await;
        }
        ping_for(&mut stranger, Duration::from_secs(70)).await;
        stranger.read_to_end().await;
    });
}

#[test]
fn a_truncated_frame_is_noticed() {
    // A reset or an end within the frame, as the network has it.
    attacked("", |mut stranger| async move {
        stranger.prove(&honest()).await;
        let frame = echo_frame(0);
        stranger.send(&frame[..frame.len() - 1]).await;
        engine_runtime::Closer::close(&stranger.stream.closer);
        stranger.env.sleep_until(stranger.env.now() + Duration::from_secs(20)).await;
    });
}

/// Each row: the reason that the server gives, and what it is sent after an honest handshake.
macro_rules! closes {
    ($($name:ident, $reason:literal: $bytes:expr;)*) => {$(
        #[test]
        fn $name() {
            attacked($reason, |stranger| async move {
                after_handshake(stranger, &$bytes).await;
            });
        }
    )*};
}

closes! {
    a_wrong_magic_closes, "frame begins with": with_header_byte(echo_frame(0), 0, b'X');
    a_wrong_header_crc_closes, "frame header checksum": {
        let mut bytes = echo_frame(0);
        bytes[FRAME_HEADER_BYTES - 1] ^= 1;
        bytes
    };
    a_wrong_body_crc_closes, "body checksum": {
        let mut bytes = echo_frame(0);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    another_protocol_version_closes, "protocol version: found 9":
        with_header_byte(echo_frame(0), 4, 9);
    e50_an_id_in_flight_twice_closes, "is in flight already": {
        let mut slow = frame(
            FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id(3)),
            &request(3, 0, 5_000_000),
        );
        slow.extend(echo_frame(3));
        slow
    };
    a_slot_outside_the_window_closes, "of a window of": echo_frame(100_000);
    e52_bulk_beyond_its_credit_closes, "bytes of credit": {
        let mut bytes = bulk_frame(0, 4 << 20);
        bytes.extend(bulk_frame(1, 4 << 20));
        bytes.extend(bulk_frame(2, 4 << 20));
        bytes
    };
    a_payload_beyond_the_limit_closes, "payload: found": with_header_byte(echo_frame(0), 43, 0x7f);
    a_body_beyond_the_limit_closes, "body: found": with_header_byte(echo_frame(0), 39, 0x7f);
    segment_data_that_does_not_match_its_crc_closes, "payload checksum": {
        let mut bytes = bulk_frame(0, 5000);
        bytes.extend(segment(0, 5000, true));
        bytes
    };
    a_segment_longer_than_its_payload_closes, "payload: found at least": {
        let mut bytes = bulk_frame(0, 5000);
        bytes.extend(segment(0, 5001, false));
        bytes
    };
    a_segment_of_no_request_closes, "not in flight": segment(0, 5000, false);
    more_without_credit_than_the_window_closes, "bytes in flight without credit": {
        let bytes: Vec<_> = (0..65).map(|slot| bulk_frame(slot, 64 << 10)).collect();
        bytes.concat()
    };
    a_payload_in_crumbs_closes, "segments, at most": {
        let mut bytes = bulk_frame(0, 2000);
        for offset in 0..2000 {
            bytes.extend(crumb(0, offset));
        }
        bytes
    };
    a_message_that_only_servers_send_closes, "unexpected message":
        frame(FrameHeader::one_way(Pong::KIND, Pong::VERSION), &Pong { sequence: 0 });
    an_answer_to_a_server_closes, "unexpected answer": {
        let asked = FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id(0));
        frame(FrameHeader::response(&asked, 1, Status::Ok), &request(0, 0, 0))
    };
    credit_that_was_never_granted_cannot_be_returned, "bytes of credit":
        frame(FrameHeader::one_way(Credit::KIND, Credit::VERSION), &Credit { bytes: 1 << 40 });
}

#[test]
fn an_unknown_kind_is_answered_and_the_connection_goes_on() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        let address = ground.sim.address(SERVER, PORT);
        ground.client(move |env, _| async move {
            let mut stranger = Stranger::connect(&env, address).await;
            stranger.prove(&honest()).await;
            let header = FrameHeader::request(Kind::new(0xf123), 1, id(0));
            stranger.send(&frame(header, &request(0, 0, 0))).await;
            stranger.send(&echo_frame(1)).await;
            let mut decoder = Decoder::new(Limits::BUILD);
            let mut answers = Vec::new();
            while answers.len() < 2 {
                let (header, _) = stranger.frame(&mut decoder).await;
                if header.request != RequestId::NONE {
                    answers.push((header.request.slot(), header.status));
                }
            }
            answers.sort_by_key(|answer| answer.0);
            assert_eq!(answers, [(0, Status::UnsupportedKind), (1, Status::Ok)]);
        });
    });
}

/// A server that proves itself honestly and answers a request with whatever it likes: the client
/// ends the connection, and the call's result is unknown.
fn lying_server(reason: &'static str, answer: fn(RequestId) -> Vec<u8>) {
    worlds(|seed| {
        let ground = Ground::new(seed);
        let liar = ground.sim.add_node(NodeSpec::new("liar"));
        let address = ground.sim.address(liar, PORT);
        ground.sim.start(liar, move |env| async move {
            let mut listener = env.listen(address).unwrap();
            let stream = listener.accept().await.unwrap();
            let mut stranger = Stranger { env: env.clone(), stream };
            let local = config(liar, NetLimits::default()).local.clone();
            let mut server = handshake::Server::new(&local, Windows::default(), [5; 32]);
            let mut decoder = Decoder::new(Limits::HANDSHAKE);
            loop {
                let (header, body) = stranger.frame(&mut decoder).await;
                let mut out = Vec::new();
                let session = server.receive(&header, &body, &mut out).unwrap();
                stranger.send(&out).await;
                if session.is_some() {
                    break;
                }
            }
            decoder.set_limits(Limits::BUILD);
            let (header, _) = stranger.frame(&mut decoder).await;
            stranger.send(&answer(header.request)).await;
            stranger.read_to_end().await;
        });
        let local = config(CLIENT, NetLimits::default());
        ground.client(move |env, _| async move {
            let client = Client::new(&env, local, address);
            let body = request(1, 0, 0);
            let call = Call::new(&body, soon(&env)).with_reply_room(4096);
            let error = client.call(call).await.unwrap_err();
            assert!(matches!(error, CallError::Lost { .. }), "{error}");
            let found = client.metrics().last_failure.unwrap();
            assert!(found.contains(reason), "ended by {found:?}, expected {reason:?}");
        });
    });
}

fn answer(id: RequestId, payload_len: u32) -> Vec<u8> {
    let asked = FrameHeader::request(EchoRequest::KIND, EchoRequest::VERSION, id);
    let header = FrameHeader::response(&asked, 1, Status::Ok);
    frame(FrameHeader { payload_len, ..header }, &EchoResponse { sequence: 1 })
}

#[test]
fn e50_a_client_takes_no_answer_to_another_request() {
    let reason = "not in flight";
    lying_server(reason, |id| answer(RequestId::new(id.slot(), id.generation() + 1), 0));
    lying_server(reason, |id| answer(RequestId::new(id.slot() + 1, id.generation()), 0));
}

#[test]
fn e53_a_client_takes_no_more_than_its_room() {
    lying_server("room for 4096", |id| answer(id, 4097));
}

#[test]
fn a_client_takes_no_segment_out_of_place() {
    lying_server("segment at 7 bytes", |id| {
        let mut bytes = answer(id, 4096);
        let mut head = [0; SEGMENT_HEADER_BYTES];
        SegmentHeader::terminator(id, 7, Ending::Final).encode(&[], &mut head);
        bytes.extend_from_slice(&head);
        bytes
    });
}

#[test]
fn a_client_serves_no_requests() {
    lying_server("unexpected request", |_| echo_frame(0));
}

#[test]
fn a_client_takes_no_credit_beyond_reason() {
    lying_server("bytes of credit granted", |_| {
        let header = FrameHeader::one_way(Credit::KIND, Credit::VERSION);
        [frame(header, &Credit { bytes: 1 }), frame(header, &Credit { bytes: u64::MAX })].concat()
    });
}
