use engine_types::{ChainTableId, ChainTableVersion, ChunkSize};

use super::*;
use crate::layout::LayoutTemplate;

/// fallocate(2), on a file of 100 bytes.
#[test]
fn modes() {
    use RangeWork::{Allocate, Nothing, Punch, Zero};
    let template =
        LayoutTemplate { chunk_size: ChunkSize::MIN, stripe: 1, table: ChainTableId::new(1) };
    let layout = template.layout(ChainTableVersion::new(1), 0, 0);
    let end = layout.file_bytes_max();
    let unsupported = Err(Errno::EOPNOTSUPP);
    let done = |work, start, end, length| Ok(FallocatePlan { work, start, end, length });
    #[rustfmt::skip]
    let rows = [
        (0x00, 50, 100, done(Allocate, 50, 150, 150)),
        (0x00, 0, 10, done(Allocate, 0, 10, 100)),
        (0x01, 50, 100, done(Allocate, 50, 150, 100)),
        (0x03, 50, 100, done(Punch, 50, 100, 100)),
        (0x03, 10, 20, done(Punch, 10, 30, 100)),
        (0x03, 100, 20, done(Nothing, 100, 100, 100)),
        (0x03, 300, 20, done(Nothing, 300, 300, 100)),
        (0x10, 50, 100, done(Zero, 50, 100, 150)),
        (0x10, 200, 10, done(Nothing, 200, 200, 210)),
        (0x11, 50, 100, done(Zero, 50, 100, 100)),
        (0x02, 0, 10, unsupported),
        (0x13, 0, 10, unsupported),
        (0x08, 0, 10, unsupported),
        (0x20, 0, 10, unsupported),
        (0x40, 0, 10, unsupported),
        (0x04, 0, 10, unsupported),
        (0x00, 5, 0, Err(Errno::EINVAL)),
        (0x08, 5, 0, Err(Errno::EINVAL)),
        (0x00, end, 1, Err(Errno::EFBIG)),
        (0x00, u64::MAX, 1, Err(Errno::EFBIG)),
        (0x00, end - 1, 1, done(Allocate, end - 1, end, end)),
    ];
    for (mode, offset, bytes, expected) in rows {
        let found = plan(FallocateMode::new(mode), offset, bytes, &layout, 100);
        assert_eq!(found, expected, "{mode:#x} {offset} {bytes}");
    }
}
