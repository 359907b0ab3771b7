use std::format;

use super::*;
use crate::bodies::{Challenge, Hello, Proof, Refusal};
use crate::fuzz::{deliver, local};
use std::string::ToString;

use crate::FRAME_HEADER_BYTES;

const CLIENT: Nonce = [1; 32];
const SERVER: Nonce = [2; 32];

fn client_side() -> Local {
    local(1, NodeRole::Client, 1)
}

fn server_side() -> Local {
    local(1, NodeRole::Storage, 2)
}

fn windows() -> Windows {
    Windows { inflight_requests: 64, bulk_credit_bytes: 1 << 20, ..Windows::default() }
}

/// The four messages and both outcomes; an error of one side ends it, and what it said on the way
/// still reaches the other.
type Outcome = Result<Option<Session>, HandshakeError>;

fn play(client: &Local, expected: Option<u32>, server: &Local) -> (Outcome, Outcome, [Vec<u8>; 4]) {
    let mut messages: [Vec<u8>; 4] = Default::default();
    let mut c = Client::start(client, expected.map(NodeId::new), CLIENT, &mut messages[0]);
    let mut s = Server::new(server, windows(), SERVER);
    let [hello, challenge, proof, welcome] = &mut messages;
    let mut at_server = deliver(hello, |header, body| s.receive(header, body, challenge));
    let mut at_client = deliver(challenge, |header, body| c.receive(header, body, proof));
    if at_server.is_ok() && at_client.is_ok() {
        at_server = deliver(proof, |header, body| s.receive(header, body, welcome));
        let mut nothing = Vec::new();
        at_client = deliver(welcome, |header, body| c.receive(header, body, &mut nothing));
        assert!(nothing.is_empty(), "nothing follows the welcome");
    }
    (at_client, at_server, messages)
}

/// Both sides as they were released: versions, layout, transcript and proofs.
#[test]
fn golden_transcript() {
    let (at_client, at_server, messages) = play(&client_side(), Some(2), &server_side());
    let session = |peer: Local| Session { protocol: 1, peer: peer.identity, windows: windows() };
    assert_eq!(at_client, Ok(Some(session(server_side()))));
    assert_eq!(at_server, Ok(Some(session(client_side()))));
    for (message, golden) in messages.iter().zip(GOLDEN) {
        assert_eq!(crate::tests_hex(message), golden);
        assert!(message.len() <= 160);
        let secret = [0x5a; 4];
        assert!(!message.windows(4).any(|bytes| bytes == secret), "E9: no secret on the wire");
    }
}

const GOLDEN: [&str; 4] = [
    "\
        454d4252010001000103000000000000ffffffffffffffff0000000000000000\
        0000000060000000000000000000000000000000000000008e19a3f1f677f817\
        0100000000000000000000000000000007000000000000000100000000000000\
        0100000000000000010000000500000001010101010101010101010101010101\
        0101010101010101010101010101010102000000010001000000000000000000",
    "\
        454d4252010002000103000000000000ffffffffffffffff0000000000000000\
        000000006000000000000000000000000000000000000000662cd59489ff71f8\
        0100000000000000000000000000000007000000000000000200000000000000\
        0100000000000000020000000100000002020202020202020202020202020202\
        0202020202020202020202020202020201000000000000000000000000000000",
    "\
        454d4252010003000103000000000000ffffffffffffffff0000000000000000\
        000000002000000000000000000000000000000000000000a9ad9c3262d28722\
        41fd94e491c4f7cd0fa6acbd97d8e8a6a1d3b04eeb46280cc848d9192278a8fe",
    "\
        454d4252010004000103000000000000ffffffffffffffff0000000000000000\
        000000003800000000000000000000000000000000000000210792cf6995ab52\
        f24f02e56b1d4bad970a5d05710f9709b03cb68e16e6093d1ebe5dee3879649d\
        000010000000000040000000000040000000020000004000",
];

