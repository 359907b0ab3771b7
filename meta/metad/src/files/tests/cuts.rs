//! Cuts: old bytes do not come back, whoever dies in between.

use engine_types::Rng;
use meta_schema::codec::Record as _;
use meta_schema::{Inode, Shrink};

use super::*;
use crate::bed::Fate;

const CHUNK: u64 = 1 << 20;

/// M1, M2: a cut, an extension, and what a reader sees.
#[test]
fn old_bytes_do_not_come_back() {
    for cut in [0, 5, CHUNK, CHUNK + 5, 3 * CHUNK] {
        with_bed(cut, async move |bed| {
            let chunks = fake(&bed);
            let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
            let mut file = a.create("a").await;
            for index in 0..6 {
                a.write(&mut file, index * CHUNK + 100, &[9; 50]).await;
            }
            a.sync(&file).await.unwrap();
            let old = b.read(&file).await;
            assert_eq!(b.truncate(file.ino, cut).await.unwrap().size, cut);
            assert_eq!(keys(&bed, "TRUN").await, 0, "M2: answered when the item is gone");
            assert_eq!(b.truncate(file.ino, 6 * CHUNK).await.unwrap().size, 6 * CHUNK);
            let cut = usize::try_from(cut).unwrap();
            let read = b.read(&file).await;
            assert_eq!(read[..cut], old[..cut]);
            assert!(read[cut..].iter().all(|&byte| byte == 0), "M2: old bytes behind {cut}");
        });
    }
}

/// M2: a dead chain keeps the cut unfinished: who needs it waits, others do not.
#[test]
fn an_unfinished_cut_holds_up_what_depends_on_it() {
    with_bed(1, async |bed| {
        let chunks = fake(&bed);
        let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
        let mut file = a.create("a").await;
        a.write(&mut file, 0, &[9; 100]).await;
        a.sync(&file).await.unwrap();
        let chain = file.place.chains[0];
        chunks.set_dead(chain, true);
        let request = b.request(Mount::size(file.ino, 10));
        let cut = two.call(&request, TIME).await;
        assert_eq!(cut, Err(CallError::Halted(Halt::Unsettled(file.ino))));
        assert_eq!(a.stat(file.ino).await.size, 10, "readers see the cut");
        let opened = b.ask(ask::Open { ino: file.ino, mode: WRITE }).await;
        assert_eq!(opened, Err(CallError::Halted(Halt::Unsettled(file.ino))), "E444");
        let reader = b.ask(ask::Open { ino: file.ino, mode: OpenMode::default() }).await;
        assert!(reader.is_ok());
        let longer = one.call(&a.request(Mount::size(file.ino, 50)), TIME).await;
        assert_eq!(longer, Err(CallError::Halted(Halt::Unsettled(file.ino))), "M2");
        a.close(&file).await;
        chunks.set_dead(chain, false);
        // The same request again, at another service: its record says done, its cut is not.
        let again = attr(one.call(&request, TIME * 3).await.unwrap());
        assert_eq!((again.size, keys(&bed, "TRUN").await), (10, 0), "M11");
        assert_eq!(b.truncate(file.ino, 100).await.unwrap().size, 100);
        let read = b.read(&file).await;
        assert!(read[..10] == [9; 10] && read[10..].iter().all(|&byte| byte == 0));
    });
}

/// E448: an item of a process that may still be alive is left to it.
#[test]
fn a_cut_is_taken_over_from_the_dead_alone() {
    with_bed(2, async |bed| {
        let chunks = fake(&bed);
        let [one, _] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let mount = Mount::new(&one, 5);
        let mut file = mount.create("a").await;
        mount.write(&mut file, 0, &[9; 100]).await;
        mount.close(&file).await;
        // Service 1002 has cut the file and stopped.
        let other = SessionId::new(1002);
        let transaction = bed.kv.begin(Default::default());
        let key = key::inode(file.ino);
        let raw = transaction.get(&key, meta_kv::ReadMode::Snapshot).await.unwrap().unwrap();
        let mut inode = Inode::decode(&raw).unwrap();
        let epoch = TruncateEpoch::new(1);
        inode.file_mut().unwrap().truncate_epoch = epoch;
        inode.file_mut().unwrap().length = 0;
        let item = Shrink { epoch, new_length: 0, old_length: 100, owner: other };
        transaction.set(&key, &inode.encode()).unwrap();
        transaction.set(&key::shrink(file.ino), &item.encode()).unwrap();
        transaction.commit().await.unwrap();
        let open = ask::Open { ino: file.ino, mode: WRITE };
        let waits = one.call(&mount.request(open), TIME).await;
        assert_eq!(waits, Err(CallError::Halted(Halt::Unsettled(file.ino))), "E448");
        assert_eq!(chunks.count(file.ino), 1, "E448: nothing is done for the living");
        chunks.fence(other);
        mount.ask(open).await.unwrap();
        assert_eq!((chunks.count(file.ino), keys(&bed, "TRUN").await), (0, 0), "L6");
    });
}

