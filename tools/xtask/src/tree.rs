//! The tree that is judged: every file git tracks or would add, so that a check sees a new file
//! before it is committed and never sees build output.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::child;

/// Paths are relative to the root, with `/`. `text` is empty for what is not UTF-8.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the file lies below this folder.
    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// All files, ordered by path.
#[derive(Debug, Default)]
pub(crate) struct Tree(pub(crate) Vec<File>);

impl Tree {
    /// Reads the tree below `root`. Files deleted but still in the index are left out.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let listed = child::output(Command::new("git").current_dir(root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))
        .context("listing the files of the tree")?;
        let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        paths.dedup();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let whole = root.join(path);
            if !whole.is_file() {
                continue;
            }
            let bytes = std::fs::read(&whole).with_context(|| format!("reading {path}"))?;
            let text = String::from_utf8(bytes).unwrap_or_default();
            files.push(File { path: path.to_owned(), text });
        }
        Ok(Self(files))
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.0.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn markdown(&self) -> impl Iterator<Item = &File> {
        self.0.iter().filter(|file| file.is_markdown())
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.0.iter().find(|file| file.path == path)
    }
}

/// The root of the repository that this binary was built from.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root =
        manifest.ancestors().nth(2).context("tools/xtask lies two folders below the root")?;
    Ok(root.to_path_buf())
}

#[cfg(test)]
pub(crate) mod tests;
