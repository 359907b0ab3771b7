use engine_runtime::CoreSpec;

use super::*;
use crate::runtime::{Main, Runtime};
use crate::store::device::Kind;
use crate::suite::Storage;

/// Every operation on a small store that was filled by another core.
struct Exercise {
    place: Arc<Place>,
    data: Data,
}

impl Main for Exercise {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let chunks = Chunks::open(&env, &self.place).await?;
        assert_eq!(chunks.data, self.data);
        assert_eq!(u64::from(chunks.count * self.data.chunk_bytes()), self.place.data_bytes());
        let mut random = Rng::new(1);
        let small = Work::Read { len: SMALL_BYTES, verify: true };
        for _ in 0..50 {
            chunks.operate(small, &mut random).await?;
        }
        let read = chunks.counters();
        assert_eq!((read.user_bytes, read.writes), (50 * 4096, 0));
        assert!(read.user_bytes <= read.read_bytes, "{read:?}");
        if self.data == Data::Large {
            exercise_large(&chunks, &mut random).await?;
        }
        chunks.close().await
    }
}

async fn exercise_large<E: Env>(chunks: &Rc<Chunks<E>>, random: &mut Rng) -> Result<(), String> {
    let before = chunks.counters();
    chunks.operate(Work::Read { len: LARGE_BYTES, verify: false }, random).await?;
    for _ in 0..20 {
        chunks.operate(Work::Overwrite, random).await?;
    }
    for _ in 0..3 {
        chunks.operate(Work::Append { chunk: 2 * LARGE_BYTES }, random).await?;
    }
    let appended = chunks.store.space().chunks;
    assert_eq!(appended, u64::from(chunks.count) + 2, "one full chunk and one half full");
    // A store without room gives up its oldest full chunk before each append.
    chunks.appended.borrow_mut().bytes_max = 0;
    chunks.operate(Work::Append { chunk: 2 * LARGE_BYTES }, random).await?;
    chunks.operate(Work::Append { chunk: 2 * LARGE_BYTES }, random).await?;
    assert_eq!(chunks.store.space().chunks, u64::from(chunks.count) + 1);
    chunks.tidy().await?;
    assert_eq!(chunks.store.space().chunks, u64::from(chunks.count), "appends are gone");
    let counted = chunks.counters() - before;
    assert_eq!(counted.writes, 25);
    assert_eq!(counted.user_bytes, (1 << 20) + 20 * 4096 + (5 << 20));
    assert!(counted.ops_per_flush().is_some_and(|ops| ops <= 1.0), "one at a time: {counted:?}");
    Ok(())
}

/// Blocking calls need no io_uring; a folder in memory is no disk, and there is nothing to test.
#[test]
fn every_operation_works_on_both_kinds_of_data() {
    let storage = Storage { dir: std::env::temp_dir(), memory_dir: "".into(), bytes: 0 };
    for (data, bytes) in [(Data::Large, 8 << 20), (Data::Small, 1 << 20)] {
        let place = match Kind::Disk.place(&storage, 512 << 20, 128 << 20) {
            Ok(place) => place,
            Err(reason) => return assert!(reason.contains("in memory"), "{reason}"),
        };
        let fill = Fill { place: place.clone(), data, bytes };
        let on_epoll = || CoreSpec::new("chunks");
        Runtime::Epoll.run(on_epoll(), fill).expect("epoll").expect("filled");
        assert_eq!(place.data_bytes(), bytes);
        let exercise = Exercise { place, data };
        Runtime::Epoll.run(on_epoll(), exercise).expect("epoll").expect("every operation");
    }
}
