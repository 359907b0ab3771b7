//! What tests of all nouns share.

use core::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io};

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

/// What was printed: a place for output.
#[derive(Clone, Default)]
pub(crate) struct Paper(Rc<RefCell<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    /// Its lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.borrow().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}
