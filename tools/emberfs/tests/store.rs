//! The program as scripts see it: exit codes, what goes to which stream, and that nothing hangs.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_store::format::{FormatOptions, Layout, Superblock};
use engine_types::{ClusterId, StoreId, WallTime};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("emberfs-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, size: u64, put: &[(u64, &[u8])]) -> String {
        let path = self.0.join(name);
        let file = fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (position, bytes) in put {
            file.write_all_at(bytes, *position).unwrap();
        }
        text(&path)
    }

    /// A store without anything in it.
    fn store(&self, name: &str) -> String {
        let layout = Layout::plan(&FormatOptions::new(1 << 30)).unwrap();
        let (cluster, store) = (ClusterId::new(1), StoreId::new(2));
        let fresh = Superblock::fresh(cluster, store, WallTime::from_nanos(1), layout, 3);
        let page = |sequence| {
            let mut page = [0; SUPERBLOCK_BYTES];
            Superblock { sequence, ..fresh }.encode(&mut page);
            page
        };
        self.file(name, 1 << 30, &[(0, &page(0)), (0x10000, &page(1))])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn emberfs(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberfs"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it; exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = emberfs(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

#[test]
fn exit_codes_and_streams_are_as_promised() {
    let folder = Folder::new("codes");
    let store = folder.store("store");
    let missing = text(&folder.0.join("missing"));
    let ext2 = folder.file("ext2", 1 << 30, &[(1080, &[0x53, 0xef])]);
    let rows: [(&[&str], i32, &str); 14] = [
        (&[], 2, "Usage: emberfs <COMMAND>"),
        (&["store"], 2, "format"),
        (&["store", "mend", &store], 2, "unrecognized subcommand 'mend'"),
        (&["store", "format", &missing, "--size", "ten"], 2, "expected a number with a unit"),
        (&["store", "format", &missing, "--size", "5X"], 2, "unknown unit \"X\"; K, M, G, T, P"),
        (&["store", "format", &missing], 2, "hint: give --size to create a file"),
        (&["store", "format", &missing, "--size", "1M"], 2, "too small"),
        (&["store", "format", &ext2], 1, "is not formatted: it holds a file system (ext2)"),
        (&["store", "format", &ext2], 1, "hint: --force formats it all the same"),
        (&["store", "format", &store], 1, "00000000-0000-0000-0000-000000000002"),
        (&["store", "check", &ext2], 1, "is no store"),
        (&["store", "check", &missing], 3, "emberfs: open "),
        (&["store", "dump", &missing], 3, "missing"),
        (&["store", "dump", "/dev/null"], 3, "expected a regular file or a block device"),
    ];
    for (arguments, code, expected) in rows {
        let (found, out, err) = run(arguments);
        assert_eq!(found, code, "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        assert!(out.is_empty(), "{arguments:?}: results only: {out}");
        assert!(!err.contains('\x1b'), "{arguments:?}: no colours into a pipe: {err}");
    }
    assert!(!Path::new(&missing).exists());
}

#[test]
fn help_and_results_go_to_standard_output() {
    let folder = Folder::new("results");
    let store = folder.store("store");
    let rows: [(&[&str], &str); 6] = [
        (&["--help"], "Exit codes: 0 done"),
        (&["--version"], "emberfs "),
        (&["store", "format", "--help"], "emberfs store format store.img --size 10GiB"),
        (&["store", "dump", &store], "the newest"),
        (&["store", "dump", &store, "--journal"], "the journal ends before lsn-1 at 0"),
        (&["store", "dump", &store, "--json"], "{\"path\":"),
    ];
    for (arguments, expected) in rows {
        let (code, out, err) = run(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        assert!(out.contains(expected), "{arguments:?}: {out}");
        assert!(!out.contains('\x1b'), "{arguments:?}: {out}");
    }
}

/// Programs read standard output: there is a document, whatever happened.
#[test]
fn failures_are_documents_for_programs() {
    let folder = Folder::new("documents");
    let bad = folder.file("bad", 1 << 30, &[(0, b"EMBFSTOR"), (0x10000, b"EMBFSTOR")]);
    let ext2 = folder.file("ext2", 1 << 30, &[(1080, &[0x53, 0xef])]);
    let missing = text(&folder.0.join("missing"));
    for (verb, path, code, expected) in [
        ("check", &bad, 1, "no superblock"),
        ("dump", &ext2, 1, "is no store"),
        ("format", &ext2, 1, "a file system (ext2)"),
        ("check", &missing, 3, "missing"),
        ("format", &missing, 2, "does not exist"),
    ] {
        let rest: &[&str] = if verb == "dump" { &["--targets"] } else { &[] };
        let line = [&["store", verb, path, "--json"], rest].concat();
        let (found, out, err) = run(&line);
        assert_eq!(found, code, "{line:?}: {err}");
        assert!(out.starts_with("{\"error\":") && out.ends_with("}\n"), "{line:?}: {out}");
        assert!(out.contains(expected) && err.contains(expected), "{line:?}: {out}");
        assert!(out.contains(&format!("\"exit_code\":{code}")), "{line:?}: {out}");
    }
}

/// What is printed without the newer superblock is not taken for all.
#[test]
fn a_dump_of_a_store_that_lost_a_superblock_warns() {
    let folder = Folder::new("lost");
    let store = folder.store("store");
    fs::File::options().write(true).open(&store).unwrap().write_all_at(b"x", 0x10064).unwrap();
    for what in ["--targets", "--chunks", "--journal"] {
        let (code, _, err) = run(&["store", "dump", &store, what]);
        assert_eq!(code, 1, "{what}: {err}");
        assert!(err.starts_with("emberfs: warning: superblock B: checksum"), "{what}: {err}");
    }
}

/// As with `| head`: nobody is left to complain to.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new("pipe");
    let store = folder.store("store");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = emberfs(&["store", "dump", &store]).stdout(writer).output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}
