//! What a check reports, and how a person or a program reads it.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

/// One place that breaks one rule. `line` counts from 1; 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) check: &'static str,
    pub(crate) what: String,
    pub(crate) why: &'static str,
    pub(crate) fix: String,
}

impl Finding {
    fn json(&self) -> Value {
        json!({ "file": self.file, "line": self.line, "check": self.check,
                "what": self.what, "why": self.why, "fix": self.fix })
    }
}

/// Escape codes, when a terminal reads them.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For standard output; `NO_COLOR` (any value) switches it off.
    pub(crate) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    /// Without escape codes, for tests of what is printed.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self(false)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints for a person: place and fact, then reason and remedy.
pub(crate) fn print(findings: &[Finding], out: &mut impl Write, paint: Paint) -> io::Result<()> {
    for finding in findings {
        let place = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}", finding.file),
        };
        writeln!(out, "{}: [{}] {}", paint.bold(&place), finding.check, finding.what)?;
        writeln!(out, "    why: {}\n    fix: {}", finding.why, finding.fix)?;
    }
    match findings.len() {
        0 => writeln!(out, "{}", paint.green("tidy: nothing found")),
        count => writeln!(out, "{}", paint.red(&format!("tidy: {count} findings"))),
    }
}

/// Prints one array, for programs.
pub(crate) fn print_json(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let all: Vec<Value> = findings.iter().map(Finding::json).collect();
    writeln!(out, "{:#}", Value::Array(all))
}
