use super::*;

fn write(disk: &SimDisk, offset: u64, byte: u8) {
    disk.write(offset, &[byte; SECTOR_BYTES * 2]).unwrap();
}

#[test]
fn a_crash_keeps_what_was_flushed_and_any_of_the_rest() {
    let disk = SimDisk::new();
    disk.set_len(4096).unwrap();
    write(&disk, 0, 1);
    disk.sync().unwrap();
    write(&disk, 512, 2);
    let kept = |survival| -> Vec<u8> {
        disk.crash(survival).chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
    };
    assert_eq!(kept(Survival::Nothing), [1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(kept(Survival::Everything), [1, 2, 2, 0, 0, 0, 0, 0]);
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        seen.insert(kept(Survival::Random(Rng::new(seed)))[..3].to_vec());
    }
    // Torn writes: either half alone is among them.
    for half in [[1, 1, 0], [1, 2, 0], [1, 1, 2], [1, 2, 2]] {
        assert!(seen.contains(&half[..]), "{half:?}");
    }
    disk.ignore_syncs();
    disk.sync().unwrap();
    assert_eq!(disk.crash(Survival::Nothing)[512], 1, "a planted fault must show");
}

#[test]
fn faults_come_when_told() {
    let disk = SimDisk::new();
    disk.fail_at(1, Errno::NOSPC);
    disk.set_len(1024).unwrap();
    let error = disk.write(0, &[1]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    disk.write(0, &[1]).unwrap();
    disk.set_capacity(Some(1024));
    assert!(disk.write(1024, &[1]).is_err() && disk.claim(0, 2048).is_err());
    disk.set_capacity(None);
    disk.fail_reads(true);
    assert!(disk.read(0, &mut [0]).is_err());
    disk.fail_reads(false);
    disk.crash_at(disk.operations());
    assert!(disk.write(0, &[9]).is_err() && disk.sync().is_err() && disk.set_len(0).is_err());
    assert_eq!(disk.crash(Survival::Everything)[0], 9, "the last one was done in part");
    assert_eq!(disk.crash(Survival::Nothing), Vec::<u8>::new());
    assert_eq!(disk.log().len(), disk.operations());
    assert_eq!(disk.image().crash(Survival::Everything).len(), 1024);
}

/// Whatever the operation is at which the power fails, none comes after it.
#[test]
fn nothing_is_done_after_the_power_has_failed() {
    let operate: [fn(&SimDisk) -> io::Result<()>; 4] = [
        |disk| disk.sync(),
        |disk| disk.write(512, &[9; 512]),
        |disk| disk.set_len(1024),
        |disk| disk.claim(0, 1024),
    ];
    for (first, last) in operate.iter().enumerate() {
        let disk = SimDisk::new();
        disk.set_len(2048).unwrap();
        disk.sync().unwrap();
        disk.crash_at(disk.operations());
        last(&disk).unwrap_err();
        let (left, operations) = (disk.crash(Survival::Everything), disk.operations());
        for later in &operate {
            later(&disk).unwrap_err();
        }
        assert!(disk.crash(Survival::Everything) == left, "operation {first}");
        assert_eq!(disk.operations(), operations);
    }
}
