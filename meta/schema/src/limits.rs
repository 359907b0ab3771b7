//! Every limit of the namespace, with the reason for its number.

/// Longest name of a directory entry, in bytes: Linux' `NAME_MAX`, and POSIX's `{NAME_MAX}`.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path, in bytes: Linux' `PATH_MAX` of 4,096 counts the NUL behind it.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest target of a symbolic link: it has to fit where a path does.
pub const SYMLINK_BYTES_MAX: usize = PATH_BYTES_MAX;
/// Symbolic links that a walk follows before it is ELOOP: Linux' `MAXSYMLINKS`,
/// path_resolution(7).
pub const SYMLINKS_FOLLOWED_MAX: usize = 40;
/// Longest name that a message carries: longer than any that is valid, so that the service itself
/// says ENAMETOOLONG, and no longer than a path.
pub const NAME_WIRE_BYTES_MAX: usize = 4096;

/// Longest name of an extended attribute: Linux' `XATTR_NAME_MAX`.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// Largest value of an extended attribute: Linux' `XATTR_SIZE_MAX`. A value of the KV has 100 kB.
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
/// Largest list of names of extended attributes: Linux' `XATTR_LIST_MAX`.
pub const XATTR_LIST_BYTES_MAX: usize = 64 << 10;
/// Extended attributes of one inode: their names fill the list at 255 bytes each.
pub const XATTRS_MAX: usize = XATTR_LIST_BYTES_MAX / (XATTR_NAME_BYTES_MAX + 1);

/// Entries of an ACL. ext4 and XFS of version 4 admit 25 to 32; with 64, two lists of an inode
/// stay below 1.5 kB.
pub const ACL_ENTRIES_MAX: usize = 64;
/// Supplementary groups of a caller. Linux admits 65,536, NFS sends 16 and some servers take
/// 1,024: 4 KiB of a request.
pub const GROUPS_MAX: usize = 1024;

/// Links of a file, and subdirectories of a directory plus two: ext4 gives up at 65,000, XFS at
/// 2^31 - 1, which is what fits into every program's `nlink_t`.
pub const NLINK_MAX: u32 = i32::MAX.cast_unsigned();
/// Chunks of a file: their index is a `u32`, and so is their number (EFBIG beyond).
pub const CHUNKS_PER_FILE_MAX: u64 = u32::MAX as u64;
/// Bytes of a file: `off_t` is signed (EFBIG beyond).
pub const FILE_BYTES_MAX: u64 = i64::MAX.cast_unsigned();
/// Chains over which a file is striped. At 1,024 one file already uses every disk of 64 nodes.
pub const STRIPE_MAX: u32 = 1024;

/// Inodes are below this: the store has 56 bits for them, and tells its own uses by the others.
pub const INODE_END: u64 = 1 << 56;
/// Inode ids that one step of an allocator's shard gives out. A process takes a batch in one
/// transaction, so creating a thousand files takes one more than a thousand.
pub const INODES_PER_BATCH: u64 = 1 << 10;
/// Shards of the allocator of inode ids: that many processes take batches without a conflict.
pub const INODE_SHARDS: u8 = 32;
/// Shards of the deletion queue: so many workers go through it without meeting.
pub const DELETION_SHARDS: u8 = 16;

/// Locks held on one inode, of both families: ENOLCK beyond. With all waiters the table has 73 kB;
/// a value of the KV may have 100 kB.
pub const LOCKS_MAX: usize = 1024;
/// Requests that wait for locks of one inode: ENOLCK beyond.
pub const LOCK_WAITERS_MAX: usize = 512;

/// Largest answer that is recorded for a request (M11). Operations that change something answer
/// with attributes of an inode or two.
pub const ANSWER_BYTES_MAX: usize = 4096;
