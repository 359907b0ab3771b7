//! SetBlocks: remembers what the chains said of the space that a file takes.
//!
//! `st_blocks` is asked of the chains by whoever wants it, and kept with the `change` at which they
//! were asked: until the file changes, nobody has to ask again. It is no change of the file: no
//! time moves. What is out of date is dropped without a word.
//!
//! Conflict set: inode. Written: inode. Round trips: 1.

use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::{AllocatedBytes, Errno};

use crate::halt::{Stop, refused};
use crate::view::View;

/// Keeps the bytes that were found.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    asked: &ask::SetBlocks,
) -> Result<Answer, Stop> {
    let &ask::SetBlocks { ino, at_change, bytes } = asked;
    let mut found = view.known(ino, ReadMode::Conflict).await?;
    let is_current = found.inode.change == at_change;
    let Some(file) = found.inode.file_mut() else {
        return Err(refused(Errno::EINVAL, format_args!("{ino} is no file")));
    };
    if is_current {
        file.allocated = Some(AllocatedBytes { at_change, bytes });
        view.put_inode(ino, &found.inode)?;
    }
    Ok(Answer::Done)
}
