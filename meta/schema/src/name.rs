//! Names, paths and targets of links: which there are.
//!
//! Names are bytes, as in Linux: any but NUL and '/'. POSIX.1-2017 4.13 (pathname resolution) and
//! path_resolution(7) say what follows from the others.

use crate::errno::Errno;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_NAME_BYTES_MAX};

/// What a name says besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component<'a> {
    /// ".": the directory itself.
    Current,
    /// "..": its parent.
    Parent,
    /// An entry.
    Name(&'a [u8]),
}

/// Checks a name that an entry has or is to have.
///
/// # Errors
/// - ENOENT: no bytes (POSIX: "a null pathname shall not be successfully resolved")
/// - ENAMETOOLONG: more than 255
/// - EINVAL: '/' or NUL in it, which no path can say; "." and "..", whose meaning is the caller's
pub fn check(name: &[u8]) -> Result<(), Errno> {
    match component(name)? {
        Component::Name(_) => Ok(()),
        Component::Current | Component::Parent => Err(Errno::EINVAL),
    }
}

/// What one component of a path means.
///
/// # Errors
/// As [`check`], but "." and ".." are known.
pub fn component(name: &[u8]) -> Result<Component<'_>, Errno> {
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if NAME_BYTES_MAX < name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(Errno::EINVAL);
    }
    Ok(match name {
        b"." => Component::Current,
        b".." => Component::Parent,
        name => Component::Name(name),
    })
}

/// Checks the target of a symbolic link (symlink(2)).
///
/// # Errors
/// - ENOENT: no bytes
/// - ENAMETOOLONG: more than 4,095
/// - EINVAL: NUL in it
pub fn check_target(target: &[u8]) -> Result<(), Errno> {
    check_text(target, SYMLINK_BYTES_MAX)
}

/// Checks a path as a whole; [`components`] takes it apart.
///
/// # Errors
/// - ENOENT: no bytes
/// - ENAMETOOLONG: more than 4,095
/// - EINVAL: NUL in it
pub fn check_path(path: &[u8]) -> Result<(), Errno> {
    check_text(path, PATH_BYTES_MAX)
}

fn check_text(text: &[u8], bytes_max: usize) -> Result<(), Errno> {
    if text.is_empty() {
        return Err(Errno::ENOENT);
    }
    if bytes_max < text.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.contains(&0) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The components of a path between its slashes; repeated ones count as one (POSIX 3.271). Whether
/// the path begins or ends with a slash is for the caller: see [`wants_directory`].
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
}

/// True if the path ends with a slash: then what it names has to be a directory, and a symbolic
/// link at its end is followed (POSIX 4.13).
pub fn wants_directory(path: &[u8]) -> bool {
    path.last() == Some(&b'/')
}

/// Checks the name of an extended attribute; [`crate::xattr`] says who may use it.
///
/// # Errors
/// - ERANGE: no bytes, or more than 255 (setxattr(2) by way of the kernel's `strncpy_from_user`)
/// - EINVAL: NUL in it
pub fn check_xattr(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() || XATTR_NAME_BYTES_MAX < name.len() {
        return Err(Errno::ERANGE);
    }
    if name.contains(&0) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
