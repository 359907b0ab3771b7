//! Which source a failure belongs to: a seed means a world only together with its commit.

use std::process::{Command, Stdio};

/// The commit that is checked out, with a mark when tracked files differ from it; "unknown" outside
/// a repository or without git.
pub fn commit() -> String {
    let git = |words: &[&str]| {
        let done = Command::new("git").args(words).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(done.stdout).ok()?;
        done.status.success().then(|| text.trim().to_owned())
    };
    match git(&["rev-parse", "HEAD"]) {
        None => "unknown".to_owned(),
        Some(commit) => match git(&["status", "--porcelain", "--untracked-files=no"]) {
            Some(changes) if changes.is_empty() => commit,
            _ => format!("{commit} with changes"),
        },
    }
}
