//! Storage nodes in simulation, with the shipped manager: replication, failover, resync.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod care;
mod crossing;
mod ground;
mod sessions;

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Signal};
use engine_types::limits::CHUNK_BYTES_MAX;
use engine_types::{Instant, Status};
use engine_wire::bodies::storage::{READ_BYTES, ReadItem, UPDATE_REMOVE, UPDATE_WRITE, UpdateItem};

use mgmt_cluster::command::Command;

use ground::{CLIENT, Ground, NODES, STORE, STORE_BYTES};

const SHIFT: u8 = 20;
const _: () = assert!(1 << SHIFT <= CHUNK_BYTES_MAX);

fn write(seq: u64, len: usize) -> UpdateItem {
    let len = u32::try_from(len).unwrap();
    UpdateItem {
        inode: 9,
        session: 1,
        seq,
        len,
        bytes: len,
        change: UPDATE_WRITE,
        size_shift: SHIFT,
        ..UpdateItem::default()
    }
}

const WHOLE: ReadItem = ReadItem {
    target: 0,
    inode: 9,
    chain_version: 0,
    index: 0,
    offset: 0,
    len: 1 << 20,
    what: READ_BYTES,
    reserved: [0; 7],
};

#[test]
fn one_replica_serves_alone() {
    let ground = Ground::new(3, 1);
    let chain = ground.chain(1);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 1).await;
        let told = caller.update_surely(chain, write(1, 5000), &[3; 5000]).await;
        assert_eq!((told.version, told.chunk_len), (1, 5000));
        let (members, _) = caller.members(chain);
        let (_, bytes) = caller.read_surely(chain, members[0], WHOLE).await;
        assert_eq!(bytes, [3; 5000]);
    });
}

#[test]
fn what_is_written_at_the_head_is_read_at_every_replica() {
    let ground = Ground::new(1, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for (version, len) in [(1_u8, 5_usize), (2, 4096), (3, 300_000), (4, 1 << 20)] {
            let data: Vec<u8> = (0..251_u8).cycle().take(len).map(|byte| byte ^ version).collect();
            let item = write(version.into(), len);
            let told = caller.update_surely(chain, item, &data).await;
            assert_eq!((told.version, told.chunk_len), (u32::from(version), item.len));
            for member in caller.members(chain).0 {
                let (told, bytes) = caller.read_surely(chain, member, WHOLE).await;
                assert_eq!((told.version, bytes.len()), (u32::from(version), len));
                assert!(bytes == data, "{member} has other bytes");
            }
            // The same request once more makes no other version.
            let again = caller.update_surely(chain, item, &data).await;
            assert_eq!(again.version, u32::from(version));
        }
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

#[test]
fn a_chain_goes_on_without_a_member_which_catches_up_when_it_returns() {
    let ground = Ground::new(2, 3);
    let chain = ground.chain(3);
    for (dies, machine) in NODES.into_iter().enumerate().take(3) {
        let first = 10 * dies as u64 + 1;
        let byte = u8::try_from(dies).unwrap() + 1;
        ground.sim.crash(machine);
        ground.act(move |caller| async move {
            caller.until_serving(chain, 2).await;
            for seq in first..first + 5 {
                caller.update_surely(chain, write(seq, 4096), &[byte; 4096]).await;
            }
        });
        ground.node(dies);
        ground.act(move |caller| async move {
            caller.until_serving(chain, 3).await;
            for member in caller.members(chain).0 {
                let (_, bytes) = caller.read_surely(chain, member, WHOLE).await;
                assert_eq!(bytes, vec![byte; 4096], "{member}");
            }
        });
    }
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

#[test]
fn what_was_acknowledged_is_there_after_all_replicas_crashed_and_a_retry_makes_nothing_new() {
    let ground = Ground::new(4, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for seq in 1..=20 {
            let byte = u8::try_from(seq).unwrap();
            let told = caller.update_surely(chain, write(seq, 9_000), &[byte; 9_000]).await;
            assert_eq!(u64::from(told.version), seq);
        }
    });
    for node in NODES.into_iter().take(3) {
        ground.sim.crash(node);
    }
    ground.run(Duration::from_secs(3));
    for index in 0..3 {
        ground.node(index);
    }
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        let told = caller.update_surely(chain, write(20, 9_000), &[20; 9_000]).await;
        assert_eq!((told.version, told.chunk_len), (20, 9_000));
        for member in caller.members(chain).0 {
            let (told, bytes) = caller.read_surely(chain, member, WHOLE).await;
            assert_eq!((told.version, bytes), (20, vec![20; 9_000]), "{member}");
        }
        let told = caller.update_surely(chain, write(21, 10), &[21; 10]).await;
        assert_eq!((told.version, told.chunk_len), (21, 9_000));
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

#[test]
fn a_node_that_is_asked_to_stop_leaves_its_chain_at_once_and_closes_its_store() {
    let ground = Ground::new(5, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        caller.update_surely(chain, write(1, 100), &[1; 100]).await;
    });
    ground.sim.signal(NODES[1], Signal::Terminate);
    ground.act(move |caller| async move { caller.until_serving(chain, 2).await });
    ground.run(Duration::from_secs(15));
    assert_eq!(ground.ended(), ["node 1: Ok(())"]);
    ground.node(1);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        caller.update_surely(chain, write(2, 100), &[2; 100]).await;
    });
}

