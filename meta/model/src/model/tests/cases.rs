//! Cases of POSIX that everybody gets wrong once, as short programs: what succeeds, what is
//! refused and how, and what stat says then.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::{Answer, Attr, AttrChange, Caller, OpenMode, Operation, TimeChange, op};
use meta_schema::xattr::XattrSet;
use meta_schema::{AccessMask, Errno, Gid, Mode, Timestamp, Uid};

use crate::acl::Acl;
use crate::twin::Twin;

/// The model by itself, with paths.
struct Case {
    twin: Twin,
    caller: Caller,
}

const ROOT: InodeId = InodeId::new(1);

impl Case {
    fn new() -> Self {
        Self { twin: Twin::new(), caller: Caller::root() }
    }

    /// From now on somebody else asks.
    fn by(&mut self, uid: u32, gid: u32, groups: &[u32]) -> &mut Self {
        let groups = groups.iter().copied().map(Gid::new).collect();
        self.caller = Caller { uid: Uid::new(uid), gid: Gid::new(gid), groups, pid: 1 };
        self
    }

    fn root(&mut self) -> &mut Self {
        self.by(0, 0, &[])
    }

    fn ask(&mut self, operation: impl Into<Operation>) -> Result<Answer, Errno> {
        let caller = self.caller.clone();
        let request = self.twin.request(&caller, operation.into());
        self.twin.answer(&request).map_err(|refusal| refusal.errno)
    }

    /// Whether it is refused so; of several right errors each will do.
    fn refuses(&mut self, operation: impl Into<Operation>, errno: Errno) {
        let caller = self.caller.clone();
        let request = self.twin.request(&caller, operation.into());
        let when = self.twin.when();
        let outcome = crate::model::imagine(&mut self.twin.world, &request, when);
        let errors = outcome.expect_err("it is refused");
        assert!(errors.contains(errno), "expected {errno:?}, found {errors}: {request:?}");
    }

