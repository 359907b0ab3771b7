mod golden;

use core::fmt::Debug;
use std::collections::BTreeSet;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use engine_types::fields::{Writer, check_decoder};
use engine_types::{InodeId, Rng};
use meta_schema::codec::{Field, Fields};
use meta_schema::limits::{ANSWER_BYTES_MAX, GROUPS_MAX, XATTR_VALUE_BYTES_MAX};
use meta_schema::sample::{Sample, any};
use meta_schema::{Errno, FileType, Gid, Layout};

use crate::op::{self, READDIR_ENTRIES_MAX, STAT_BATCH_MAX};
use crate::status::OperationCount;
use crate::{
    Answer, Attr, Call, Cause, Entry, Operation, ROOM_BYTES, Record, Refusal, Request,
    ServiceStatus, StatusAsk, fuzz,
};

/// Does something with each message.
macro_rules! each_message {
    (@of ($call:ident $arguments:tt) $($message:ident)*) => {
        $($call::<$message> $arguments;)*
    };
    ($($call:tt)*) => {
        each_message!(@of ($($call)*)
            Request Operation Answer Refusal StatusAsk ServiceStatus
        );
    };
}

fn comes_back<M: Record + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for _ in 0..60 {
        for message in M::every(rng) {
            assert_eq!(M::decode(&message.encode()), Ok(message), "{}", M::NAME);
        }
    }
}

#[test]
fn e410_every_message_comes_back() {
    let rng = &mut Rng::new(1);
    each_message!(comes_back(rng));
}

/// Every cut is an error, every flipped bit one or another message, a tail is skipped, and counts
/// of every size are found wanting.
fn withstands<M: Record + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for message in M::every(rng) {
        let bytes = message.encode();
        if 800 < bytes.len() {
            continue;
        }
        check_decoder(&bytes, M::decode);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fuzz::message::<M>(&flipped);
        }
        for at in 5..bytes.len().saturating_sub(3) {
            for count in [u32::MAX, 1 << 17, 1 << 12, 257] {
                let mut hostile = bytes.clone();
                hostile[at..at + 4].copy_from_slice(&count.to_le_bytes());
                fuzz::message::<M>(&hostile);
            }
        }
    }
}

#[test]
fn e410_no_bytes_make_a_decoder_panic() {
    let rng = &mut Rng::new(2);
    for _ in 0..3 {
        each_message!(withstands(rng));
    }
}

/// Most numbers of a message are small: tags, counts, lengths. So noise of small numbers gets far.
#[test]
fn e410_noise_is_refused_or_understood() {
    let rng = &mut Rng::new(3);
    let (mut data, mut understood) = (Vec::new(), 0);
    for round in 0..60_000_u32 {
        data.resize(1 + usize::try_from(rng.below(120)).unwrap(), 0);
        rng.fill_bytes(&mut data);
        for byte in &mut data[1..] {
            *byte = if rng.chance(700) { *byte & 3 } else { *byte };
        }
        data[0] = round.to_le_bytes()[0];
        if let Some(tag) = data.get_mut(1) {
            *tag &= 63;
        }
        understood += u32::from(fuzz::messages(&data));
    }
    assert!(5_000 < understood, "{understood} of 60,000");
}

/// What the fuzzer changes: real messages, with bytes replaced, cut out and put in.
#[test]
fn e410_changed_messages_are_refused_or_understood() {
    let rng = &mut Rng::new(4);
    let mut understood = 0;
    for _ in 0..400 {
        let (kind, bytes) = if any(rng) {
            (1, Operation::sample(rng).encode())
        } else {
            (2, Answer::sample(rng).encode())
        };
        let mut data = vec![kind];
        data.extend_from_slice(&bytes[5..]);
        for _ in 0..40 {
            let at = 1 + usize::try_from(rng.below(data.len() as u64 - 1)).unwrap_or(0);
            match rng.below(3) {
                0 => data[at] = any(rng),
                1 => data.insert(at, any(rng)),
                _ if 2 < data.len() => drop(data.remove(at)),
                _ => {}
            }
            understood += u32::from(fuzz::messages(&data));
        }
    }
    assert!(1_000 < understood, "{understood} of 16,000");
}

