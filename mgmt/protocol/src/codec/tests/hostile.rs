//! Bytes that nobody wrote.

use core::fmt::Debug;
use std::string::ToString;
use std::vec::Vec;

use engine_types::{
    ChainTable, ChainTableId, Member, NodeInfo, PublicState, SessionId, TargetId, TargetInfo,
};
use mgmt_cluster::fields::Writer;

use super::samples::{Sample, routing};
use super::*;
use crate::fuzz;

/// Bytes of a frame's head.
const HEAD: usize = 5;

fn set_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len() - HEAD).unwrap();
    bytes[1..HEAD].copy_from_slice(&length.to_le_bytes());
}

/// Small ones of each kind: every cut is an error, every flipped bit one or another message, a
/// tail is skipped, and counts of every size are found wanting.
fn withstands<M: Message + Sample + PartialEq + Debug>(rng: &mut Rng, bytes_max: usize) {
    let mut messages = M::every(rng);
    for _ in 0..20 {
        messages.extend(M::every(rng));
    }
    messages.sort_by_key(|message| message.encode().len());
    messages.retain(|message| message.encode().len() <= bytes_max);
    messages.truncate(12);
    assert!(!messages.is_empty(), "{} has small ones", M::NAME);
    for message in messages {
        let bytes = message.encode();
        for cut in 0..bytes.len() {
            let mut short = bytes[..cut].to_vec();
            assert!(M::decode(&short).is_err(), "{}: cut at {cut}", M::NAME);
            if HEAD <= cut {
                set_length(&mut short);
                assert!(M::decode(&short).is_err(), "{}: body cut at {cut}", M::NAME);
            }
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fuzz::message::<M>(&flipped);
        }
        for at in HEAD..bytes.len().saturating_sub(3) {
            for count in [u32::MAX, 1 << 18, 1 << 10] {
                let mut hostile = bytes.clone();
                hostile[at..at + 4].copy_from_slice(&count.to_le_bytes());
                fuzz::message::<M>(&hostile);
            }
        }
        let mut longer = bytes.clone();
        longer[0] += 1;
        longer.extend_from_slice(b"tail");
        assert!(M::decode(&longer).is_err(), "{}: bytes behind the body", M::NAME);
        set_length(&mut longer);
        assert_eq!(M::decode(&longer), Ok(message), "E330: a tail is skipped");
    }
}

#[test]
fn e330_no_bytes_make_a_decoder_panic() {
    let rng = &mut Rng::new(10);
    each_message!(withstands(rng, 600));
}

/// Most numbers of a message are small: tags, counts, lengths. So noise of small numbers gets far.
#[test]
fn e330_noise_is_refused_or_understood() {
    let rng = &mut Rng::new(11);
    let (mut data, mut understood) = (Vec::new(), 0);
    for round in 0..60_000_u32 {
        data.resize(1 + usize::try_from(rng.below(150)).unwrap(), 0);
        rng.fill_bytes(&mut data);
        for byte in &mut data[1..] {
            *byte = if rng.chance(700) { *byte & 3 } else { *byte };
        }
        data[0] = round.to_le_bytes()[0];
        if let Some(tag) = data.get_mut(1) {
            *tag &= 15;
        }
        understood += u32::from(fuzz::messages(&data));
    }
    assert!(10_000 < understood, "{understood} of 60,000");
}

/// A message of the fields that `write` puts down, decoded: the error.
fn error_of<M: Message + Debug>(write: impl FnOnce(&mut Writer)) -> std::string::String {
    let mut out = Writer::new(1);
    write(&mut out);
    M::decode(&out.finish()).unwrap_err().to_string()
}

