use engine_runtime::CoreSpec;

use super::*;
use crate::runtime::{Main, Runtime};
use crate::store::device::Kind;
use crate::suite::Storage;

/// Sixteen durable overwrites at once, then a read and appends around the end.
struct Exercise;

impl Main for Exercise {
    type Output = Result<Counters, String>;

    async fn run<E: Env>(self, env: E) -> Result<Counters, String> {
        let bytes = 4 << 20;
        let dir = std::env::temp_dir();
        let storage = Storage { dir, memory_dir: "".into(), bytes };
        let place = Kind::Disk.place(&storage, bytes, bytes)?;
        let file = RawFile::open(&env, &place).await?;
        let overwrite = |number| {
            let (file, mut random) = (file.clone(), Rng::new(number));
            env.spawn(async move { file.operate(Work::Overwrite, &mut random).await })
        };
        let writes: Vec<_> = (0..16).map(overwrite).collect();
        for write in writes {
            write.await?;
        }
        let mut random = Rng::new(1);
        for _ in 0..5 {
            file.operate(Work::Append { chunk: LARGE_BYTES }, &mut random).await?;
        }
        assert_eq!(file.append_at.get(), 1 << 20, "the fifth went round");
        file.operate(Work::Read { len: LARGE_BYTES, verify: false }, &mut random).await?;
        Ok(file.counters())
    }
}

/// Blocking calls need no io_uring; a folder in memory is no disk, and there is nothing to test.
#[test]
fn durable_writes_share_flushes() {
    let counters = match Runtime::Epoll.run(CoreSpec::new("raw"), Exercise).expect("epoll") {
        Ok(counters) => counters,
        Err(reason) => return assert!(reason.contains("in memory"), "{reason}"),
    };
    assert_eq!(counters.writes, 21);
    assert_eq!(counters.written_bytes, 16 * 4096 + (5 << 20));
    assert_eq!(counters.read_bytes, 1 << 20);
    assert_eq!(counters.user_bytes, counters.read_bytes + counters.written_bytes);
    let shared = counters.flushes - 5;
    assert!((1..=16).contains(&shared), "{shared} flushes for 16 overwrites at once");
}