#[test]
fn both_sides_learn_what_is_wrong() {
    use HandshakeError as E;
    let other_cluster = local(5, NodeRole::Client, 1);
    let newer = Local { versions: Versions { min: 3, max: 4 }, ..client_side() };
    let wrong = |found, expected| E::WrongCluster {
        found: ClusterId::new(found),
        expected: ClusterId::new(expected),
    };
    let versions = |found: Versions, expected| E::Versions { found, expected };
    let node = E::WrongNode { found: NodeId::new(2), expected: NodeId::new(9) };
    let refused = |status| E::Refused { status };
    let twin = server_side();
    let reflected = E::Reflected { peer: twin.identity };
    let rows = [
        (&other_cluster, None, wrong(5, 1), wrong(1, 5)),
        (
            &newer,
            None,
            versions(newer.versions, Versions::BUILD),
            versions(Versions::BUILD, newer.versions),
        ),
        (&client_side(), Some(9), node.clone(), node),
        (&twin, None, reflected, refused(Status::NotAuthenticated)),
    ];
    for (client, expected, at_server, at_client) in rows {
        let (found_client, found_server, _) = play(client, expected, &server_side());
        assert_eq!((found_server, found_client), (Err(at_server), Err(at_client)));
    }
}

#[test]
fn another_secret_proves_nothing() {
    let stranger = Local { secret: ClusterSecret::new([1; 32]).unwrap(), ..client_side() };
    let (at_client, at_server, _) = play(&stranger, None, &server_side());
    assert_eq!(at_server, Err(HandshakeError::BadProof { peer: stranger.identity }));
    let status = Status::NotAuthenticated;
    assert_eq!(at_client, Err(HandshakeError::Refused { status }));
}

/// A server without the secret gets the client's proof, and cannot turn it into its own.
#[test]
fn a_proof_sent_back_is_no_proof() {
    let mut wire = Vec::new();
    let mut client = Client::start(&client_side(), None, CLIENT, &mut wire);
    let challenge = Challenge {
        cluster: 1,
        identity: server_side().identity.to_body(),
        nonce: SERVER,
        protocol: 1,
        reserved: [0; 14],
    };
    let (mut message, mut proof) = (Vec::new(), Vec::new());
    append(&challenge, &mut message);
    deliver(&message, |header, body| client.receive(header, body, &mut proof)).unwrap();
    let mac = *proof[FRAME_HEADER_BYTES..].first_chunk().unwrap();
    let mut welcome = Vec::new();
    append(&windows().to_body(mac), &mut welcome);
    let found = deliver(&welcome, |header, body| client.receive(header, body, &mut Vec::new()));
    assert_eq!(found, Err(HandshakeError::BadProof { peer: server_side().identity }));
    // A failed side stays failed.
    let found = deliver(&welcome, |header, body| client.receive(header, body, &mut Vec::new()));
    assert_eq!(found, Err(HandshakeError::AfterEnd { found: Kind::WELCOME }));
}

/// Gives `body` to a client that waits for a challenge, or to a server that waits for a hello.
fn to_client(body: &impl Body) -> Outcome {
    let mut message = Vec::new();
    append(body, &mut message);
    let mut client = Client::start(&client_side(), None, CLIENT, &mut Vec::new());
    deliver(&message, |header, body| client.receive(header, body, &mut Vec::new()))
}

fn to_server(body: &impl Body) -> Outcome {
    let mut message = Vec::new();
    append(body, &mut message);
    let mut server = Server::new(&server_side(), windows(), SERVER);
    let mut answer = Vec::new();
    let found = deliver(&message, |header, body| server.receive(header, body, &mut answer));
    let refused = answer.get(6..8) == Some(&Kind::REFUSAL.code().to_le_bytes()[..]);
    assert_eq!(refused, found.is_err(), "every error is answered by a refusal");
    found
}

