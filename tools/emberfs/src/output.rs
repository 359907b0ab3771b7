//! Standard output: text for people, JSON for programs, colours for terminals.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::OutputError;

/// A colour, for meaning only: what it says is said in words as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// As it should be.
    Green,
    /// Damaged or refused.
    Red,
    /// Titles.
    Bold,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// No colours.
    pub(crate) const PLAIN: Self = Self { colours: false };

    /// As `stream` allows: it is a terminal, and the environment does not object (`NO_COLOR`, a
    /// terminal that calls itself dumb).
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colours: stream.is_terminal() && !refused && !dumb }
    }

    /// `text` in a colour, or as it is.
    pub(crate) fn paint(self, colour: Option<Colour>, text: &str) -> String {
        let code = match colour {
            _ if !self.colours => return text.to_owned(),
            None => return text.to_owned(),
            Some(Colour::Green) => "32",
            Some(Colour::Red) => "31",
            Some(Colour::Bold) => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Tells on standard error what does not keep a command from its result.
pub(crate) fn warn(what: &str) {
    let name = Style::of(&io::stderr()).paint(Some(Colour::Red), "emberfs: warning:");
    eprintln!("{name} {what}");
}

/// Where results go.
pub(crate) struct Output {
    /// One JSON document per line instead of text.
    pub(crate) json: bool,
    pub(crate) style: Style,
    sink: Box<dyn Write>,
}

impl Output {
    /// Standard output.
    pub(crate) fn standard(json: bool) -> Self {
        let stdout = io::stdout();
        let style = if json { Style::PLAIN } else { Style::of(&stdout) };
        Self { json, style, sink: Box::new(io::BufWriter::new(stdout)) }
    }

    /// Some other place, without colours.
    #[cfg(test)]
    pub(crate) fn to(sink: impl Write + 'static, json: bool) -> Self {
        Self { json, style: Style::PLAIN, sink: Box::new(sink) }
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), OutputError> {
        writeln!(self.sink, "{text}").map_err(OutputError)
    }

    /// One JSON document on a line of its own.
    pub(crate) fn document(&mut self, document: &impl Serialize) -> Result<(), OutputError> {
        serde_json::to_writer(&mut self.sink, document)
            .map_err(io::Error::from)
            .and_then(|()| self.sink.write_all(b"\n"))
            .map_err(OutputError)
    }

    /// Everything is written; an error here is still one of the command.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        self.sink.flush().map_err(OutputError)
    }
}