#[test]
fn a_store_that_was_formatted_anew_is_filled() {
    let ground = Ground::new(6, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for seq in 1..=40 {
            let item = UpdateItem { index: seq, ..write(seq.into(), 70_000) };
            caller.update_surely(chain, item, &[7; 70_000]).await;
        }
    });
    ground.sim.crash(NODES[2]);
    ground.act(move |caller| async move { caller.until_serving(chain, 2).await });
    ground.format(2);
    ground.node(2);
    ground.adopt(2, chain);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        let members = caller.members(chain).0;
        for index in 1..=40 {
            let item = ReadItem { index, ..WHOLE };
            let (_, bytes) = caller.read_surely(chain, members[2], item).await;
            assert_eq!(bytes, [7; 70_000], "chunk {index}");
        }
    });
}

/// Flips a bit in each of some places of a pattern on a node's disk; gives how many.
fn rot(ground: &Ground, index: usize, byte: u8) -> usize {
    let mut flipped = 0;
    let run = vec![byte; 4096];
    let mut at = 0;
    while at < STORE_BYTES && flipped < 4 {
        let piece = ground.sim.peek(NODES[index], STORE, at, 1 << 20).unwrap_or_default();
        for (page, bytes) in piece.chunks_exact(4096).enumerate() {
            if bytes == run {
                ground.sim.flip_bit(NODES[index], STORE, at + page as u64 * 4096 + 77, 3);
                flipped += 1;
            }
        }
        at += 1 << 20;
    }
    flipped
}

/// Whether a node's disk holds the pattern as it was written, nowhere damaged.
fn is_whole(ground: &Ground, index: usize, byte: u8) -> bool {
    let near = |page: &[u8]| {
        let equal = page.iter().filter(|found| **found == byte).count();
        4000 < equal && equal < 4096
    };
    let mut at = 0;
    while at < STORE_BYTES {
        let piece = ground.sim.peek(NODES[index], STORE, at, 1 << 20).unwrap_or_default();
        if piece.chunks_exact(4096).any(near) {
            return false;
        }
        at += 1 << 20;
    }
    true
}

#[test]
fn rot_is_repaired_from_another_replica_for_merges_and_after_reads() {
    let ground = Ground::new(7, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        caller.update_surely(chain, write(1, 65_536), &[0xa5; 65_536]).await;
        let item = UpdateItem { index: 1, ..write(2, 65_536) };
        caller.update_surely(chain, item, &[0x5a; 65_536]).await;
    });
    for byte in [0xa5, 0x5a] {
        assert_ne!(rot(&ground, 1, byte), 0);
    }
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        // A write in the middle of a block has to merge with what is damaged on one replica.
        let item = UpdateItem { offset: 100, ..write(3, 50) };
        let told = caller.update_surely(chain, item, &[1; 50]).await;
        assert_eq!(told.version, 2);
        // The damaged replica says so once, is repaired, and answers then.
        let members = caller.members(chain).0;
        let mut corrupt = 0;
        for member in &members {
            let (_, version) = caller.members(chain);
            let item = ReadItem { target: member.get(), chain_version: version, index: 1, ..WHOLE };
            let (told, _) = caller.read(item).await;
            corrupt += usize::from(told.status == Status::Corrupt.code());
            let (_, bytes) =
                caller.read_surely(chain, *member, ReadItem { index: 1, ..WHOLE }).await;
            assert_eq!(bytes, [0x5a; 65_536], "{member}");
            let (_, bytes) = caller.read_surely(chain, *member, WHOLE).await;
            assert_eq!((&bytes[..100], &bytes[150..]), (&[0xa5; 100][..], &[0xa5; 65_386][..]));
        }
        assert_eq!(corrupt, 1);
        assert_eq!(members.len(), 3, "nobody left the chain");
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

