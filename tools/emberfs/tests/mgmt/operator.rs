//! What operators see.

use crate::ground::Ground;

#[test]
fn a_stopped_manager_hands_over_at_once() {
    let mut ground = Ground::new("stops");
    for index in [0, 1, 0] {
        ground.stop_manager(index);
        let primary = ground.until_primary();
        assert_ne!(primary["node"], format!("node-{}", index + 1), "{primary}");
        ground.start_manager(index);
    }
}
