//! readdir: pages of a directory, in an order that only the service knows.
//!
//! Invariants
//!   E465  an entry that is there while all pages are read is on exactly one of them, with one
//!         cookie for its life, whoever reads and however often

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use meta_schema::Errno;

use crate::expect::Expect;
use crate::run::{Errors, READ, Run, SEARCH};
use crate::world::{Entry, Kind, NodeId, World};

/// Cookies of entries are above: smaller ones are places of "." and "..".
const COOKIE_MIN: u64 = 8;
/// The largest cookie: 63 bits.
const COOKIE_MAX: u64 = i64::MAX as u64;

/// A page that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) dir: NodeId,
    /// Entries behind this place.
    pub(crate) after: u64,
    pub(crate) limit: u32,
    /// With attributes: they were asked for, and the caller may search the directory.
    pub(crate) shows: bool,
}

impl Run<'_> {
    /// POSIX readdir(), of which opendir() checks the rights: each page does it again.
    pub(crate) fn readdir(
        &mut self,
        ino: u64,
        after: u64,
        limit: u32,
        plus: bool,
    ) -> Result<Expect, Errors> {
        let dir = self.find(ino)?;
        let mut errors = Errors::default();
        if self.world.node(dir).is_directory() {
            errors.join(self.need(dir, READ));
        } else {
            errors.when(true, Errno::ENOTDIR);
        }
        errors.when(limit == 0, Errno::EINVAL);
        errors.check()?;
        let shows = plus && self.may(dir, SEARCH);
        Ok(Expect::Page(Page { dir, after, limit, shows }))
    }
}

impl World {
    /// Judges the names and cookies of a page: `end` says that nothing is behind it.
    pub(crate) fn read_page(
        &mut self,
        page: Page,
        found: &[(&[u8], u64)],
        end: bool,
    ) -> Result<(), String> {
        if (page.limit as usize) < found.len() {
            return Err(format!("{} entries, at most {} were asked for", found.len(), page.limit));
        }
        if found.is_empty() && !end && 0 < page.limit {
            return Err("no entries and no end: a reader would ask for ever".into());
        }
        let Kind::Directory(directory) = &mut self.node_mut(page.dir).kind else {
            unreachable!("pages are of directories");
        };
        let mut last = page.after;
        for (name, cookie) in found {
            let name_text = name.escape_ascii();
            let Some(entry) = directory.entries.get_mut(*name) else {
                return Err(format!("entry \"{name_text}\" is not there"));
            };
            if *cookie <= last || !(COOKIE_MIN..=COOKIE_MAX).contains(cookie) {
                return Err(format!("cookie {cookie} of \"{name_text}\" behind {last}"));
            }
            entry.see(*cookie).map_err(|why| format!("entry \"{name_text}\": {why}"))?;
            last = *cookie;
        }
        let walked = (page.after, if end { u64::MAX } else { last });
        for (name, entry) in &mut directory.entries {
            if !found.iter().any(|(other, _)| other == name) {
                let text = name.escape_ascii();
                entry.miss(walked).map_err(|why| format!("entry \"{text}\" {why}"))?;
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Readdir found it at `cookie`.
    fn see(&mut self, cookie: u64) -> Result<(), String> {
        if let Some(before) = self.cookie.filter(|before| *before != cookie) {
            return Err(format!("cookie {cookie}, it was {before}"));
        }
        if let Some((after, to)) = self.not_in.iter().find(|(a, b)| *a < cookie && cookie <= *b) {
            return Err(format!("cookie {cookie} lies in {after}..={to}, read without it"));
        }
        self.cookie = Some(cookie);
        self.not_in.clear();
        Ok(())
    }

    /// Readdir walked `(after, to]` without it.
    fn miss(&mut self, (after, to): (u64, u64)) -> Result<(), String> {
        if let Some(cookie) = self.cookie {
            if after < cookie && cookie <= to {
                return Err(format!("at {cookie} is missing between {after} and {to}"));
            }
            return Ok(());
        }
        if after < to {
            self.not_in.push((after, to));
        }
        self.not_in.sort_unstable();
        // Where may it still be? Above the reserved cookies, outside all ranges.
        let mut free = COOKIE_MIN - 1;
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (a, b) in &self.not_in {
            match merged.last_mut() {
                Some(last) if *a <= last.1 => last.1 = last.1.max(*b),
                _ => merged.push((*a, *b)),
            }
        }
        self.not_in = merged;
        for (a, b) in &self.not_in {
            if *a <= free {
                free = free.max(*b);
            }
        }
        if COOKIE_MAX <= free {
            return Err("was on no page".into());
        }
        Ok(())
    }
}
