//! Randomness: unpredictable bytes from the kernel, and the seed of a core's generator.

use engine_types::Rng;

/// Fills `bytes` from the kernel's generator, waiting at early boot until it is seeded.
pub(crate) fn fill_secret(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: `rest` is valid for writes of its length during the call.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) => {
                let error = std::io::Error::last_os_error();
                // Without entropy no handshake is safe; there is nothing to fall back to.
                let interrupted = error.kind() == std::io::ErrorKind::Interrupted;
                assert!(interrupted, "getrandom answers on Linux 3.17 and later: {error}");
            }
        }
    }
}

/// The generator of one core: from its seed, or from the kernel when none was chosen.
pub(crate) fn rng(seed: Option<u64>) -> Rng {
    Rng::new(seed.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        fill_secret(&mut bytes);
        u64::from_le_bytes(bytes)
    }))
}
