//! What tests of all nouns share.

use std::fs;
use std::path::PathBuf;

/// A folder on the disk that holds the build, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// `name` is unique among tests.
    pub(crate) fn new(name: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        let folder = test.with_file_name(format!("emberfs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a former process of the same id
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the next build cleans up what is left
    }
}
