//! Access control lists as Linux has them: acl(5) and POSIX.1e draft 17.
//!
//! ```text
//! Acl        list of: tag u8, permissions u8, id u32 (0 where the tag has none)
//! tag        1 owner, 2 user, 4 group of the inode, 8 group, 16 mask, 32 other
//! ```
//! A list has exactly one entry of the owner, the inode's group and others, any number of users and
//! groups, and a mask, which it has to have with users or groups. An ACL of three entries says what
//! the mode says and is not kept (E405).

mod linux;

use alloc::vec::Vec;

use engine_types::fields::{DecodeError, Reader, Writer};

use crate::codec::{Field, read_count};
use crate::errno::Errno;
use crate::id::{Gid, Uid};
use crate::limits::ACL_ENTRIES_MAX;
use crate::mode::{AccessMask, Mode};

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclTag {
    /// The owner.
    Owner,
    /// Another user.
    User(Uid),
    /// The inode's group.
    OwningGroup,
    /// Another group.
    Group(Gid),
    /// The most that users, groups and the inode's group can have.
    Mask,
    /// Everybody else.
    Other,
}

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AclEntry {
    /// Who.
    pub tag: AclTag,
    /// What.
    pub allowed: AccessMask,
}

/// A valid list, in the order owner, users, group, groups, mask, others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl(Vec<AclEntry>);

/// Which of the two lists of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclKind {
    /// Who may access it.
    Access,
    /// What is created in a directory begins with.
    Default,
}

/// How far a list has got, as the kernel's `posix_acl_valid` goes through it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Owner,
    Users,
    Groups,
    Other,
    End,
}

impl Acl {
    /// Checks what `posix_acl_valid` of the kernel checks: the entries and their order. As there,
    /// one user or group may be named twice; the first entry of a user counts.
    ///
    /// # Errors
    /// - E2BIG: more than 64 entries (as XFS)
    /// - EINVAL: anything else that is wrong
    pub fn new(entries: Vec<AclEntry>) -> Result<Self, Errno> {
        if ACL_ENTRIES_MAX < entries.len() {
            return Err(Errno::E2BIG);
        }
        let mut expect = Expect::Owner;
        let mut named = false;
        for entry in &entries {
            expect = match (entry.tag, expect) {
                (AclTag::Owner, Expect::Owner) => Expect::Users,
                (AclTag::User(uid), Expect::Users) if uid.is_valid() => {
                    named = true;
                    Expect::Users
                }
                (AclTag::OwningGroup, Expect::Users) => Expect::Groups,
                (AclTag::Group(gid), Expect::Groups) if gid.is_valid() => {
                    named = true;
                    Expect::Groups
                }
                (AclTag::Mask, Expect::Groups) => Expect::Other,
                (AclTag::Other, Expect::Other) => Expect::End,
                (AclTag::Other, Expect::Groups) if !named => Expect::End,
                _ => return Err(Errno::EINVAL),
            };
        }
        if expect == Expect::End { Ok(Self(entries)) } else { Err(Errno::EINVAL) }
    }

    /// The ACL of three entries that says what `mode` says (`posix_acl_from_mode`).
    pub fn of_mode(mode: Mode) -> Self {
        let entry = |tag, allowed| AclEntry { tag, allowed };
        Self(alloc::vec![
            entry(AclTag::Owner, mode.owner()),
            entry(AclTag::OwningGroup, mode.group()),
            entry(AclTag::Other, mode.other()),
        ])
    }

    /// Its entries, in their order.
    pub fn entries(&self) -> &[AclEntry] {
        &self.0
    }

    /// True if it says nothing that a mode does not: no users, groups or mask
    /// (`posix_acl_equiv_mode`). Such a one is not kept as access ACL (E405).
    pub fn is_minimal(&self) -> bool {
        self.0.len() == 3
    }