/// A field takes what its type says at least, and a list not many times its bytes in memory.
#[test]
fn e410_memory_follows_bytes() {
    fn check<T: Field + Sample>(rng: &mut Rng) {
        let name = core::any::type_name::<T>();
        for _ in 0..50 {
            let bytes = T::sample(rng).encoded_bytes();
            assert!(T::BYTES_MIN <= bytes, "{name}: {bytes} bytes, at least {}", T::BYTES_MIN);
        }
    }
    fn element<T: Field>() {
        let (memory, bytes) = (size_of::<T>(), T::BYTES_MIN);
        let name = core::any::type_name::<T>();
        assert!(memory <= 200 * bytes, "{name}: {memory} bytes of memory for {bytes}");
    }
    let rng = &mut Rng::new(5);
    check::<Attr>(rng);
    check::<Entry>(rng);
    check::<op::LockAsk>(rng);
    check::<op::Hint>(rng);
    check::<op::Create>(rng);
    check::<op::Rename>(rng);
    check::<OperationCount>(rng);
    assert!(size_of::<Entry>() <= 20 * Entry::BYTES_MIN);
    // 256 at most, so 50 kB for 256 bytes.
    element::<Option<Attr>>();
    element::<OperationCount>();
}

/// Rows within messages grow: fields of a later version are skipped.
#[test]
fn e410_entries_grow() {
    let rng = &mut Rng::new(6);
    for _ in 0..50 {
        let entry: Entry = any(rng);
        let mut out = Writer::new(1);
        out.u8(7);
        out.u32(1);
        out.row(|row| {
            entry.write_fields(row);
            row.u64(9);
        });
        out.u8(1);
        let answer = Answer::Entries { entries: vec![entry], end: true };
        assert_eq!(Answer::decode(&out.finish()), Ok(answer));
    }
}

/// Each tag has a sample, and the one behind the last is refused.
#[test]
fn every_tag_is_known_and_no_other() {
    fn check<M: Record + Sample + Debug>(rng: &mut Rng, last: u8) {
        let messages = M::every(rng);
        let tags: BTreeSet<u8> = messages.iter().map(|message| message.encode()[5]).collect();
        assert!(tags.iter().copied().eq(1..=last), "{tags:?}");
        let mut bytes = messages[0].encode();
        for unknown in [0, last + 1, u8::MAX] {
            bytes[5] = unknown;
            let error = M::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(&std::format!("found {unknown}, expected a known tag")));
        }
    }
    let rng = &mut Rng::new(7);
    check::<Operation>(rng, 36);
    check::<Answer>(rng, 16);
    assert_eq!(Operation::NAMES.len(), 36);
    for (index, operation) in Operation::every(rng).iter().enumerate() {
        assert_eq!(operation.index(), index);
        assert_eq!(operation.name(), Operation::NAMES[index]);
        assert_eq!(usize::from(operation.encode()[5]), index + 1);
    }
}

/// E411: what leaves something behind carries a tag, and nothing else does.
#[test]
fn e411_operations_that_change_something() {
    let rng = &mut Rng::new(8);
    let reads = [
        "Lookup",
        "Walk",
        "Stat",
        "StatBatch",
        "Access",
        "Readlink",
        "Readdir",
        "GetXattr",
        "ListXattr",
        "GetLock",
        "GetLayout",
        "StatFs",
    ];
    for operation in Operation::every(rng) {
        let expected = match &operation {
            Operation::Open(open) => open.mode.write || open.mode.truncate || open.mode.append,
            other => !reads.contains(&other.name()),
        };
        assert_eq!(operation.mutates(), expected, "{operation:?}");
        let request = Request { operation, ..any(rng) };
        assert_eq!(request.is_tagged_right(), request.tag.is_some() == expected);
    }
}