#[test]
fn the_scrub_finds_rot_that_nobody_reads() {
    let ground = Ground::new(8, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        caller.update_surely(chain, write(1, 65_536), &[0xa5; 65_536]).await;
    });
    assert_ne!(rot(&ground, 2, 0xa5), 0);
    let places = |ground: &Ground| is_whole(ground, 2, 0xa5);
    assert!(!places(&ground));
    ground.run(Duration::from_secs(150));
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for member in caller.members(chain).0 {
            let (_, version) = caller.members(chain);
            let item = ReadItem { target: member.get(), chain_version: version, ..WHOLE };
            let (told, bytes) = caller.read(item).await;
            assert_eq!((Status::from_code(told.status), bytes), (Status::Ok, vec![0xa5; 65_536]));
        }
    });
}

#[test]
fn a_target_that_was_removed_is_dropped() {
    let ground = Ground::new(9, 3);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for index in 0..20 {
            let item = UpdateItem { index, ..write(u64::from(index) + 1, 300_000) };
            caller.update_surely(chain, item, &[7; 300_000]).await;
        }
        let target = caller.members(chain).0[1];
        let address = caller.address(target);
        caller.command(Command::DrainTarget(target, true)).await;
        caller.until_serving(chain, 2).await;
        assert_eq!(caller.chunks_at(address).await, 20);
        caller.command(Command::RemoveTarget(target)).await;
        caller.env.sleep_until(caller.env.now() + Duration::from_secs(3)).await;
        assert_eq!(caller.chunks_at(address).await, 0);
        for other in caller.members(chain).0 {
            assert_eq!(caller.chunks_at(caller.address(other)).await, 20, "{other}");
        }
    });
}

/// R20: what it had was named in this timeline, and its chain has gone on without it.
#[test]
fn a_target_that_was_removed_while_its_node_was_away_is_dropped() {
    let ground = Ground::new(12, 3);
    let chain = ground.chain(3);
    let (target, index) = ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        for index in 0..20 {
            let item = UpdateItem { index, ..write(u64::from(index) + 1, 300_000) };
            caller.update_surely(chain, item, &[7; 300_000]).await;
        }
        let target = caller.members(chain).0[1];
        let address = caller.address(target);
        (target, (0..3).position(|index| caller.machine(NODES[index]) == address).unwrap())
    });
    ground.sim.crash(NODES[index]);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        caller.command(Command::RemoveTarget(target)).await;
    });
    ground.node(index);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        caller.env.sleep_until(caller.env.now() + Duration::from_secs(5)).await;
        assert_eq!(caller.chunks_at(caller.machine(NODES[index])).await, 0);
        for other in caller.members(chain).0 {
            assert_eq!(caller.chunks_at(caller.address(other)).await, 20, "{other}");
        }
    });
}

#[test]
fn a_rolling_restart_under_load_stops_no_writer_for_long() {
    // A planned restart waits for no lease to run out (2 s): its node says that it leaves.
    let slow = |seed| {
        let longest = rolling_restart(seed);
        println!("seed {seed}: {longest:?}");
        (Duration::from_secs(1) <= longest).then_some((seed, longest))
    };
    let slow: Vec<_> = seeds(10..13).filter_map(slow).collect();
    assert!(slow.is_empty(), "{slow:?}");
}