    fn find(&self, tag: AclTag) -> Option<AccessMask> {
        self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.allowed)
    }

    fn set(&mut self, tag: AclTag, allowed: AccessMask) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.tag == tag) {
            entry.allowed = allowed;
        }
    }

    /// What the group class of the mode shows: the mask, or the inode's group without one.
    fn group_class(&self) -> AclTag {
        if self.find(AclTag::Mask).is_some() { AclTag::Mask } else { AclTag::OwningGroup }
    }

    /// `mode` with the permissions that this list says (`posix_acl_equiv_mode`).
    pub fn mode(&self, mode: Mode) -> Mode {
        let of = |tag| self.find(tag).unwrap_or(AccessMask::NONE);
        mode.with_classes(of(AclTag::Owner), of(self.group_class()), of(AclTag::Other))
    }

    /// The list after a chmod (`__posix_acl_chmod_masq`): owner, others and the mask follow it;
    /// without a mask the inode's group does.
    #[must_use]
    pub fn with_mode(&self, mode: Mode) -> Self {
        let mut list = self.clone();
        list.set(AclTag::Owner, mode.owner());
        list.set(self.group_class(), mode.group());
        list.set(AclTag::Other, mode.other());
        list
    }

    /// What a new inode begins with in a directory of which this is the default ACL, created with
    /// `mode` (`posix_acl_create_masq`): its mode, and its ACL unless that says nothing more. The
    /// umask does not take part (acl(5), "Object creation and default ACLs").
    pub fn inherit(&self, mode: Mode) -> (Mode, Option<Self>) {
        let both = Self::mode(self, mode);
        let permissions = Mode::new(0o777);
        let cut = mode.without(permissions).with(mode.only(permissions).only(both));
        let list = self.with_mode(cut);
        (cut, (!list.is_minimal()).then_some(list))
    }

    /// What the list grants to the members of `groups` and to user `uid`, who wants `wanted`, of an
    /// inode of `owner` and `group`: the algorithm of acl(5) ("Access check algorithm").
    ///
    /// The kernel goes past it when the mask is empty and judges users of the list by the entry of
    /// others (`acl_permission_check`); we do not, as that grants what the list denies.
    pub fn permits(
        &self,
        owner: Uid,
        group: Gid,
        uid: Uid,
        in_group: impl Fn(Gid) -> bool,
        wanted: AccessMask,
    ) -> bool {
        let mask = self.find(AclTag::Mask).unwrap_or(AccessMask::ALL);
        let mut member = false;
        for entry in &self.0 {
            let (applies, allowed) = match entry.tag {
                AclTag::Owner => (uid == owner, entry.allowed),
                AclTag::User(user) => (uid == user, entry.allowed.and(mask)),
                AclTag::OwningGroup | AclTag::Group(_) => {
                    let gid = if let AclTag::Group(gid) = entry.tag { gid } else { group };
                    let here = in_group(gid);
                    member |= here;
                    // Of several groups, the first that has all that is wanted counts.
                    (here && entry.allowed.has(wanted), entry.allowed.and(mask))
                }
                AclTag::Mask => (false, AccessMask::NONE),
                AclTag::Other => (!member, entry.allowed),
            };
            if applies {
                return allowed.has(wanted);
            }
        }
        false
    }
}

impl AclTag {
    const fn code(self) -> u8 {
        match self {
            Self::Owner => 1,
            Self::User(_) => 2,
            Self::OwningGroup => 4,
            Self::Group(_) => 8,
            Self::Mask => 16,
            Self::Other => 32,
        }
    }

    const fn from_code(code: u16, id: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Owner,
            2 => Self::User(Uid::new(id)),
            4 => Self::OwningGroup,
            8 => Self::Group(Gid::new(id)),
            16 => Self::Mask,
            32 => Self::Other,
            _ => return None,
        })
    }

    const fn id(self) -> Option<u32> {
        match self {
            Self::User(uid) => Some(uid.get()),
            Self::Group(gid) => Some(gid.get()),
            _ => None,
        }
    }
}

/// Bytes of an entry.
const ENTRY_BYTES: usize = 6;

impl Field for Acl {
    const BYTES_MIN: usize = 4 + 3 * ENTRY_BYTES;

    fn write(&self, out: &mut Writer) {
        out.u32(u32::try_from(self.0.len()).expect("E405: at most 64 entries"));
        for AclEntry { tag, allowed } in &self.0 {
            out.u8(tag.code());
            allowed.write(out);
            out.u32(tag.id().unwrap_or(0));
        }
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = read_count(field, ACL_ENTRIES_MAX, ENTRY_BYTES, from)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let code = from.u8("tag")?;
            let allowed = Field::read("permissions", from)?;
            let id = from.u32("id")?;
            let Some(tag) = AclTag::from_code(code.into(), id) else {
                return Err(from.bad_number("tag", code.into(), "a tag of an ACL"));
            };
            entries.push(AclEntry { tag, allowed });
        }
        Self::new(entries).map_err(|_| from.bad_text(field, "is no valid ACL".into()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