    /// The inode of a path.
    fn at(&mut self, path: &str) -> InodeId {
        let walk = op::Walk { start: ROOT, path: path.into(), follow: false };
        let caller = core::mem::replace(&mut self.caller, Caller::root());
        let found = self.ask(walk);
        self.caller = caller;
        match found {
            Ok(Answer::Walked { attr, .. }) => attr.ino,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// What stat says of it.
    fn stat(&mut self, path: &str) -> Attr {
        let ino = self.at(path);
        match self.ask(op::Stat { ino }) {
            Ok(Answer::Attr(attr)) => attr,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Directory and name of a path.
    fn split(&mut self, path: &str) -> (InodeId, Vec<u8>) {
        let (dir, name) = path.rsplit_once('/').unwrap();
        (if dir.is_empty() { ROOT } else { self.at(dir) }, name.into())
    }

    fn mkdir(&mut self, path: &str, mode: u32) -> Operation {
        let (parent, name) = self.split(path);
        let (mode, umask) = (Mode::new(mode), Mode::new(0));
        op::Mkdir { parent, name, mode, umask, layout: None }.into()
    }

    fn create(&mut self, path: &str, mode: u32) -> Operation {
        let (parent, name) = self.split(path);
        let (mode, umask) = (Mode::new(mode), Mode::new(0));
        op::Create { parent, name, mode, umask, exclusive: true, open: None, layout: None }.into()
    }

    fn unlink(&mut self, path: &str) -> Operation {
        let (parent, name) = self.split(path);
        op::Unlink { parent, name, hold: false }.into()
    }

    fn rmdir(&mut self, path: &str) -> Operation {
        let (parent, name) = self.split(path);
        op::Rmdir { parent, name }.into()
    }

    fn link(&mut self, from: &str, to: &str) -> Operation {
        let ino = self.at(from);
        let (parent, name) = self.split(to);
        op::Link { ino, parent, name }.into()
    }

    fn rename(&mut self, from: &str, to: &str) -> op::Rename {
        let ((from, from_name), (to, to_name)) = (self.split(from), self.split(to));
        op::Rename { from, from_name, to, to_name, no_replace: false, exchange: false, hold: false }
    }

    fn set(&mut self, path: &str, change: AttrChange) -> Operation {
        op::SetAttr { ino: self.at(path), change }.into()
    }

    fn chmod(&mut self, path: &str, mode: u32) -> Operation {
        self.set(path, AttrChange { mode: Some(Mode::new(mode)), ..AttrChange::default() })
    }

    fn chown(&mut self, path: &str, uid: Option<u32>, gid: Option<u32>) -> Operation {
        let (uid, gid) = (uid.map(Uid::new), gid.map(Gid::new));
        self.set(path, AttrChange { uid, gid, ..AttrChange::default() })
    }
}

/// `does!(case, mkdir("/a", 0o755))`: it is done.
macro_rules! does {
    ($case:expr, $call:ident($($arg:expr),*)) => {{
        let operation = $case.$call($($arg),*);
        $case.ask(operation).expect("it is done")
    }};
}

/// `refuses!(case, EPERM, unlink("/a"))`
macro_rules! refuses {
    ($case:expr, $errno:ident, $call:ident($($arg:expr),*)) => {{
        let operation = $case.$call($($arg),*);
        $case.refuses(operation, Errno::$errno)
    }};
}

#[test]
fn links_of_directories_and_files_are_counted() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o755));
    assert_eq!((case.stat("/").nlink, case.stat("/d").nlink), (3, 2));
    does!(case, mkdir("/d/e", 0o755));
    does!(case, create("/d/f", 0o644));
    assert_eq!(case.stat("/d").nlink, 3, "files do not count");
    does!(case, link("/d/f", "/g"));
    assert_eq!(case.stat("/g").nlink, 2);
    refuses!(case, EPERM, link("/d", "/h"));
    refuses!(case, EEXIST, link("/g", "/d/e"));
    does!(case, rename("/d/e", "/e"));
    assert_eq!((case.stat("/").nlink, case.stat("/d").nlink), (4, 2), "the .. moved");
    does!(case, unlink("/d/f"));
    assert_eq!(case.stat("/g").nlink, 1);
}

#[test]
fn removals_want_the_right_type_and_an_empty_directory() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o755));
    does!(case, create("/d/f", 0o644));
    refuses!(case, ENOTEMPTY, rmdir("/d"));
    refuses!(case, EISDIR, unlink("/d"));
    refuses!(case, ENOTDIR, rmdir("/d/f"));
    refuses!(case, ENOENT, unlink("/x"));
    does!(case, unlink("/d/f"));
    does!(case, rmdir("/d"));
    refuses!(case, ENOENT, rmdir("/d"));
}

#[test]
fn the_sticky_bit_lets_owners_remove() {
    let mut case = Case::new();
    does!(case, mkdir("/t", 0o1777));
    case.by(1, 10, &[]);
    does!(case, create("/t/f", 0o666));
    does!(case, mkdir("/t/d", 0o777));
    case.by(2, 20, &[10]);
    refuses!(case, EPERM, unlink("/t/f"));
    refuses!(case, EPERM, rmdir("/t/d"));
    refuses!(case, EPERM, rename("/t/f", "/t/g"));
    does!(case, create("/t/own", 0o666));
    refuses!(case, EPERM, rename("/t/own", "/t/f"));
    case.by(1, 10, &[]);
    does!(case, rename("/t/f", "/t/g"));
    does!(case, unlink("/t/g"));
    case.root();
    does!(case, unlink("/t/own"));
}

#[test]
fn names_are_learnt_only_by_who_may_search() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o744));
    does!(case, create("/d/f", 0o644));
    case.by(1, 10, &[]);
    refuses!(case, EACCES, create("/d/f", 0o644));
    refuses!(case, EACCES, unlink("/d/none"));
    let dir = case.at("/d");
    case.refuses(op::Lookup { parent: dir, name: b"f".to_vec() }, Errno::EACCES);
    let page = op::Readdir { dir, cookie: 0, limit: 10, plus: false };
    assert!(case.ask(page).is_ok(), "to read it is another right");
    case.root();
    does!(case, chmod("/d", 0o733));
    case.by(1, 10, &[]);
    assert!(case.ask(op::Lookup { parent: dir, name: b"f".to_vec() }).is_ok());
    case.refuses(page, Errno::EACCES);
}

