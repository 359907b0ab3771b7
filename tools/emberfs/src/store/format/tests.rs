use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use engine_store::format::StoreFlags;

use super::*;
use crate::store::testing::{CLUSTER, Folder, Paper, STORE, content, on_core, superblock};

/// Arguments as they come from a command line.
fn args(path: &Path, rest: &str) -> Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let path = path.to_str().unwrap();
    let words = ["format", path].into_iter().chain(rest.split_whitespace());
    <Line as clap::Parser>::try_parse_from(words).unwrap().args
}

fn run_on(path: &Path, rest: &str) -> Result<Exit, Failure> {
    let args = args(path, rest);
    on_core(|env| async move { run(&env, &args, &mut Paper::default().output(args.json)).await })
}

/// That it is refused for this reason and nothing is touched; a hint is part of it.
fn check_refused(path: &Path, rest: &str, exit: Exit, reasons: &[&str]) {
    let state = || path.is_file().then(|| content(path));
    let before = state();
    let failure = run_on(path, rest).unwrap_err();
    let text = format!("{:#} ({})", failure.error, failure.hint.as_deref().unwrap_or("-"));
    assert_eq!(failure.exit, exit, "{rest}: {text}");
    for reason in reasons {
        assert!(text.contains(reason), "{rest}: {text} has no {reason:?}");
    }
    assert!(state() == before, "{rest}: it was touched");
}

#[test]
fn sizes_that_make_no_store_are_refused_before_anything_is_written() {
    let folder = Folder::new("format-sizes");
    let missing = folder.path("missing");
    let (empty, small) = (folder.file("empty", 0, &[]), folder.file("small", 1 << 20, &[]));
    let large = folder.file("large", 4 << 30, &[]);
    let usage = Exit::Usage;
    check_refused(&missing, "", usage, &["does not exist", "give --size"]);
    check_refused(&missing, "--size 1000000", usage, &["1000000", "multiple of 4096"]);
    check_refused(&missing, "--size 64MiB", usage, &["67108864", "too small"]);
    check_refused(&missing, "--size 1024T", usage, &["too large", "slice"]);
    check_refused(&missing, "--size 1G --journal 4K", usage, &["4096", "2097152"]);
    check_refused(&missing, "--size 1G --journal 3000001", usage, &["3000001"]);
    check_refused(&missing, "--size 1G --index 1K", usage, &["1024"]);
    check_refused(&empty, "", usage, &["is empty", "give --size"]);
    check_refused(&small, "", usage, &["1048576", "too small"]);
    check_refused(&large, "--size 1GiB", usage, &["4294967296", "4 GiB", "not cut"]);
    assert!(!missing.exists());
    let no_device = Path::new("/dev/there-is-no-such-disk");
    check_refused(no_device, "--size 1G", usage, &["no device /dev/there-is-no-such-disk"]);
    check_refused(no_device, "", usage, &["no device /dev/there-is-no-such-disk"]);
    check_refused(&missing, "--size 1G --dedup-channels 7", usage, &["7", "4096"]);
    check_refused(&folder.path("no/folder"), "", usage, &["does not exist"]);
    check_refused(&folder.path(""), "--size 1G", Exit::Environment, &["regular file"]);
}

#[test]
fn what_somebody_may_miss_is_refused_by_name() {
    let folder = Folder::new("format-foreign");
    let size = 1 << 30;
    let problem = Exit::Problem;
    let xfs = folder.file("xfs", size, &[(0, b"XFSB")]);
    let gpt = folder.file("gpt", size, &[(size - 512, b"EFI PART")]);
    let text = folder.file("text", size, &[(0, b"my thesis")]);
    let inside = folder.file("inside", size, &[((3 << 20) + 5, b"my thesis")]);
    let end = folder.file("end", size, &[(size - 9, b"my thesis")]);
    check_refused(&inside, "", problem, &["data of an unknown kind", "--force"]);
    check_refused(&end, "", problem, &["data of an unknown kind", "--force"]);
    let stale = folder.file("stale", size, &[(0, b"EMBFSTOR")]);
    check_refused(&xfs, "", problem, &["a file system (XFS)", "--force"]);
    check_refused(&gpt, "", problem, &["a partition table (GPT)", "--force"]);
    check_refused(&text, "", problem, &["data of an unknown kind", "--force"]);
    check_refused(&stale, "", problem, &["damaged, or of a newer release", "--force"]);
    let (a, b) = (superblock(0), superblock(1));
    let store = folder.store("store", &a, &b);
    let named = STORE.to_string();
    check_refused(&store, "", problem, &[&named, &CLUSTER.to_string(), "--force"]);
    let own = format!("--cluster {CLUSTER}");
    check_refused(&store, &own, problem, &[&named, "the very cluster", "--force"]);
}

