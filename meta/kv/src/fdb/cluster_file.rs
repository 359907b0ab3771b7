//! The file that names a cluster. It is read here before the library sees it, because the library
//! takes any path and then waits for the cluster for ever.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Why a cluster file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFileError {
    /// It is missing, or may not be read.
    #[error("cluster file {}: {source}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("cluster file {}: no line `text:id@host:port,...` but {found}", path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// The library takes paths as text without zero bytes.
    #[error("cluster file {}: the path is not UTF-8 text", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
}

/// Checks the file at `path` and gives the path as the library takes it.
pub(super) fn checked(path: &Path) -> Result<&str, ClusterFileError> {
    let text = path.to_str().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| ClusterFileError::Path { path: path.to_owned() })?;
    let content = fs::read_to_string(path)
        .map_err(|source| ClusterFileError::Unreadable { path: path.to_owned(), source })?;
    check(&content)
        .map_err(|found| ClusterFileError::Malformed { path: path.to_owned(), found })?;
    Ok(text)
}

/// One line that names a cluster, beside comments; otherwise what there is instead.
fn check(content: &str) -> Result<(), String> {
    let lines = content.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let [line] = lines[..] else { return Err(format!("{} lines", lines.len())) };
    let named = line.split_once('@').is_some_and(|(cluster, coordinators)| {
        let described = cluster.split_once(':').is_some_and(|(text, id)| {
            !text.is_empty() && !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        described && coordinators.split(',').all(|coordinator| coordinator.contains(':'))
    });
    if named { Ok(()) } else { Err(format!("{line:?}")) }
}