#[test]
fn setgid_directories_give_their_group() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o777));
    does!(case, chown("/d", None, Some(30)));
    does!(case, chmod("/d", 0o2777));
    case.by(1, 10, &[]);
    does!(case, mkdir("/d/e", 0o755));
    let attr = case.stat("/d/e");
    assert_eq!((attr.gid, attr.mode), (Gid::new(30), Mode::new(0o2755)));
    does!(case, create("/d/f", 0o2775));
    assert_eq!(case.stat("/d/f").mode, Mode::new(0o775), "not a member of group 30");
    does!(case, create("/d/g", 0o2765));
    assert_eq!(case.stat("/d/g").mode, Mode::new(0o2765), "not a program of the group");
    case.by(2, 20, &[30]);
    does!(case, create("/d/h", 0o2775));
    assert_eq!(case.stat("/d/h").mode, Mode::new(0o2775));
}

#[test]
fn chown_and_chmod_are_for_owners_and_take_privileges() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o777));
    case.by(1, 10, &[11]);
    does!(case, create("/d/f", 0o755));
    refuses!(case, EPERM, chown("/d/f", Some(2), None));
    refuses!(case, EPERM, chown("/d/f", None, Some(99)));
    does!(case, chmod("/d/f", 0o6755));
    does!(case, chown("/d/f", Some(1), Some(11)));
    let attr = case.stat("/d/f");
    assert_eq!((attr.gid, attr.mode), (Gid::new(11), Mode::new(0o755)));
    case.by(2, 11, &[]);
    refuses!(case, EPERM, chmod("/d/f", 0o777));
    refuses!(case, EPERM, chown("/d/f", None, Some(11)));
    case.root();
    does!(case, chown("/d/f", None, Some(77)));
    case.by(1, 10, &[]);
    does!(case, chmod("/d/f", 0o2755));
    assert_eq!(case.stat("/d/f").mode, Mode::new(0o755), "not in the group of the file");
}

#[test]
fn the_owner_class_binds_the_owner() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o777));
    case.by(1, 10, &[]);
    does!(case, create("/d/f", 0o077));
    let ino = case.at("/d/f");
    let read = op::Access { ino, wanted: AccessMask::READ };
    case.refuses(read, Errno::EACCES);
    assert!(case.by(2, 10, &[]).ask(read).is_ok());
    let run = op::Access { ino, wanted: AccessMask::EXECUTE };
    assert!(case.root().ask(run).is_ok(), "somebody may execute it");
    does!(case, chmod("/d/f", 0o666));
    case.refuses(run, Errno::EACCES);
}

#[test]
fn times_follow_what_is_done() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o777));
    let made = case.stat("/d");
    does!(case, create("/d/f", 0o644));
    let after = case.stat("/d");
    assert!(made.mtime < after.mtime && made.ctime < after.ctime && made.change < after.change);
    assert_eq!(made.atime, after.atime);
    let file = case.stat("/d/f");
    does!(case, chmod("/d/f", 0o600));
    let changed = case.stat("/d/f");
    assert!(file.ctime < changed.ctime && file.mtime == changed.mtime);
    assert_eq!(case.stat("/d").mtime, after.mtime, "chmod is no change of the directory");
    does!(case, link("/d/f", "/d/g"));
    assert!(changed.ctime < case.stat("/d/f").ctime, "links are status");
    let future = Timestamp::from_nanos(1 << 60);
    let change = AttrChange { mtime: TimeChange::At(future), ..AttrChange::default() };
    does!(case, set("/d", change));
    assert_eq!(case.stat("/d").mtime, future);
    does!(case, unlink("/d/g"));
    let now = case.stat("/d");
    assert!(now.mtime < future && now.mtime == now.ctime, "now, not the future");
}

#[test]
fn utimens_to_now_is_for_writers_and_to_anything_else_for_owners() {
    let mut case = Case::new();
    does!(case, create("/f", 0o666));
    case.by(1, 10, &[]);
    let now = TimeChange::Now;
    does!(case, set("/f", AttrChange { atime: now, mtime: now, ..AttrChange::default() }));
    let named = TimeChange::At(Timestamp::from_nanos(5));
    refuses!(case, EPERM, set("/f", AttrChange { atime: named, ..AttrChange::default() }));
    case.root();
    does!(case, chmod("/f", 0o644));
    case.by(1, 10, &[]);
    let both = AttrChange { atime: now, mtime: now, ..AttrChange::default() };
    refuses!(case, EACCES, set("/f", both));
}

