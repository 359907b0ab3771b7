//! What tests of the verbs share: a folder, a core, paper, and stores made by hand.

use core::cell::RefCell;
use std::fs;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engine_runtime::CoreSpec;
use engine_runtime::monoio::MonoioEnv;
use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_store::format::{FormatOptions, Layout, Superblock};
use engine_types::{ClusterId, StoreId, WallTime};

use crate::output::Output;
pub(super) use crate::testing::Folder;

/// Names of the stores that are made here.
pub(super) const CLUSTER: ClusterId = ClusterId::new(0xc1);
/// See [`CLUSTER`].
pub(super) const STORE: StoreId = StoreId::new(0x57);
/// Size of the stores that are made here.
pub(super) const SIZE: u64 = 1 << 30;

impl Folder {
    /// A sparse file of `size` bytes with `bytes` at places.
    pub(super) fn file(&self, name: &str, size: u64, put: &[(u64, &[u8])]) -> PathBuf {
        let path = self.path(name);
        let file = fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (position, bytes) in put {
            file.write_all_at(bytes, *position).unwrap();
        }
        path
    }

    /// A store with these superblocks, and no more.
    pub(super) fn store(&self, name: &str, a: &Superblock, b: &Superblock) -> PathBuf {
        self.file(name, SIZE, &[(0, &page(a)), (0x10000, &page(b))])
    }
}

/// A superblock as it stands on a device.
pub(super) fn page(superblock: &Superblock) -> [u8; SUPERBLOCK_BYTES] {
    let mut page = [0; SUPERBLOCK_BYTES];
    superblock.encode(&mut page);
    page
}

/// The superblock of a new store; `sequence` says which copy it is.
pub(super) fn superblock(sequence: u64) -> Superblock {
    let options = FormatOptions { journal_bytes: Some(2 << 20), ..FormatOptions::new(SIZE) };
    let layout = Layout::plan(&options).unwrap();
    let created = WallTime::from_nanos(1_735_689_600_000_000_000);
    Superblock { sequence, ..Superblock::fresh(CLUSTER, STORE, created, layout, 7) }
}

/// Runs a core.
pub(super) fn on_core<T: 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce(MonoioEnv) -> F + 'static,
) -> T {
    engine_runtime::monoio::run(CoreSpec::new("test"), main).unwrap()
}

/// What a verb printed.
#[derive(Clone, Default)]
pub(super) struct Paper(Rc<RefCell<Vec<u8>>>);

impl Paper {
    /// An output that prints here.
    pub(super) fn output(&self, json: bool) -> Output {
        Output::to(self.clone(), json)
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }

    /// One document per line.
    pub(super) fn documents(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Superblocks and journal of a file, its length, and when it was written last: to see that nothing
/// has changed.
pub(super) fn content(path: &Path) -> (Vec<u8>, u64, (i64, i64)) {
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().take(4 << 20).read_to_end(&mut bytes).unwrap();
    let data = fs::metadata(path).unwrap();
    (bytes, data.len(), (data.mtime(), data.mtime_nsec()))
}
