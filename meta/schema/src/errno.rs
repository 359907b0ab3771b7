//! Error numbers that the service answers, as Linux has them.

use core::fmt;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why an operation is refused, in the numbers of Linux (`asm-generic/errno*.h`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Errno {
            $($(#[$doc])* $name,)*
        }

        impl Errno {
            /// All of them, in the order of numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number, as system calls return it.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The inverse of `code`; nothing for a number that no operation answers.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name, as programs write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What `strerror` says.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

errnos! {
    /// The caller is not the owner, or has not the privilege.
    EPERM = 1, "Operation not permitted";
    /// There is no such entry, or the path is empty.
    ENOENT = 2, "No such file or directory";
    /// A wait was given up on the caller's wish.
    EINTR = 4, "Interrupted system call";
    /// The service cannot say; also what an error of a newer service becomes.
    EIO = 5, "Input/output error";
    /// Seek: there is no data behind the offset.
    ENXIO = 6, "No such device or address";
    /// A request names a list that is too long.
    E2BIG = 7, "Argument list too long";
    /// The file is not open in the way the operation needs.
    EBADF = 9, "Bad file descriptor";
    /// Somebody else holds the lock.
    EAGAIN = 11, "Resource temporarily unavailable";
    /// A limit of memory.
    ENOMEM = 12, "Cannot allocate memory";
    /// Mode or ACL do not allow it.
    EACCES = 13, "Permission denied";
    /// It is in use.
    EBUSY = 16, "Device or resource busy";
    /// The name is taken.
    EEXIST = 17, "File exists";
    /// The names lie in different file systems.
    EXDEV = 18, "Invalid cross-device link";
    /// No such device.
    ENODEV = 19, "No such device";
    /// A component of the path is no directory.
    ENOTDIR = 20, "Not a directory";
    /// It is a directory.
    EISDIR = 21, "Is a directory";
    /// The arguments contradict each other or a rule.
    EINVAL = 22, "Invalid argument";
    /// The program is being run.
    ETXTBSY = 26, "Text file busy";
    /// The file would pass its largest size.
    EFBIG = 27, "File too large";
    /// No room.
    ENOSPC = 28, "No space left on device";
    /// The file has no positions.
    ESPIPE = 29, "Illegal seek";
    /// Nothing may be changed here.
    EROFS = 30, "Read-only file system";
    /// The inode has as many links as it can have.
    EMLINK = 31, "Too many links";
    /// The value does not fit into what the caller offers.
    ERANGE = 34, "Numerical result out of range";
    /// Waiting would never end.
    EDEADLK = 35, "Resource deadlock avoided";
    /// A name, path or target is too long.
    ENAMETOOLONG = 36, "File name too long";
    /// The inode has as many locks as it can have.
    ENOLCK = 37, "No locks available";
    /// This is not offered.
    ENOSYS = 38, "Function not implemented";
    /// The directory has entries.
    ENOTEMPTY = 39, "Directory not empty";
    /// Too many symbolic links on the way.
    ELOOP = 40, "Too many levels of symbolic links";
    /// There is no such extended attribute.
    ENODATA = 61, "No data available";
    /// A number does not fit where it belongs.
    EOVERFLOW = 75, "Value too large for defined data type";
    /// This form of the operation is not offered.
    EOPNOTSUPP = 95, "Operation not supported";
    /// What it needs could not be reached in time.
    ETIMEDOUT = 110, "Connection timed out";
    /// The inode is gone.
    ESTALE = 116, "Stale file handle";
    /// A quota is used up.
    EDQUOT = 122, "Disk quota exceeded";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.text())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests;
