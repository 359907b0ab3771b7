//! Extended attributes, ACLs among them.
//!
//! xattr(7), setxattr(2), acl(5): the rules are `meta_schema::xattr`. An attribute is a key of its
//! own; the two ACLs stand in the inode, where permission checks find them, and are shown in
//! Linux' form. Every change marks the ctime of the inode.
//!
//! Conflict set: the inode, the attribute; of a new one all attributes of the inode, as their
//! number is limited. Written: the attribute, the inode.
//! Round trips: 1; to set a new one 2.

use engine_types::InodeId;
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::limits::XATTRS_MAX;
use meta_schema::xattr::{self, Namespace, XattrUse};
use meta_schema::{Acl, Errno, Key, key};

use crate::ctx::Ctx;
use crate::halt::{Stop, damaged, refused};
use crate::join::both;
use crate::loaded::Loaded;
use crate::op::place::shown;
use crate::view::{View, prefix};

/// An inode and one of its attributes.
struct Found {
    inode: Loaded,
    namespace: Namespace,
    value: Option<Vec<u8>>,
}

impl Found {
    fn refused(&self, errno: Errno, name: &[u8]) -> Stop {
        refused(errno, format_args!("{} of {}", shown(name), self.inode.ino))
    }
}

async fn find<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    (ino, name): (InodeId, &[u8]),
    used: XattrUse,
) -> Result<Found, Stop> {
    let namespace = xattr::namespace(name).map_err(|errno| refused(errno, shown(name)))?;
    let mode = match used {
        XattrUse::Get => ReadMode::Snapshot,
        XattrUse::Change => ReadMode::Conflict,
    };
    let key = Key::Xattr { ino, name: name.to_vec() };
    let value = async {
        match namespace {
            Namespace::Acl(_) => Ok(None),
            _ => view.get_raw(&key, mode).await,
        }
    };
    let (inode, value) = both(view.known(ino, mode), value).await?;
    let found = Found { inode, namespace, value };
    xattr::check(&found.inode.inode, ctx.caller, namespace, used)
        .map_err(|errno| found.refused(errno, name))?;
    Ok(found)
}

/// The value of an attribute.
pub(crate) async fn get<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    name: &[u8],
) -> Result<Answer, Stop> {
    let found = find(view, ctx, (ino, name), XattrUse::Get).await?;
    let value = match found.namespace {
        Namespace::Acl(kind) => xattr::get_acl(&found.inode.inode, kind).ok(),
        _ => found.value.clone(),
    };
    match value {
        Some(value) => Ok(Answer::Value(value)),
        None => Err(found.refused(Errno::ENODATA, name)),
    }
}

/// Sets an attribute.
pub(crate) async fn set<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::SetXattr,
) -> Result<Answer, Stop> {
    let (ino, name, value) = (ask.ino, ask.name.as_slice(), ask.value.as_slice());
    xattr::check_value(value).map_err(|errno| refused(errno, shown(name)))?;
    let mut found = find(view, ctx, (ino, name), XattrUse::Change).await?;
    let now = found.inode.stamp(ctx.now);
    if let Namespace::Acl(kind) = found.namespace {
        // XATTR_CREATE and XATTR_REPLACE count for nothing here: Linux' setxattr(2) does not hand
        // them on (`do_setxattr` in fs/xattr.c), and FUSE asks with none (`fuse_set_acl`).
        let exists = xattr::get_acl(&found.inode.inode, kind).is_ok();
        if Acl::from_xattr(value) == Ok(None) && !exists {
            return Ok(Answer::Done);
        }
        xattr::set_acl(&mut found.inode.inode, ctx.caller, kind, value)
            .map_err(|errno| found.refused(errno, name))?;
    } else {
        let exists = found.value.is_some();
        ask.set.check(exists).map_err(|errno| found.refused(errno, name))?;
        if !exists && XATTRS_MAX <= names(view, ino, ReadMode::Conflict).await?.len() {
            let why = format_args!("{ino} has {XATTRS_MAX} extended attributes");
            return Err(refused(Errno::ENOSPC, why));
        }
        view.put_raw(&Key::Xattr { ino, name: name.to_vec() }, value)?;
    }
    found.inode.inode.changed(now);
    view.put_inode(ino, &found.inode.inode)?;
    Ok(Answer::Done)
}

/// Removes an attribute; to set an ACL to no entries, or to nothing, is the same (setfacl -b).
pub(crate) async fn remove<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    name: &[u8],
) -> Result<Answer, Stop> {
    let mut found = find(view, ctx, (ino, name), XattrUse::Change).await?;
    let now = found.inode.stamp(ctx.now);
    if let Namespace::Acl(kind) = found.namespace {
        if !xattr::remove_acl(&mut found.inode.inode, kind) {
            return Ok(Answer::Done);
        }
    } else {
        if found.value.is_none() {
            return Err(found.refused(Errno::ENODATA, name));
        }
        view.clear(&Key::Xattr { ino, name: name.to_vec() })?;
    }
    found.inode.inode.changed(now);
    view.put_inode(ino, &found.inode.inode)?;
    Ok(Answer::Done)
}

/// Names of the attributes that the caller is shown.
pub(crate) async fn list<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
) -> Result<Answer, Stop> {
    let reads = both(view.known(ino, ReadMode::Snapshot), names(view, ino, ReadMode::Snapshot));
    let (inode, mut names) = reads.await?;
    names.retain(|name| xattr::is_listed(name, ctx.caller));
    if inode.inode.acl.is_some() {
        names.push(b"system.posix_acl_access".to_vec());
    }
    if inode.inode.directory().is_some_and(|directory| directory.acl_default.is_some()) {
        names.push(b"system.posix_acl_default".to_vec());
    }
    // Each with a NUL behind it, as listxattr(2) returns them.
    Ok(Answer::Names(names.into_iter().flat_map(|name| [name, vec![0]].concat()).collect()))
}

/// Names of all attributes. Values are read too, as the KV has no other way: some are few and
/// short, as a rule.
async fn names<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    mode: ReadMode,
) -> Result<Vec<Vec<u8>>, Stop> {
    let range: KeyRange = prefix(&key::xattrs(ino));
    let entries = view.entries(range, XATTRS_MAX, mode).await?;
    let names = entries.iter().map(|(key, _)| match Key::parse(key) {
        Ok(Key::Xattr { name, .. }) => Ok(name),
        other => Err(damaged(ino, format_args!("a key among attributes: {other:?}"))),
    });
    names.collect()
}