/// Seeds of a test; `EMBERFS_SIM_SEEDS` says how many are wanted instead, from the first one on.
fn seeds(usual: core::ops::Range<u64>) -> core::ops::Range<u64> {
    let count = std::env::var("EMBERFS_SIM_SEEDS").ok().map(|text| text.parse::<u64>().unwrap());
    usual.start..count.map_or(usual.end, |count| usual.start + count)
}

/// Each of three nodes stops and starts again while two clients write; gives the time of their
/// longest write.
fn rolling_restart(seed: u64) -> Duration {
    let ground = Ground::new(seed, 3);
    let chain = ground.chain(3);
    // Of each writer the longest write that has ended, and since when one is under way.
    let writers = [(); 2].map(|()| Rc::new(Cell::new((Duration::ZERO, None))));
    ground.in_background({
        let writers = writers.clone();
        move |caller| async move {
            caller.until_serving(chain, 3).await;
            let each = (0..).zip(writers).map(|(index, writer)| {
                let caller = caller.clone();
                async move {
                    for seq in 1..=u64::MAX {
                        let (longest, _) = writer.get();
                        let begun = caller.env.now();
                        writer.set((longest, Some(begun)));
                        let item = UpdateItem { index, channel: index, ..write(seq, 5000) };
                        caller.update_surely(chain, item, &[7; 5000]).await;
                        let now = caller.env.now();
                        writer.set((longest.max(now.saturating_since(begun)), None));
                        caller.env.sleep_until(now + Duration::from_millis(2)).await;
                    }
                }
            });
            engine_runtime::all(each).await;
        }
    });
    ground.run(Duration::from_secs(2));
    for (index, machine) in NODES.into_iter().enumerate().take(3) {
        ground.sim.signal(machine, Signal::Terminate);
        ground.run(Duration::from_millis(1500));
        ground.node(index);
        ground.run(Duration::from_millis(2500));
    }
    assert!(ground.ended().iter().all(|end| end.ends_with("Ok(())")), "{:?}", ground.ended());
    let now = ground.sim.node_now(CLIENT);
    let longest = |(ended, begun): (Duration, Option<Instant>)| {
        ended.max(begun.map_or(Duration::ZERO, |begun| now.saturating_since(begun)))
    };
    writers.iter().map(|writer| longest(writer.get())).max().unwrap()
}

/// R18: a chain whose tail is full because of another chain refuses growth at its head, and takes
/// it again when there is room, without any update of its own in between.
#[test]
fn a_head_hears_of_room_at_the_tail_without_an_update() {
    let ground = Ground::with_stores(23, 2, 768 << 20);
    let (crossing, other) = (ground.chain_of(&[0, 1]), ground.chain_of(&[1]));
    ground.act(move |caller| async move {
        caller.until_serving(crossing, 2).await;
        caller.update_surely(crossing, write(1, 100), &[1; 100]).await;
        caller.update_surely(other, write(1, 100), &[1; 100]).await;
        let data = vec![7; 1 << 20];
        let once = async |chain, item| {
            let (members, chain_version) = caller.members(chain);
            let item = UpdateItem { target: members[0].get(), chain_version, ..item };
            Status::from_code(caller.update(item, &data).await.status)
        };
        let mut filled = 0_u32;
        let full = loop {
            let seq = u64::from(filled) + 2;
            match once(other, UpdateItem { index: filled + 1, ..write(seq, 1 << 20) }).await {
                Status::Ok => filled += 1,
                status => break status,
            }
        };
        assert!(full == Status::NoSpace && 20 < filled, "{full:?} after {filled}");
        let pause =
            async || caller.env.sleep_until(caller.env.now() + Duration::from_secs(3)).await;
        pause().await;
        let grown = UpdateItem { index: 9, ..write(2, 1 << 20) };
        assert_eq!(once(crossing, grown).await, Status::NoSpace, "the tail is full");
        for index in 1..=filled / 2 {
            let seq = u64::from(filled + index) + 2;
            let item = UpdateItem { index, change: UPDATE_REMOVE, ..write(seq, 0) };
            caller.update_surely(other, item, &[]).await;
        }
        pause().await;
        assert_eq!(once(crossing, grown).await, Status::Ok, "there is room again");
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}