#[test]
fn rename_replaces_what_is_alike() {
    let mut case = Case::new();
    for dir in ["/a", "/b", "/b/c"] {
        does!(case, mkdir(dir, 0o755));
    }
    for file in ["/f", "/g"] {
        does!(case, create(file, 0o644));
    }
    refuses!(case, ENOTEMPTY, rename("/a", "/b"));
    refuses!(case, EISDIR, rename("/f", "/a"));
    refuses!(case, ENOTDIR, rename("/a", "/f"));
    refuses!(case, EINVAL, rename("/b", "/b/c/d"));
    refuses!(case, EINVAL, rename("/b", "/b/x"));
    refuses!(case, ENOTEMPTY, rename("/b/c", "/b"));
    refuses!(case, ENOENT, rename("/x", "/y"));
    let mut noreplace = case.rename("/f", "/g");
    noreplace.no_replace = true;
    case.refuses(noreplace.clone(), Errno::EEXIST);
    noreplace.exchange = true;
    case.refuses(noreplace, Errno::EINVAL);
    does!(case, rename("/b/c", "/a"));
    does!(case, rename("/a", "/b/c"));
    let (f, g) = (case.at("/f"), case.at("/g"));
    does!(case, rename("/f", "/g"));
    assert_eq!(case.at("/g"), f);
    assert_ne!(f, g);
    case.refuses(op::Stat { ino: g }, Errno::ENOENT);
}

#[test]
fn renames_of_one_file_do_nothing() {
    let mut case = Case::new();
    does!(case, create("/f", 0o644));
    does!(case, link("/f", "/g"));
    does!(case, rename("/f", "/g"));
    does!(case, rename("/f", "/f"));
    assert_eq!((case.stat("/f").nlink, case.at("/f")), (2, case.at("/g")));
}

#[test]
fn exchange_swaps_whatever_there_is() {
    let mut case = Case::new();
    for dir in ["/a", "/a/b", "/a/b/c"] {
        does!(case, mkdir(dir, 0o755));
    }
    does!(case, create("/f", 0o644));
    let mut swap = case.rename("/f", "/a/b");
    swap.exchange = true;
    let (f, b) = (case.at("/f"), case.at("/a/b"));
    case.ask(swap).unwrap();
    assert_eq!((case.at("/f"), case.at("/a/b")), (b, f));
    assert_eq!((case.stat("/").nlink, case.stat("/a").nlink), (4, 2));
    let mut swap = case.rename("/f", "/f/c");
    swap.exchange = true;
    case.refuses(swap.clone(), Errno::EINVAL);
    swap = case.rename("/f/c", "/f");
    swap.exchange = true;
    case.refuses(swap, Errno::EINVAL);
    let mut swap = case.rename("/f", "/none");
    swap.exchange = true;
    case.refuses(swap, Errno::ENOENT);
}

#[test]
fn a_directory_that_moves_has_to_be_writable() {
    let mut case = Case::new();
    does!(case, mkdir("/a", 0o777));
    does!(case, mkdir("/b", 0o777));
    does!(case, mkdir("/a/d", 0o755));
    case.by(1, 10, &[]);
    refuses!(case, EACCES, rename("/a/d", "/b/d"));
    does!(case, rename("/a/d", "/a/e"));
}

