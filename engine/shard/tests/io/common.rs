//! A store in a file without a name, on any runtime.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use engine_runtime::{Bytes, CoreSpec, Env};
use engine_shard::CreateOptions;
use engine_store::{Slot, TargetPhase, TargetRecord};
use engine_types::{ChainId, ChainVersion, ClusterId, Incarnation, TargetId};

/// A file that is gone with the last process that holds it, whatever ends it.
pub(crate) struct Unnamed {
    file: File,
}

impl Unnamed {
    /// In the folder that cargo gives to tests: a real file system.
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}-{}", std::process::id()));
        let mut options = File::options();
        let mut file = options.read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // glommio tries polled I/O on the first page, or on a file beside one that has none.
        file.write_all(&[0; 4096]).unwrap();
        Self { file }
    }

    /// A path under which this process and its children reach it while this one lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

/// The smallest store but for its segments.
pub(crate) fn options() -> CreateOptions {
    CreateOptions {
        cluster: ClusterId::new(3),
        size: Some(1 << 30),
        journal_bytes: Some(2 << 20),
        index_bytes: Some(1 << 20),
        dedup_channels: Some(4096),
        force: true,
    }
}

/// The slot that all chunks are on.
pub(crate) const SLOT: Slot = Slot::new(0);

/// What is put there.
pub(crate) fn target() -> TargetRecord {
    TargetRecord {
        target: TargetId::new(5),
        chain: ChainId::new(6).unwrap(),
        chain_version: ChainVersion::new(1),
        incarnation: Incarnation::default(),
        named: None,
        phase: TargetPhase::Active,
    }
}

/// A core for a test.
pub(crate) fn core(name: &str) -> CoreSpec {
    CoreSpec { seed: Some(1), ..CoreSpec::new(name) }
}

/// Bytes in a buffer of the pool.
pub(crate) async fn bytes<E: Env>(env: &E, data: &[u8]) -> Bytes<E::Memory> {
    let mut buf = env.pool().alloc_wait(data.len()).await.unwrap();
    buf.extend_from_slice(data);
    buf.freeze()
}
