//! Random data for what is written.

use engine_runtime::{Bytes, Env, OpenOptions};
use engine_types::Rng;

use super::device::Place;

/// `len` random bytes in memory of the core.
///
/// # Errors
/// When the pool has no room.
pub(crate) fn random_bytes<E: Env>(
    env: &E,
    random: &mut Rng,
    len: u32,
) -> Result<Bytes<E::Memory>, String> {
    let len = usize::try_from(len).expect("32 bits fit");
    let mut buf = env.pool().alloc(len).map_err(|full| full.to_string())?;
    // Memory of a pool comes in whole sectors: every word is whole.
    for word in buf.whole_mut().as_chunks_mut().0 {
        *word = random.next_u64().to_le_bytes();
    }
    buf.set_len(len);
    Ok(buf.freeze())
}

/// Opens `place` for the runtime's own I/O.
///
/// # Errors
/// What the device answered.
pub(crate) async fn open<E: Env>(env: &E, place: &Place) -> Result<E::File, String> {
    let options = OpenOptions { write: true, ..OpenOptions::default() };
    env.open(&place.path, options).await.map_err(|error| error.to_string())
}
