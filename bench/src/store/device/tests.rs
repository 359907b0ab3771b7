use super::*;

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let ours = format!(".bench-store-{}-", process::id());
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|n| n.starts_with(&ours))
        .collect()
}

#[test]
fn a_file_without_a_name_is_reached_while_it_is_open() {
    let folder = std::env::temp_dir();
    let file = nameless(&folder, 1 << 20).expect("room for a file");
    assert_eq!(names_in(&folder), Vec::<String>::new());
    let path = format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
    assert_eq!(fs::metadata(&path).expect("reached by descriptor").len(), 1 << 20);
    fs::write(&path, "written through the other path").expect("writable");
}

#[test]
fn a_folder_of_the_wrong_kind_is_refused() {
    let memory = Path::new("/dev/shm");
    if rustix::fs::statfs(memory).is_ok_and(|stat| stat.f_type == TMPFS_MAGIC) {
        let refused = Kind::Disk.check(memory, 0).expect_err("memory is no disk");
        assert!(refused.contains("--dir"), "{refused}");
        let full = Kind::Loop.check(memory, u64::MAX).expect_err("more than any memory");
        assert!(full.contains("--size"), "{full}");
    }
    let refused = Kind::Loop.check(Path::new("/proc"), 0).expect_err("no tmpfs");
    assert!(refused.contains("--memory-dir"), "{refused}");
    let refused = Kind::Disk.check(Path::new("/no/such/folder"), 0).expect_err("nothing there");
    assert!(refused.contains("/no/such/folder"), "{refused}");
}

/// Runs where loop devices may be made: as root, with a tmpfs.
#[test]
fn a_loop_device_goes_with_its_last_user() {
    let storage = Storage { dir: "".into(), memory_dir: "/dev/shm".into(), bytes: 0 };
    let Ok(place) = Kind::Loop.place(&storage, 8 << 20, 8 << 20) else { return };
    let name = place.path.file_name().and_then(|name| name.to_str()).expect("a device").to_owned();
    let backing = format!("/sys/block/{name}/loop/backing_file");
    assert!(Path::new(&backing).exists(), "{name} is attached");
    assert_eq!(names_in(&storage.memory_dir), Vec::<String>::new());
    assert_eq!(place.data_bytes(), 0);
    place.set_data_bytes(5);
    assert_eq!(place.data_bytes(), 5);
    drop(place);
    assert!(!Path::new(&backing).exists(), "{name} is free again");
}