/// E448: a removal that is late, of a process that was taken for dead, meets no newer chunk.
#[test]
fn a_fenced_cutter_removes_nothing_late() {
    with_bed(3, async |bed| {
        let chunks = fake(&bed);
        let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
        let mut file = a.create("a").await;
        a.write(&mut file, 0, &[9; 100]).await;
        a.sync(&file).await.unwrap();
        chunks.set_delay(Duration::from_secs(20));
        let stuck = two.call(&b.request(Mount::size(file.ino, 0)), Duration::from_millis(50)).await;
        assert_eq!(stuck, Err(CallError::Halted(Halt::Unsettled(file.ino))));
        chunks.fence(SessionId::new(1002));
        chunks.set_delay(Duration::ZERO);
        one.shrinks().settle(file.ino, bed.env.now() + TIME * 4).await.unwrap();
        // A writer of the old epoch, acknowledged after the cut was.
        a.write(&mut file, 0, b"after").await;
        assert_eq!(file.epoch, TruncateEpoch::FIRST);
        a.sync(&file).await.unwrap();
        bed.env.sleep_until(bed.env.now() + TIME * 10).await;
        assert_eq!(a.read(&file).await, b"after", "M1: acknowledged and synced");
    });
}

/// One client, two services, lost answers, chains that come and go: what is read is what a file in
/// memory would be.
#[test]
fn a_file_is_as_one_in_memory() {
    for seed in 0..8 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let mut rng = Rng::new(seed);
            let mut mount = Mount::new(&services[0], 5);
            let mut file = mount.create("a").await;
            let mut model: Vec<u8> = Vec::new();
            bed.source().every_other((seed % 2 == 1).then_some(Fate::LostApplied));
            for step in 0..60u32 {
                mount.service = services[usize::from(rng.chance(500))].clone();
                let size = 3 * CHUNK;
                match rng.below(5) {
                    0 => {
                        // A client tells what it wrote before it cuts.
                        mount.sync(&file).await.unwrap();
                        let to = rng.below(size);
                        let epoch = mount.truncate(file.ino, to).await.unwrap().truncate_epoch;
                        model.resize(usize::try_from(to).unwrap(), 0);
                        (file.epoch, file.end) = (epoch, file.end.min(to));
                    }
                    1 => {
                        let mode = OpenMode { truncate: true, ..WRITE };
                        file = mount.open(file.ino, mode).await;
                        model.clear();
                    }
                    2 => {
                        let bytes = rng.below(40) + 1;
                        mount.sync(&file).await.unwrap();
                        let offset = mount.append(file.ino, bytes).await;
                        assert_eq!(offset, model.len() as u64, "M5: seed {seed} step {step}");
                        model.resize(usize::try_from(offset + bytes).unwrap(), 0);
                    }
                    _ => {
                        let bytes = [u8::try_from(step + 1).unwrap(); 64];
                        let offset = rng.below(size / 64 - 1) * 64;
                        mount.write(&mut file, offset, &bytes).await;
                        let end = usize::try_from(offset).unwrap() + 64;
                        model.resize(model.len().max(end), 0);
                        model[end - 64..end].copy_from_slice(&bytes);
                        if rng.chance(500) {
                            mount.sync(&file).await.unwrap();
                        }
                    }
                }
            }
            mount.close(&file).await;
            let read = mount.read(&file).await;
            assert_eq!(read.len(), model.len(), "seed {seed}");
            let wrong = read.iter().zip(&model).position(|(a, b)| a != b);
            assert_eq!(wrong, None, "M2: first wrong byte, seed {seed}");
        });
    }
}