#[test]
fn paths_follow_links_to_a_limit() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o755));
    does!(case, create("/d/f", 0o644));
    let link = |name: &str, target: &str| op::Symlink {
        parent: ROOT,
        name: name.into(),
        target: target.into(),
    };
    for (name, target) in [("l", "d"), ("m", "/l/f"), ("x", "y"), ("y", "x"), ("dead", "none")] {
        case.ask(link(name, target)).unwrap();
    }
    let mut walk = |path: &str, follow| {
        let walked = case.ask(op::Walk { start: ROOT, path: path.into(), follow });
        walked.map(|answer| match answer {
            Answer::Walked { attr, parent } => (attr.kind.code(), parent.get() == 1),
            other => panic!("{other:?}"),
        })
    };
    #[rustfmt::skip]
    let rows = [
        ("/l", false, Ok((10, true))),
        ("/l", true, Ok((4, true))),
        ("/l/", false, Ok((4, true))),
        ("/l/f", false, Ok((8, false))),
        ("m", true, Ok((8, false))),
        ("d/../d/./f", true, Ok((8, false))),
        ("/..", true, Ok((4, true))),
        ("x", true, Err(Errno::ELOOP)),
        ("x", false, Ok((10, true))),
        ("dead", true, Err(Errno::ENOENT)),
        ("m/", true, Err(Errno::ENOTDIR)),
        ("d/f/..", true, Err(Errno::ENOTDIR)),
        ("", true, Err(Errno::ENOENT)),
    ];
    for (path, follow, expected) in rows {
        assert_eq!(walk(path, follow), expected, "{path:?} {follow}");
    }
}

#[test]
fn what_is_unlinked_while_open_stays() {
    let mut case = Case::new();
    does!(case, create("/f", 0o644));
    let ino = case.at("/f");
    case.ask(op::Unlink { parent: ROOT, name: b"f".to_vec(), hold: true }).unwrap();
    match case.ask(op::Stat { ino }) {
        Ok(Answer::Attr(attr)) => assert_eq!(attr.nlink, 0),
        other => panic!("{other:?}"),
    }
    case.refuses(op::Link { ino, parent: ROOT, name: b"g".to_vec() }, Errno::ENOENT);
    case.ask(op::Close { ino, hint: None, atime: None }).unwrap();
    case.refuses(op::Stat { ino }, Errno::ENOENT);
}

#[test]
fn lists_and_modes_move_together() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o755));
    let acl = Acl {
        owner: 7,
        users: Vec::from([(1, 7)]),
        group: 5,
        groups: Vec::new(),
        mask: Some(7),
        other: 0,
    };
    let ino = case.at("/d");
    let set = |name: &[u8]| op::SetXattr {
        ino,
        name: name.to_vec(),
        value: acl.bytes(),
        set: XattrSet::Any,
    };
    case.ask(set(b"system.posix_acl_access")).unwrap();
    assert_eq!(case.stat("/d").mode, Mode::new(0o770));
    case.ask(set(b"system.posix_acl_default")).unwrap();
    case.by(1, 10, &[]);
    does!(case, create("/d/f", 0o640));
    let attr = case.stat("/d/f");
    assert_eq!((attr.mode, attr.has_acl), (Mode::new(0o640), true));
    case.root();
    does!(case, chmod("/d", 0o700));
    case.by(1, 10, &[]);
    refuses!(case, EACCES, unlink("/d/f"));
    refuses!(case, EPERM, chmod("/d", 0o777));
    case.refuses(set(b"system.posix_acl_access"), Errno::EPERM);
}

#[test]
fn truncation_and_open_modes() {
    let mut case = Case::new();
    does!(case, mkdir("/d", 0o777));
    case.by(1, 10, &[]);
    does!(case, create("/d/f", 0o4777));
    let resize = |size| AttrChange { size: Some(size), ..AttrChange::default() };
    case.by(2, 20, &[]);
    does!(case, set("/d/f", resize(100)));
    let attr = case.stat("/d/f");
    assert_eq!((attr.size, attr.mode), (100, Mode::new(0o777)), "setuid is gone");
    refuses!(case, EISDIR, set("/d", resize(0)));
    refuses!(case, EFBIG, set("/d/f", resize(u64::MAX)));
    case.by(1, 10, &[]);
    does!(case, chmod("/d/f", 0o444));
    refuses!(case, EACCES, set("/d/f", resize(0)));
    let ino = case.at("/d/f");
    let open =
        |write| op::Open { ino, mode: OpenMode { read: true, write, ..OpenMode::default() } };
    case.refuses(open(true), Errno::EACCES);
    assert!(case.ask(open(false)).is_ok());
    let mode = OpenMode { write: true, ..OpenMode::default() };
    let dir = case.at("/d");
    case.refuses(op::Open { ino: dir, mode }, Errno::EISDIR);
}
