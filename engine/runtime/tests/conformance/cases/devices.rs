//! V8–V10: block devices: a simulated one, or on a real kernel a loop device.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine_runtime::{Env, File as _, FileKind, OpenOptions};

use crate::ground::{DEVICE_BYTES, Ground, SECTOR, a_moment, bytes, check};

const STORE: OpenOptions = OpenOptions { write: true, create: true, truncate: false, lock: true };

/// A loop device over a file in memory, detached at the end also of a case that fails.
struct Loop {
    /// What `losetup` attached; `None` while there is only the file.
    device: Option<PathBuf>,
    backing: PathBuf,
}

impl Loop {
    /// `None` where the person said that tests which need root shall be skipped.
    fn new(name: &str) -> Option<Self> {
        if std::env::var("EMBERFS_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s == "root")) {
            eprintln!("skipped, needs root: EMBERFS_SKIP=root");
            return None;
        }
        let backing = PathBuf::from(format!("/dev/shm/emberfs-{name}"));
        let file = std::fs::File::create(&backing).expect("/dev/shm can be written");
        let mut made = Self { device: None, backing };
        file.set_len(DEVICE_BYTES).expect("memory is large enough");
        let losetup =
            Command::new("losetup").args(["--find", "--show"]).arg(&made.backing).output();
        let output = losetup
            .unwrap_or_else(|error| panic!("losetup: {error}; it is in the Debian package mount"));
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            panic!("loop devices need root (EMBERFS_SKIP=root skips this test): {error}");
        }
        let path = String::from_utf8(output.stdout).expect("a path");
        made.device = Some(PathBuf::from(path.trim()));
        Some(made)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(device) = &self.device {
            // Busy devices detach themselves when they are closed.
            let _ = Command::new("losetup").arg("--detach").arg(device).status();
        }
        let _ = std::fs::remove_file(&self.backing);
    }
}

/// V8–V10: what is promised of a device, and where it differs from a file.
pub(crate) async fn a_block_device_has_its_own_size_and_alignment<E: Env>(env: E, ground: Ground) {
    if let Some(path) = &ground.device {
        return of_its_own_size_and_alignment(&env, path).await;
    }
    let name = ground.directory.file_name().expect("cases have names");
    let name = name.to_str().expect("of functions").to_owned();
    let Some(disk) = env.blocking(move || Loop::new(&name)).await else { return };
    of_its_own_size_and_alignment(&env, disk.device.as_deref().expect("attached")).await;
}

/// What the kernel says of the cache of a device; that of a simulated one is volatile by default.
fn is_volatile(device: &Path) -> bool {
    let name = device.file_name().expect("devices have names");
    let declared = Path::new("/sys/class/block").join(name).join("queue/write_cache");
    std::fs::read_to_string(declared).map_or(true, |text| text != "write through\n")
}

async fn of_its_own_size_and_alignment<E: Env>(env: &E, path: &Path) {
    // Creating and truncating concern files only.
    let file = env.open(path, OpenOptions { truncate: true, ..STORE }).await.unwrap();
    let geometry = file.geometry();
    assert_eq!((geometry.kind, geometry.size), (FileKind::Block, DEVICE_BYTES));
    assert_eq!(geometry.align, 4096.max(geometry.logical_block));
    assert_eq!(geometry.volatile_cache, is_volatile(path));
    let again = env.open(path, STORE).await.err().expect("it is locked");
    assert_eq!(again.source.kind(), ErrorKind::WouldBlock, "{again}");

    let sector = SECTOR as u64;
    let last = DEVICE_BYTES - sector;
    file.write(last, bytes(env, 1, 0, SECTOR).await).await.unwrap();
    file.flush().await.unwrap();
    let read = file.read(last, 2 * SECTOR).await.expect("short at the end");
    assert_eq!(read.len(), SECTOR);
    check(&read, 1, 0);
    for outside in [last + sector, DEVICE_BYTES * 2] {
        let data = bytes(env, 2, 0, SECTOR).await;
        let refused = [
            file.write(outside, data).await.expect_err("outside"),
            file.preallocate(outside, sector).await.expect_err("outside"),
            file.discard(outside, sector).await.expect_err("outside"),
        ];
        for error in refused {
            assert_eq!(error.source.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    file.preallocate(0, DEVICE_BYTES).await.expect("the range exists");
    check(&file.read(last, SECTOR).await.unwrap(), 1, 0); // allocating changed nothing
    file.discard(0, DEVICE_BYTES).await.expect("devices of cases discard");
    assert!(file.set_len(DEVICE_BYTES * 2).await.is_err(), "devices do not grow");
    let unaligned = file.read(512, SECTOR).await.expect_err("not a sector");
    assert_eq!(unaligned.source.kind(), ErrorKind::InvalidInput);

    drop(file);
    while let Err(error) = env.open(path, STORE).await {
        assert_eq!(error.source.kind(), ErrorKind::WouldBlock, "{error}");
        a_moment(env).await; // a close may take its time
    }
}