/// Memory is taken only for elements that have bytes, so these are told before any is.
#[test]
fn e330_counts_without_bytes_are_refused() {
    let targets = |count| {
        error_of::<Beat>(|out| {
            out.u32(1);
            (0..4).for_each(|_| out.u64(2));
            out.u32(3);
            out.u32(0);
            out.u32(count);
            out.u64(4);
        })
    };
    let expected = "heartbeat: targets: 1310720 elements of at least 47 bytes, 8 are left";
    assert_eq!(targets(1_310_720), expected);
    let expected = "heartbeat: targets: found 4294967295 elements, at most 1310720";
    assert_eq!(targets(u32::MAX), expected);

    let chains = |count| {
        error_of::<Operation>(|out| {
            out.u8(1);
            out.u8(1);
            out.u32(count);
        })
    };
    assert_eq!(chains(1), "operation: chains: 1 elements of at least 4 bytes, 0 are left");
    assert_eq!(chains(u32::MAX), "operation: chains: found 4294967295 elements, at most 262144");

    let revoked = error_of::<RoutingInfo>(|out| {
        out.u128(1);
        out.u64(1);
        out.u32(1);
        out.u64(1);
        out.u32(1 << 16);
    });
    let expected = "routing info: revoked sessions: 65536 elements of at least 8 bytes, 0 are left";
    assert_eq!(revoked, expected);

    let piece = error_of::<RoutingTold>(|out| {
        out.u8(3);
        (0..3).for_each(|_| out.u64(1));
        out.u32(u32::MAX);
    });
    assert!(piece.contains("found 4294967295 bytes, at most 4194304"), "{piece}");
    let row = error_of::<Operation>(|out| {
        out.u8(1);
        out.u8(3);
        out.u32(1);
        out.u16(u16::MAX);
    });
    assert_eq!(row, "operation: new target needs 65535 bytes, the body has 0 left");
}

/// Memory of a list is taken by its count, so by the bytes that are there: not many times as much.
#[test]
fn e330_elements_are_not_much_larger_than_their_bytes() {
    fn check<T: Field>() {
        let (memory, bytes) = (size_of::<T>(), T::BYTES_MIN);
        let name = core::any::type_name::<T>();
        assert!(memory <= 12 * bytes, "{name}: {memory} bytes of memory for {bytes}");
    }
    macro_rules! elements {
        ($($element:ty)*) => { $(check::<$element>();)* };
    }
    elements!(ShardReport TargetReport Lease Move NewTarget ChainMember LastServer Member);
    elements!(NodeRow ChainRow SessionRow ConfigEntry ChainId SessionId TargetId);
    elements!((NodeId, NodeInfo)(TargetId, TargetInfo)(ChainId, ChainInfo));
    elements!((NodeId, Option<NodeInfo>) (TargetId, Option<TargetInfo>));
    elements!((ChainId, Option<ChainInfo>) (ChainTableId, Option<ChainTable>));
}

#[test]
fn e330_an_image_is_what_may_be_installed() {
    let refused = |change: fn(&mut RoutingInfo)| {
        let mut info = routing(&mut Rng::new(12), 3);
        change(&mut info);
        RoutingInfo::decode(&info.encode()).unwrap_err().to_string()
    };
    let error = refused(|info| {
        info.nodes.remove(&NodeId::new(1));
        info.nodes.remove(&NodeId::new(2));
        info.nodes.remove(&NodeId::new(3));
    });
    assert!(error.starts_with("routing info: contents: target-"), "{error}");
    assert!(error.ends_with(", which is not registered"), "{error}");
    let error = refused(|info| {
        info.chains.get_mut(&ChainId::new(2).unwrap()).unwrap().members[0].state =
            PublicState::Offline;
    });
    assert_eq!(
        error,
        "routing info: contents: chain-2: target-513 is Syncing behind a member that is Offline"
    );
}

#[test]
fn ids_of_maps_and_sets_ascend() {
    for ids in [[2, 1], [1, 1]] {
        let sessions = ids.map(SessionId::new);
        let error = error_of::<RoutingInfo>(|out| {
            out.u128(1);
            out.u64(1);
            out.u32(1);
            out.u64(1);
            super::super::write_list(&sessions, out);
        });
        assert_eq!(error, "routing info: revoked sessions: ids do not ascend");
        let removed = ids.map(|id| (TargetId::new(id), None::<TargetInfo>));
        let error = error_of::<RoutingTold>(|out| {
            out.u8(2);
            out.u128(1);
            out.u64(1);
            out.u64(2);
            out.u32(1);
            out.u32(0);
            super::super::write_list(&removed, out);
        });
        assert_eq!(error, "answer with routing info: targets: ids do not ascend");
    }
}

#[test]
fn numbers_without_meaning_are_refused() {
    let error = error_of::<Refusal>(|out| {
        out.u16(0);
        out.text("none");
        out.u8(0);
    });
    assert_eq!(error, "refusal: code: found 0, expected 1 or more");
    let error = error_of::<Question>(|out| {
        out.u8(3);
        out.u32(0);
    });
    assert_eq!(error, "question: chain: found 0, expected 1 or more");
    let error = error_of::<Question>(|out| {
        out.u8(5);
        out.u8(2);
    });
    assert_eq!(error, "question: after: found 2, expected 0 or 1");
    let error = error_of::<Question>(|out| {
        out.u8(6);
        out.u8(7);
    });
    assert_eq!(error, "question: role: found 7, expected a known role");
}
