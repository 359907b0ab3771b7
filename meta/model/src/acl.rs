//! Access control lists as POSIX.1e draft 17 and acl(5) describe them, in the bytes of Linux'
//! `system.posix_acl_*` attributes.
//!
//! Invariants
//!   E464  mode and access list say the same: owner and other classes are equal, the group class
//!         is the mask, or the owning group where there is none

use alloc::vec::Vec;

use crate::who::Who;

/// Version in the first four bytes of the attribute.
const VERSION: u32 = 2;
/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// A list with its required entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    pub(crate) owner: u16,
    pub(crate) users: Vec<(u32, u16)>,
    pub(crate) group: u16,
    pub(crate) groups: Vec<(u32, u16)>,
    pub(crate) mask: Option<u16>,
    pub(crate) other: u16,
}

/// What an attribute's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// No entries at all: the list is removed.
    Nothing,
    /// A list.
    List(Acl),
    /// EINVAL.
    Bad,
    /// EOPNOTSUPP: a version nobody knows.
    Version,
}

impl Acl {
    /// The three entries that say what `mode` says.
    pub(crate) const fn of_mode(mode: u16) -> Self {
        Self {
            owner: mode >> 6 & 7,
            users: Vec::new(),
            group: mode >> 3 & 7,
            groups: Vec::new(),
            mask: None,
            other: mode & 7,
        }
    }

    /// Reads the bytes of an attribute.
    pub(crate) fn parse(bytes: &[u8]) -> Parsed {
        if bytes.is_empty() {
            return Parsed::Nothing;
        }
        let Some((head, body)) = bytes.split_first_chunk::<4>() else { return Parsed::Bad };
        if u32::from_le_bytes(*head) != VERSION {
            return Parsed::Version;
        }
        if body.is_empty() {
            return Parsed::Nothing;
        }
        let (rows, rest) = body.as_chunks::<8>();
        if !rest.is_empty() {
            return Parsed::Bad;
        }
        let entries = rows.iter().map(|row| {
            let [a, b, c, d, id @ ..] = *row;
            (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u32::from_le_bytes(id))
        });
        Self::of_entries(entries).map_or(Parsed::Bad, Parsed::List)
    }

    /// The list of `entries`, which have to come in the order of their tags.
    fn of_entries(entries: impl Iterator<Item = (u16, u16, u32)>) -> Option<Self> {
        let mut acl = Self::of_mode(0);
        let mut tags = Vec::new();
        for (tag, rights, id) in entries {
            let once = tag != USER && tag != GROUP;
            if 7 < rights || tags.last().is_some_and(|last| tag < *last || (once && tag == *last)) {
                return None;
            }
            match tag {
                USER_OBJ => acl.owner = rights,
                USER if id != NO_ID => acl.users.push((id, rights)),
                GROUP_OBJ => acl.group = rights,
                GROUP if id != NO_ID => acl.groups.push((id, rights)),
                MASK => acl.mask = Some(rights),
                OTHER => acl.other = rights,
                _ => return None,
            }
            tags.push(tag);
        }
        let whole = [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|tag| tags.contains(tag));
        let needs_mask = !acl.users.is_empty() || !acl.groups.is_empty();
        (whole && (!needs_mask || acl.mask.is_some())).then_some(acl)
    }

    /// The attribute's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        let mut push = |tag: u16, rights: u16, id: u32| {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        };
        push(USER_OBJ, self.owner, NO_ID);
        self.users.iter().for_each(|(id, rights)| push(USER, *rights, *id));
        push(GROUP_OBJ, self.group, NO_ID);
        self.groups.iter().for_each(|(id, rights)| push(GROUP, *rights, *id));
        if let Some(mask) = self.mask {
            push(MASK, mask, NO_ID);
        }
        push(OTHER, self.other, NO_ID);
        bytes
    }

    /// Entries in any order that mean the same as this list's: named ones sorted.
    pub(crate) fn sorted(mut self) -> Self {
        self.users.sort_unstable();
        self.groups.sort_unstable();
        self
    }

    /// Whether the mode says all of it.
    pub(crate) const fn is_mode(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.mask.is_none()
    }

    /// The nine bits of the mode that stand for this list.
    pub(crate) fn mode(&self) -> u16 {
        self.owner << 6 | self.mask.unwrap_or(self.group) << 3 | self.other
    }

    /// chmod of an inode that has this list.
    pub(crate) fn chmod(&mut self, mode: u16) {
        self.owner = mode >> 6 & 7;
        *self.mask.as_mut().unwrap_or(&mut self.group) = mode >> 3 & 7;
        self.other = mode & 7;
    }

    /// The list that a new inode gets from its directory's default list, and its mode: what the
    /// creator asks for and what the list allows.
    pub(crate) fn inherited(&self, mode: u16) -> (Self, u16) {
        let mut acl = self.clone();
        acl.owner &= mode >> 6;
        let class = acl.mask.as_mut().unwrap_or(&mut acl.group);
        *class &= mode >> 3 & 7;
        acl.other &= mode;
        let bits = acl.mode();
        (acl, mode & !0o777 | bits)
    }

    /// Whether `who`, who is not root, gets all `rights` of an inode of `uid` and `gid`: the
    /// access check algorithm of acl(5), step by step.
    pub(crate) fn grants(&self, who: &Who<'_>, uid: u32, gid: u32, rights: u16) -> bool {
        let has = |entry: u16| entry & rights == rights;
        let mask = self.mask.unwrap_or(7);
        if who.uid == uid {
            return has(self.owner);
        }
        if let Some((_, entry)) = self.users.iter().find(|(id, _)| *id == who.uid) {
            return has(entry & mask);
        }
        let named = self.groups.iter().filter(|(id, _)| who.in_group(*id)).map(|(_, entry)| *entry);
        let owning = who.in_group(gid).then_some(self.group);
        let groups: Vec<u16> = owning.into_iter().chain(named).collect();
        if !groups.is_empty() {
            // One entry has to contain them all; rights of several do not add up.
            return groups.into_iter().any(|entry| has(entry & mask));
        }
        has(self.other)
    }
}

#[cfg(test)]
mod tests;
