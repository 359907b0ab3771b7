//! How large the futures of requests are: they are moved and nested, and a thread has 2 MiB.

use core::time::Duration;

use super::*;
use crate::files::tests::{Mount, fake, service};

/// Bytes of the future of a request at most: 4.9 kB and 7.6 kB were measured. Those of single
/// operations are bounded where they are made.
const BYTES_MAX: usize = 8 << 10;

#[test]
fn futures_of_requests_are_small() {
    with_bed(1, |bed| async move {
        let root = bed.root();
        let request = root.request(stat(INODE_ROOT));
        let one = bed.store.call(&request, None, Duration::from_secs(1));
        let size = size_of_val(&one);
        one.await.unwrap();
        let files = service(&bed, &fake(&bed), 1001);
        let mount = Mount::new(&files, 5);
        let request = mount.request(stat(INODE_ROOT));
        let whole = files.call(&request, Duration::from_secs(1));
        let sizes = (size, size_of_val(&whole));
        whole.await.unwrap();
        assert!(sizes.0 <= BYTES_MAX && sizes.1 <= BYTES_MAX, "{sizes:?}");
    });
}