/// It becomes a store of this size.
fn check_accepted(path: &Path, rest: &str, size: u64) {
    match run_on(path, rest) {
        Ok(exit) => assert_eq!(exit, Exit::Ok),
        Err(failure) => panic!("{}: {:#}", path.display(), failure.error),
    }
    assert_eq!(fs::metadata(path).unwrap().len(), size);
    let found = on_core({
        let path = path.to_owned();
        |env| async move { look(&env, &path).await.unwrap().unwrap() }
    });
    let is_new = matches!(found.content, Content::EmberStore { store, .. } if store != STORE);
    assert!(is_new, "{found:?}");
}

#[test]
fn what_nobody_misses_is_formatted() {
    let folder = Folder::new("format-accepted");
    let size = 1 << 30;
    check_accepted(&folder.path("new"), "--size 1GiB --cluster random", size);
    check_accepted(&folder.file("zeros", size, &[]), "", size);
    check_accepted(&folder.file("extended", size, &[]), "--size 2GiB --json", 2 * size);
    check_accepted(&folder.file("forced", size, &[(0, b"XFSB")]), "--force", size);
    let retired = |sequence| {
        let superblock = superblock(sequence);
        Superblock { flags: superblock.flags.with(StoreFlags::RETIRED), ..superblock }
    };
    check_accepted(&folder.store("retired", &retired(0), &retired(1)), "", size);
    let own = folder.store("own", &superblock(0), &superblock(1));
    check_accepted(&own, &format!("--cluster {CLUSTER} --force"), size);
}

#[test]
fn what_is_in_use_is_not_looked_at() {
    let folder = Folder::new("format-lock");
    let path = folder.file("store", 1 << 30, &[]);
    let held = fs::File::options().read(true).open(&path).unwrap();
    held.lock().unwrap();
    check_refused(&path, "--force", Exit::Environment, &["in use", "stop what uses it"]);
}

#[test]
fn clusters_are_named_or_random() {
    on_core(|env| async move {
        let random: Cluster = "random".parse().unwrap();
        assert_ne!(random.choose(&env).unwrap(), random.choose(&env).unwrap());
        let named: Cluster = CLUSTER.to_string().parse().unwrap();
        assert_eq!(named.choose(&env).unwrap(), CLUSTER);
        let folder = Folder::new("format-cluster");
        let file = folder.path("cluster.toml");
        let secret = "ab".repeat(32);
        fs::write(&file, format!("id = \"{CLUSTER}\"\nsecret = \"{secret}\"\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let named: Cluster = file.to_str().unwrap().parse().unwrap();
        assert_eq!(named.choose(&env).unwrap(), CLUSTER);
        fs::write(&file, "").unwrap();
        assert!(named.choose(&env).is_err());
        let error = "mine".parse::<Cluster>().unwrap_err().to_string();
        assert!(error.contains("UUID") && error.contains("`random`"), "{error}");
    });
}

#[test]
fn what_was_made_is_told_in_words_and_in_json() {
    let report = Report::new(Path::new("store.img"), &superblock(0));
    let paper = Paper::default();
    print(&mut paper.output(false), &report).unwrap();
    let text = paper.text();
    for expected in [
        "store     00000000-0000-0000-0000-000000000057\n",
        "cluster   00000000-0000-0000-0000-0000000000c1\n",
        "path      store.img\n",
        "size      1 GiB\n",
        "journal   2 MiB\n",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let paper = Paper::default();
    print(&mut paper.output(true), &report).unwrap();
    let [document] = paper.documents().try_into().unwrap();
    assert_eq!(document["size"], 1_u64 << 30);
    assert_eq!(document["journal_bytes"], 2 << 20);
    assert_eq!(document["store"], STORE.to_string());
    let parts = ["metadata_bytes", "data_bytes"].map(|name| document[name].as_u64().unwrap());
    assert!(parts.iter().sum::<u64>() <= 1 << 30, "{parts:?}");
    assert_eq!(parts[1], document["segments"].as_u64().unwrap() * (64 << 20));
}

/// A file that was created and did not become a store is gone; one that was there stays.
#[test]
fn nothing_is_left_of_a_store_that_could_not_be_made() {
    let folder = Folder::new("format-left");
    let (empty, full) = (folder.file("empty", 0, &[]), folder.file("full", 1, &[]));
    for path in [&empty, &full, &folder.path("missing")] {
        remove_empty(path);
    }
    assert!(!empty.exists() && full.exists());
}

/// Fewer segments than sizes of blocks: somebody will run into that.
#[test]
fn a_small_store_is_warned_of() {
    let of = |size| {
        let options = FormatOptions { journal_bytes: Some(2 << 20), ..FormatOptions::new(size) };
        let layout = Layout::plan(&options).unwrap();
        let report = Report::new(Path::new("s"), &Superblock { layout, ..superblock(0) });
        (report.segments, report.warning)
    };
    let (segments, warning) = of(160 << 20);
    let expected = format!("{segments} segments");
    assert!(segments < 3 && warning.is_some_and(|text| text.starts_with(&expected)));
    let (segments, warning) = of(2 << 30);
    assert!(13 <= segments && warning.is_none(), "{segments}");
}