/// E412: what is recorded is small, and a page is what its sender has room for.
#[test]
fn e412_answers_fit() {
    let rng = &mut Rng::new(9);
    let attr = Attr { layout: Some(any::<Layout>(rng)), blocks: Some(1), ..any(rng) };
    let mutating = [
        Answer::Opened { attr, created: true },
        Answer::Appended { offset: 1, attr },
        Answer::Fallocated { attr, plan: any(rng) },
        Answer::Attr(attr),
    ];
    for answer in mutating {
        assert!(answer.encode().len() <= 200, "{}", answer.encode().len());
    }
    const { assert!(Refusal::TEXT_BYTES_MAX + 64 <= ANSWER_BYTES_MAX) };

    let entry = Entry {
        cookie: 8,
        ino: InodeId::new(1),
        kind: FileType::Regular,
        name: vec![b'n'; 255],
        attr: Some(attr),
    };
    assert_eq!(entry.encoded_bytes(), Field::encoded_bytes(&entry));
    let plain = Entry { attr: None, ..entry.clone() };
    assert_eq!(plain.encoded_bytes(), Field::encoded_bytes(&plain));
    let count = Answer::ENTRIES_BYTES_MAX / entry.encoded_bytes();
    let page = Answer::Entries { entries: vec![entry; count], end: false };
    assert!(page.encode().len() <= ROOM_BYTES as usize);
    let entries = vec![plain; READDIR_ENTRIES_MAX as usize];
    let longest: usize = entries.iter().map(Entry::encoded_bytes).sum();
    assert!(Answer::ENTRIES_BYTES_MAX < longest, "names of 255 bytes end a page by its bytes");
    let stats = Answer::Attrs(vec![Some(attr); STAT_BATCH_MAX]);
    let ask = |operation: Operation| Request { operation, ..any(&mut Rng::new(1)) }.room() as usize;
    let batch = op::StatBatch { inos: vec![InodeId::new(1); STAT_BATCH_MAX] };
    assert!(stats.encode().len() <= ask(batch.into()));
    let value = Answer::Value(vec![0; XATTR_VALUE_BYTES_MAX]);
    let get = op::GetXattr { ino: InodeId::new(1), name: b"user.a".to_vec() };
    assert!(value.encode().len() <= ask(get.into()));
    let target = Answer::Target(vec![b'a'; 4095]);
    let readlink = op::Readlink { ino: InodeId::new(1) };
    assert!(target.encode().len() <= ask(readlink.into()));
    let operations = vec![OperationCount::default(); 255];
    let status = ServiceStatus { operations, ..any(rng) };
    assert!(status.encode().len() <= StatusAsk {}.room() as usize);
}

/// The largest of everything is carried, and one more is refused before memory is taken.
#[test]
fn e410_limits_of_requests() {
    let rng = &mut Rng::new(10);
    let name = vec![b'a'; 256];
    let value = vec![1; XATTR_VALUE_BYTES_MAX + 1];
    let set = op::SetXattr { ino: InodeId::new(1), name, value, set: any(rng) };
    let mut request = Request { operation: set.into(), ..any(rng) };
    request.caller.groups = vec![Gid::new(1); GROUPS_MAX];
    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
    request.caller.groups.push(Gid::new(2));
    let error = Request::decode(&request.encode()).unwrap_err().to_string();
    assert_eq!(error, "request: groups: found 1025 elements, at most 1024");

    let lookup =
        |bytes| Operation::from(op::Lookup { parent: InodeId::new(1), name: vec![b'a'; bytes] });
    assert!(Operation::decode(&lookup(4096).encode()).is_ok());
    let error = Operation::decode(&lookup(4097).encode()).unwrap_err().to_string();
    assert_eq!(error, "operation: name: found 4097 bytes, at most 4096");
}

#[test]
fn refusals_say_what_they_are() {
    let refusal = Refusal::new(Errno::ENOTEMPTY, "inode-5 has entries");
    assert_eq!(refusal.to_string(), "ENOTEMPTY: Directory not empty: inode-5 has entries");
    assert_eq!(Refusal::old_request("7 after 9").cause, Cause::OldRequest);
    assert_eq!(Refusal::fenced("session-3").cause, Cause::Fenced);
    let long = Refusal::new(Errno::EIO, std::format!("a{}", "\u{e9}".repeat(600)));
    let came = Refusal::decode(&long.encode()).unwrap();
    assert_eq!(came.text.len(), 1023);
    assert!(long.text.starts_with(&came.text));
}
