//! Types and modes of inodes, as `stat` shows them.

use core::fmt;

/// What an inode is (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A file with bytes.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket in the file system.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Bits of `st_mode` that say the type.
const TYPE_MASK: u32 = 0o170_000;

impl FileType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Regular,
        Self::Directory,
        Self::Symlink,
        Self::Fifo,
        Self::Socket,
        Self::CharDevice,
        Self::BlockDevice,
    ];

    /// Its bits of `st_mode` (inode(7)).
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type that `st_mode` says, or nothing if it says none. mknod(2) takes no type for a
    /// regular file; that is for its caller to know.
    pub const fn from_mode_bits(mode: u32) -> Option<Self> {
        Some(match mode & TYPE_MASK {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// The number in `d_type` (readdir(3)), and in our own encodings.
    pub const fn code(self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "four bits are left")]
        let code = (self.mode_bits() >> 12) as u8;
        code
    }

    /// The inverse of `code`.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code < 16 { Self::from_mode_bits((code as u32) << 12) } else { None }
    }

    /// True for a directory.
    pub const fn is_directory(self) -> bool {
        matches!(self, Self::Directory)
    }

    /// True for character and block devices.
    pub const fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "regular file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
        })
    }
}

/// Twelve bits: setuid, setgid, sticky, and what owner, group and others may do.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

impl Mode {
    /// All twelve bits.
    pub const ALL: Self = Self(0o7777);
    /// Run with the owner's id.
    pub const SETUID: Self = Self(0o4000);
    /// Run with the group's id; of a directory: what is created in it belongs to its group.
    pub const SETGID: Self = Self(0o2000);
    /// Of a directory: only owners remove entries.
    pub const STICKY: Self = Self(0o1000);
    /// The group may execute.
    pub const GROUP_EXECUTE: Self = Self(0o0010);

    /// The lower twelve bits; those of the type are not among them.
    pub const fn new(bits: u32) -> Self {
        Self((bits & 0o7777) as u16)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// `st_mode` of an inode of `kind`.
    pub const fn with_type(self, kind: FileType) -> u32 {
        kind.mode_bits() | self.0 as u32
    }

    /// True if every bit of `bits` is set.
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// With `bits` set.
    #[must_use]
    pub const fn with(self, bits: Self) -> Self {
        Self(self.0 | bits.0)
    }

    /// With `bits` cleared.
    #[must_use]
    pub const fn without(self, bits: Self) -> Self {
        Self(self.0 & !bits.0)
    }

    /// Those of its bits that are in `bits`.
    #[must_use]
    pub const fn only(self, bits: Self) -> Self {
        Self(self.0 & bits.0)
    }

    /// What the owner may.
    pub const fn owner(self) -> AccessMask {
        AccessMask::from_bits_cut(self.0 >> 6)
    }

    /// What the group class may: the group, or the mask of an ACL.
    pub const fn group(self) -> AccessMask {
        AccessMask::from_bits_cut(self.0 >> 3)
    }

    /// What others may.
    pub const fn other(self) -> AccessMask {
        AccessMask::from_bits_cut(self.0)
    }

    /// With other permissions, and the same setuid, setgid and sticky bits.
    #[must_use]
    pub const fn with_classes(
        self,
        owner: AccessMask,
        group: AccessMask,
        other: AccessMask,
    ) -> Self {
        let bits = (owner.0 as u16) << 6 | (group.0 as u16) << 3 | other.0 as u16;
        Self(self.0 & 0o7000 | bits)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06o}", self.0)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// What somebody wants to do, or may: read, write, execute (or search), as access(2) has them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessMask(u8);

impl AccessMask {
    /// Nothing: asks only whether it exists (`F_OK`).
    pub const NONE: Self = Self(0);
    /// Execute a file, search a directory (`X_OK`).
    pub const EXECUTE: Self = Self(1);
    /// Write (`W_OK`).
    pub const WRITE: Self = Self(2);
    /// Read (`R_OK`).
    pub const READ: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Nothing if there are other bits than three.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 7 { Some(Self(bits)) } else { None }
    }

    const fn from_bits_cut(bits: u16) -> Self {
        Self((bits & 7) as u8)
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True if every bit of `wanted` is set.
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// As `ls` writes it: `rwx`, `r--`.
impl fmt::Display for AccessMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(4, "r"), (2, "w"), (1, "x")] {
            f.write_str(if self.0 & bit == 0 { "-" } else { letter })?;
        }
        Ok(())
    }
}

impl fmt::Debug for AccessMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
