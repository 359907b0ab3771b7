use std::collections::VecDeque;

use super::*;
use crate::engine::tests::TestDirectory;

/// A signal is no reason to give up, and a file system without the call none to refuse.
#[test]
fn a_claim_is_repeated_after_a_signal() {
    let cases: [(&[_], Result<(), Errno>); 5] = [
        (&[Ok(())], Ok(())),
        (&[Err(Errno::INTR), Err(Errno::INTR), Ok(())], Ok(())),
        (&[Err(Errno::INTR), Err(Errno::NOSPC)], Err(Errno::NOSPC)),
        (&[Err(Errno::OPNOTSUPP)], Ok(())),
        (&[Err(Errno::NOSYS)], Ok(())),
    ];
    for (answers, expected) in cases {
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        let claimed = claimed(|| answers.pop_front().unwrap());
        let code = claimed.err().and_then(|error| error.raw_os_error());
        assert_eq!(code, expected.err().map(Errno::raw_os_error));
        assert!(answers.is_empty());
    }
}

#[test]
fn a_file_keeps_what_is_written() {
    let directory = TestDirectory::new();
    let path = directory.0.join("file");
    let device = FileDevice::create(&path).unwrap();
    assert!(device.is_empty().unwrap());
    device.set_len(10).unwrap();
    device.claim(0, 10).unwrap();
    device.claim(10, 10).unwrap();
    device.write(8, &[1, 2, 3]).unwrap();
    device.sync().unwrap();
    drop(device);
    let device = FileDevice::open(&path).unwrap();
    let mut out = [9; 4];
    device.read(7, &mut out).unwrap();
    assert_eq!((device.len().unwrap(), out), (11, [0, 1, 2, 3]));
    device.read(8, &mut out).expect_err("behind the end");
}
