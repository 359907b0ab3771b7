//! The form of ACLs in the extended attributes `system.posix_acl_access` and `_default`
//! (`linux/posix_acl_xattr.h`).
//!
//! ```text
//!   0  version   u32    2
//!   4  entries   tag u16, permissions u16, id u32 (all ones where the tag has none)
//! ```

use alloc::vec::Vec;

use super::{Acl, AclEntry, AclTag};
use crate::errno::Errno;
use crate::mode::AccessMask;

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 8;
/// `ACL_UNDEFINED_ID`.
const NO_ID: u32 = u32::MAX;

impl Acl {
    /// The value of the attribute.
    pub fn to_xattr(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + ENTRY_BYTES * self.entries().len());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for entry in self.entries() {
            bytes.extend_from_slice(&u16::from(entry.tag.code()).to_le_bytes());
            bytes.extend_from_slice(&u16::from(entry.allowed.bits()).to_le_bytes());
            bytes.extend_from_slice(&entry.tag.id().unwrap_or(NO_ID).to_le_bytes());
        }
        bytes
    }

    /// From the value of the attribute (`posix_acl_from_xattr`); nothing for no bytes, and for a
    /// header without entries: both remove the ACL.
    ///
    /// # Errors
    /// - EOPNOTSUPP: another version
    /// - E2BIG: more than 64 entries
    /// - EINVAL: anything else that is wrong
    pub fn from_xattr(value: &[u8]) -> Result<Option<Self>, Errno> {
        if value.is_empty() {
            return Ok(None);
        }
        let (version, rest) = value.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (rows, []) = rest.as_chunks::<ENTRY_BYTES>() else { return Err(Errno::EINVAL) };
        if rows.is_empty() {
            return Ok(None);
        }
        let entries: Result<Vec<_>, Errno> = rows.iter().map(entry).collect();
        Self::new(entries?).map(Some)
    }
}

fn entry(row: &[u8; ENTRY_BYTES]) -> Result<AclEntry, Errno> {
    let [tag_low, tag_high, allowed_low, allowed_high, id @ ..] = *row;
    let tag = u16::from_le_bytes([tag_low, tag_high]);
    let tag = AclTag::from_code(tag, u32::from_le_bytes(id)).ok_or(Errno::EINVAL)?;
    let allowed = u8::try_from(u16::from_le_bytes([allowed_low, allowed_high]));
    let allowed = allowed.ok().and_then(AccessMask::new).ok_or(Errno::EINVAL)?;
    Ok(AclEntry { tag, allowed })
}
