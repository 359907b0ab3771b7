//! The last lines of a log, for whoever reads of a failure.

use core::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Lines that are told: what led to an end stands in its last ones.
const LINES_MAX: usize = 8;
/// Bytes that are read for them.
const BYTES_MAX: u64 = 4096;

/// The last lines of a log. Printed, each stands on a line of its own, indented.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail(Vec<String>);

impl Tail {
    /// Of a file; nothing of one that cannot be read, because another failure is being told.
    pub(crate) fn of(path: &Path) -> Self {
        Self::read(path).unwrap_or_default()
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let from = len.saturating_sub(BYTES_MAX);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self::last(&String::from_utf8_lossy(&bytes), 0 < from))
    }

    /// Of a text, whose first line may have been cut.
    pub(crate) fn last(text: &str, cut: bool) -> Self {
        let lines: Vec<&str> = text.lines().skip(usize::from(cut)).collect();
        let lines = lines.iter().rev().filter(|line| !line.trim().is_empty()).take(LINES_MAX);
        let mut lines: Vec<String> = lines.map(|line| (*line).to_owned()).collect();
        lines.reverse();
        Self(lines)
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whole() {
        let text: String = (0..20).map(|n| format!("line {n}\n\n")).collect();
        let tail = Tail::last(&text, false);
        assert_eq!(tail.lines().len(), LINES_MAX);
        assert_eq!(tail.lines().last().unwrap(), "line 19");
        assert_eq!(Tail::last("half\nwhole\n", true).lines(), ["whole"]);
        assert_eq!(Tail::last("a\nb", false).to_string(), "\n    a\n    b");
        assert_eq!(Tail::of(Path::new("/no such file")), Tail::default());
    }
}
