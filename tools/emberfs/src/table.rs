//! Aligned columns, printed as they fill.
//!
//! Widths come from the first rows, so that a table of any length is printed in constant memory;
//! a later cell that is wider pushes its line to the right and nothing else.

use crate::exit::OutputError;
use crate::output::{Colour, Output, Style};

#[cfg(test)]
mod tests;

/// Rows whose widths count before the first is printed: some screens.
const ROWS_MEASURED: usize = 512;
/// Between columns.
const GAP: &str = "  ";

/// Text of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// `text` in a colour.
    pub(crate) fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: text.into(), colour: Some(colour) }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Self {
        Self { text: value.to_string(), colour: None }
    }
}

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A title and an alignment.
pub(crate) type Column = (&'static str, Align);

/// A table under way.
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    waiting: Vec<Vec<Cell>>,
    started: bool,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let widths = columns.iter().map(|(title, _)| width(title)).collect();
        Self { columns: columns.to_vec(), widths, waiting: Vec::new(), started: false }
    }

    /// Adds a row; prints when the widths are known.
    pub(crate) fn row(&mut self, out: &mut Output, cells: Vec<Cell>) -> Result<(), OutputError> {
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell per column");
        if !self.started {
            for (width_max, cell) in self.widths.iter_mut().zip(&cells) {
                *width_max = width(&cell.text).max(*width_max);
            }
        }
        self.waiting.push(cells);
        if self.started || ROWS_MEASURED <= self.waiting.len() {
            self.print(out)?;
        }
        Ok(())
    }

    /// Prints what waits; a table without rows is its header.
    pub(crate) fn finish(mut self, out: &mut Output) -> Result<(), OutputError> {
        self.print(out)
    }

    fn print(&mut self, out: &mut Output) -> Result<(), OutputError> {
        if !self.started {
            self.started = true;
            let title = |(title, _): &Column| Cell::coloured(*title, Colour::Bold);
            let titles: Vec<Cell> = self.columns.iter().map(title).collect();
            out.line(&self.line(out.style, &titles))?;
        }
        for row in core::mem::take(&mut self.waiting) {
            out.line(&self.line(out.style, &row))?;
        }
        Ok(())
    }

    fn line(&self, style: Style, cells: &[Cell]) -> String {
        let mut line = String::new();
        let last = cells.len() - 1;
        for (index, cell) in cells.iter().enumerate() {
            let blanks = " ".repeat(self.widths[index].saturating_sub(width(&cell.text)));
            let text = style.paint(cell.colour, &cell.text);
            match self.columns[index].1 {
                Align::Right => line.extend([blanks.as_str(), &text]),
                Align::Left => line.extend([text.as_str(), &blanks]),
            }
            if index < last {
                line.push_str(GAP);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Prints names and values below each other.
pub(crate) fn facts(out: &mut Output, facts: &[(&str, Cell)]) -> Result<(), OutputError> {
    let names = facts.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    for (name, value) in facts {
        let text = out.style.paint(value.colour, &value.text);
        out.line(&format!("{name:<names$}{GAP}{text}"))?;
    }
    Ok(())
}

/// Columns on a terminal; everything that is printed here takes one each.
fn width(text: &str) -> usize {
    text.chars().count()
}
