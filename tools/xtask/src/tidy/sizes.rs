//! Functions fit a screen and files are read in one sitting; exceptions are listed and shrink.

use crate::finding::Finding;
use crate::rust_source::{functions, tokens};
use crate::tidy::ratchet;
use crate::tree::Tree;

/// Two screens: beyond it the start of a function is out of sight when its end is read.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// Beyond it a file holds more than one subject and wants a split by phase of the protocol.
pub(crate) const FILE_LINES_MAX: usize = 800;

/// A file (`path`) or function (`path::name`) above its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oversized {
    pub(crate) item: String,
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
    pub(crate) limit: usize,
}

/// What is above a limit and not on the list, or on the list and no longer as large.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let listed = tree.get(ratchet::PATH).map_or("", |file| &file.text);
    ratchet::check(listed, &oversized(tree))
}

/// Everything above a limit, in order of the tree.
pub(crate) fn oversized(tree: &Tree) -> Vec<Oversized> {
    let mut found = Vec::new();
    for file in tree.rust() {
        let lines = file.text.lines().count();
        let path = &file.path;
        if lines > FILE_LINES_MAX {
            let (item, path) = (path.clone(), path.clone());
            found.push(Oversized { item, path, line: 0, lines, limit: FILE_LINES_MAX });
        }
        let functions = functions(&tokens(&file.text));
        for (index, function) in functions.iter().enumerate() {
            if function.lines <= FUNCTION_LINES_MAX {
                continue;
            }
            // Methods of two types may share a name; their order in the file tells them apart.
            let namesakes = functions[..index].iter().filter(|f| f.name == function.name).count();
            let suffix = if namesakes == 0 { String::new() } else { format!("#{}", namesakes + 1) };
            found.push(Oversized {
                item: format!("{path}::{}{suffix}", function.name),
                path: path.clone(),
                line: function.line,
                lines: function.lines,
                limit: FUNCTION_LINES_MAX,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests;
