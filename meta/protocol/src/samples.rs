//! Random messages, and one of every kind of each.

use std::vec;
use std::vec::Vec;

use engine_types::{InodeId, Rng};
use meta_schema::sample::{Sample, any};
use meta_schema::samples;

use crate::op::{
    Access, Append, CancelLock, Close, Create, Fallocate, FinishShrink, GetLayout, GetLock,
    GetXattr, Hint, Link, ListXattr, LockAsk, LockWait, Lookup, Mkdir, Mknod, Open, PruneSession,
    Readdir, Readlink, ReleaseLocks, RemoveTree, RemoveXattr, Rename, Rmdir, SetAttr, SetBlocks,
    SetLayout, SetLock, SetXattr, Stat, StatBatch, StatFs, Symlink, Sync, Unlink, Walk,
};
use crate::status::OperationCount;
use crate::{
    Answer, Attr, Cause, Entry, FsSpace, LayoutTold, LockTold, Operation, Refusal, Request,
    ServiceStatus, StatusAsk, Tag,
};

samples! {
    Tag { channel seq }
    Request { caller session tag operation }
    Lookup { parent name }
    Walk { start path follow }
    Stat { ino }
    StatBatch { inos }
    Access { ino wanted }
    Create { parent name mode umask exclusive open layout }
    Open { ino mode }
    Mkdir { parent name mode umask layout }
    Mknod { parent name mode umask rdev }
    Symlink { parent name target }
    Readlink { ino }
    Link { ino parent name }
    Unlink { parent name hold }
    Rmdir { parent name }
    Rename { from from_name to to_name no_replace exchange hold }
    Readdir { dir cookie limit plus }
    SetAttr { ino change }
    Fallocate { ino mode offset length }
    GetXattr { ino name }
    SetXattr { ino name value set }
    ListXattr { ino }
    RemoveXattr { ino name }
    LockAsk { family owner pid kind range }
    GetLock { ino lock }
    SetLock { ino lock wait }
    CancelLock { ino owner ticket }
    ReleaseLocks { ino family owner }
    GetLayout { ino }
    SetLayout { ino layout }
    Hint { truncate_epoch end modified in_doubt }
    Close { ino hint atime }
    Sync { ino hint atime }
    Append { ino length }
    SetBlocks { ino at_change bytes }
    RemoveTree { parent name }
    PruneSession { session }
    FinishShrink { ino epoch }
    StatFs {}
    Attr {
        ino kind mode has_acl uid gid nlink size blocks atime mtime ctime btime rdev change
        truncate_epoch layout
    }
    Entry { cookie ino kind name attr }
    FsSpace {
        bytes bytes_free bytes_available files files_free age_ms stores stores_silent
    }
    StatusAsk {}
    ServiceStatus { fs ready in_flight retries unknown operations }
    OperationCount { done refused failed p50_us p99_us max_us }
}

impl Sample for LockWait {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::No, Self::Queue, Self::Ticket { ticket: any(rng) }]
    }
}

impl Sample for LockTold {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::Granted, Self::Waiting { ticket: any(rng) }, Self::Busy, Self::Cancelled]
    }
}

impl Sample for LayoutTold {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::File(any(rng)), Self::Directory(any(rng))]
    }
}

impl Sample for Cause {
    fn every(_: &mut Rng) -> Vec<Self> {
        vec![Self::Posix, Self::OldRequest, Self::Fenced]
    }
}

impl Sample for Refusal {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self { errno: any(rng), cause: any(rng), text: "no \u{e9}".into() }]
    }
}

impl Sample for Operation {
    fn every(rng: &mut Rng) -> Vec<Self> {
        macro_rules! each {
            ($($name:ident)*) => { vec![$(Self::$name(any(rng))),*] };
        }
        each!(
            Lookup Walk Stat StatBatch Access Create Open Mkdir Mknod Symlink Readlink Link Unlink
            Rmdir Rename Readdir SetAttr Fallocate GetXattr SetXattr ListXattr RemoveXattr GetLock
            SetLock CancelLock ReleaseLocks GetLayout SetLayout Close Sync Append SetBlocks
            RemoveTree PruneSession FinishShrink StatFs
        )
    }
}

impl Sample for Answer {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let parent: InodeId = any(rng);
        vec![
            Self::Done,
            Self::Attr(any(rng)),
            Self::Attrs(any(rng)),
            Self::Walked { parent, attr: any(rng) },
            Self::Opened { attr: any(rng), created: any(rng) },
            Self::Target(any(rng)),
            Self::Entries { entries: any(rng), end: any(rng) },
            Self::Fallocated { attr: any(rng), plan: any(rng) },
            Self::Value(any(rng)),
            Self::Names(any(rng)),
            Self::Conflict { lock: any(rng) },
            Self::Lock(any(rng)),
            Self::Layout(any(rng)),
            Self::Appended { offset: any(rng), attr: any(rng) },
            Self::Pruned { more: any(rng) },
            Self::Space(any(rng)),
        ]
    }
}
