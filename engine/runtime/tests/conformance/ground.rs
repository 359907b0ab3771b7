//! What a case stands on.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use engine_runtime::{Buf, Bytes, CoreSpec, Env};
use engine_types::Instant;

/// The place of one run of one case.
pub(crate) struct Ground {
    /// Exists and is empty.
    pub(crate) directory: PathBuf,
    /// A block device of [`DEVICE_BYTES`]; `None` where a case has to make its own.
    pub(crate) device: Option<PathBuf>,
    /// To listen on; its port is 0.
    pub(crate) address: SocketAddr,
    /// Whether there is a real kernel, with other threads, descriptors and signals.
    pub(crate) real: bool,
    /// Bytes that count as many here.
    pub(crate) bulk_bytes: usize,
}

/// What the core of a case is given: small limits, so that cases reach them.
pub(crate) fn spec(name: &str) -> CoreSpec {
    CoreSpec {
        pool_bytes: POOL_BYTES,
        blocking_max: BLOCKING_MAX,
        seed: Some(SEED),
        ..CoreSpec::new(name)
    }
}

/// Memory of the core of a case.
pub(crate) const POOL_BYTES: usize = 16 << 20;
/// Blocking calls at once of the core of a case.
pub(crate) const BLOCKING_MAX: usize = 3;
/// Seed of the core of a case.
pub(crate) const SEED: u64 = 7;
/// Sector, and the alignment of every file that cases use.
pub(crate) const SECTOR: usize = 4096;

/// Size of the block device of a case.
pub(crate) const DEVICE_BYTES: u64 = 8 << 20;

impl Ground {
    /// A path in the directory of this case.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Waits a little: long enough for what has been started to be under way, never for an outcome.
pub(crate) async fn a_moment<E: Env>(env: &E) {
    let at = after(env, Duration::from_millis(5));
    env.sleep_until(at).await;
}

/// Waits until `condition` holds. The hang guard ends what never does.
pub(crate) async fn eventually<E: Env>(env: &E, mut condition: impl FnMut() -> bool) {
    while !condition() {
        a_moment(env).await;
    }
}

/// The time in `duration`.
pub(crate) fn after<E: Env>(env: &E, duration: Duration) -> Instant {
    env.now().saturating_add(duration)
}

/// Far enough away for everything that should end before it.
pub(crate) fn far<E: Env>(env: &E) -> Instant {
    after(env, Duration::from_secs(30))
}

/// Byte `index` of the stream `stream`: neighbours, pages and streams differ.
pub(crate) fn pattern(stream: u64, index: usize) -> u8 {
    let mixed = (stream << 40 ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// A full buffer of bytes `start ..` of a stream.
pub(crate) async fn filled<E: Env>(
    env: &E,
    stream: u64,
    start: usize,
    len: usize,
) -> Buf<E::Memory> {
    let mut buf = env.pool().alloc_wait(len).await.expect("cases ask for less than the pool has");
    buf.set_len(len);
    fill(&mut buf.whole_mut()[..len], stream, start);
    buf
}

/// The same, frozen.
pub(crate) async fn bytes<E: Env>(
    env: &E,
    stream: u64,
    start: usize,
    len: usize,
) -> Bytes<E::Memory> {
    filled(env, stream, start, len).await.freeze()
}

/// Writes bytes `start ..` of a stream.
pub(crate) fn fill(into: &mut [u8], stream: u64, start: usize) {
    for (index, byte) in into.iter_mut().enumerate() {
        *byte = pattern(stream, start + index);
    }
}

/// Panics at the first byte that is not byte `start ..` of a stream.
pub(crate) fn check(found: &[u8], stream: u64, start: usize) {
    for (index, &byte) in found.iter().enumerate() {
        let expected = pattern(stream, start + index);
        assert_eq!(byte, expected, "byte {} of stream {stream}", start + index);
    }
}