#[test]
fn hostile_messages_are_refused() {
    use HandshakeError as E;
    let identity = server_side().identity.to_body();
    let challenge = |change: fn(&mut Challenge)| {
        let mut body =
            Challenge { cluster: 1, identity, nonce: SERVER, protocol: 1, reserved: [0; 14] };
        change(&mut body);
        to_client(&body)
    };
    let hello = |change: fn(&mut Hello)| {
        let mut body = Hello {
            cluster: 1,
            identity: client_side().identity.to_body(),
            nonce: CLIENT,
            peer_node: Hello::ANY_NODE,
            protocol_min: 1,
            protocol_max: 1,
            reserved: [0; 8],
        };
        change(&mut body);
        to_server(&body)
    };
    let chosen = |version| E::Versions {
        found: Versions { min: version, max: version },
        expected: Versions::BUILD,
    };
    let not_zero = |field| E::Wire(WireError::NotZero { field, found: 1 });
    let reflected = |side: Local| E::Reflected { peer: side.identity };
    let unexpected = |found, expected| E::Unexpected { found, expected };
    assert_eq!(challenge(|_| {}), Ok(None));
    assert_eq!(hello(|_| {}), Ok(None));
    let rows = [
        (challenge(|b| b.protocol = 2), chosen(2)),
        (challenge(|b| b.nonce = CLIENT), reflected(server_side())),
        (challenge(|b| b.identity.role = 0), E::UnknownRole { found: 0 }),
        (challenge(|b| b.identity.reserved[2] = 9), not_zero("reserved bytes of an identity")),
        (challenge(|b| b.reserved[13] = 9), not_zero("reserved bytes of a challenge")),
        (hello(|b| b.nonce = SERVER), reflected(client_side())),
        (hello(|b| b.identity.role = 7), E::UnknownRole { found: 7 }),
        (hello(|b| b.reserved[0] = 9), not_zero("reserved bytes of a hello")),
        (to_server(&Proof { mac: [0; 32] }), unexpected(Kind::PROOF, Kind::HELLO)),
        (to_client(&Proof { mac: [0; 32] }), unexpected(Kind::PROOF, Kind::CHALLENGE)),
    ];
    for (index, (found, expected)) in rows.into_iter().enumerate() {
        assert_eq!(found, Err(expected), "row {index}");
    }
    let mut server = Server::new(&server_side(), windows(), SERVER);
    let request = FrameHeader::request(Kind::HELLO, 1, engine_types::RequestId::new(0, 0));
    let found = server.receive(&request, &[], &mut Vec::new());
    assert_eq!(found, Err(unexpected(Kind::HELLO, Kind::HELLO)), "handshakes are one-way");
}

#[test]
fn windows_of_the_server_are_within_limits() {
    type Change = fn(&mut Windows);
    let rows: [(Change, &str); 6] = [
        (|w| w.inflight_requests = 0, "requests in flight"),
        (|w| w.inflight_requests = limits::INFLIGHT_REQUESTS_MAX + 1, "requests in flight"),
        (|w| w.small_bytes = 0, "small bytes in flight"),
        (|w| w.bulk_credit_bytes = u64::MAX, "bulk credit"),
        (|w| w.body_bytes_max = u32::MAX, "body bytes"),
        (|w| w.payload_bytes_max = 0, "payload bytes"),
    ];
    for (change, expected) in rows {
        let mut windows = windows();
        change(&mut windows);
        match windows.check() {
            Err(HandshakeError::Window { window, .. }) => assert_eq!(window, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_refusal_of_a_newer_server_is_passed_on() {
    let refusal = Refusal {
        cluster: 1,
        status: 999,
        protocol_min: 1,
        protocol_max: 1,
        reserved: [0; 2],
        node: 2,
        reserved_end: 0,
    };
    let status = Status::Unrecognised(999);
    assert_eq!(to_client(&refusal), Err(HandshakeError::Refused { status }));
}

#[test]
fn secrets_are_parsed_and_never_printed() {
    let text = "0f".repeat(32);
    let secret: ClusterSecret = text.parse().unwrap();
    assert_eq!(secret, ClusterSecret::new([0x0f; 32]).unwrap());
    assert_eq!(format!("{secret:?}"), "ClusterSecret(..)");
    assert!(!format!("{:?}", client_side()).contains("5a5a"));
    assert!(!format!("{:?}", client_side()).contains("90, 90"));
    let rows = [
        (text[1..].to_string(), SecretError::Length { found: 63 }),
        (format!("{text}0"), SecretError::Length { found: 65 }),
        (format!("0x{}", &text[2..]), SecretError::Character { position: 1 }),
        ("0".repeat(64), SecretError::Zero),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<ClusterSecret>(), Err(expected));
    }
}
