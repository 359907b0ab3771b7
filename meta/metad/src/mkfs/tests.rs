//! Founding, and opening what is not ours.

use meta_kv::{Kv, Transaction, TransactionOptions};
use meta_schema::LayoutTemplate;

use super::*;
use crate::bed::{Fate, ROOT_LAYOUT, with_bed};

const CLUSTER: ClusterId = ClusterId::new(7);

#[test]
fn a_namespace_is_made_once() {
    with_bed(1, |bed| async move {
        let made = *bed.store.superblock();
        let other = LayoutTemplate { stripe: 2, ..ROOT_LAYOUT };
        assert_eq!(open(&bed.env, &bed.kv, CLUSTER, other).await, Ok(made), "as it was made");
        let found = FsId::new(7);
        let expected = FsId::new(8);
        let wrong = open(&bed.env, &bed.kv, ClusterId::new(8), ROOT_LAYOUT).await;
        assert_eq!(wrong, Err(OpenError::Cluster { found, expected }));
        for (bytes, error) in [
            (Superblock { format: FORMAT + 1, ..made }.encode(), "format 2"),
            (b"none".to_vec(), "superblock"),
        ] {
            let transaction = bed.kv.begin(TransactionOptions::default());
            transaction.set(&key::superblock(), &bytes).unwrap();
            transaction.commit().await.unwrap();
            let refused = open(&bed.env, &bed.kv, CLUSTER, ROOT_LAYOUT).await.unwrap_err();
            assert!(refused.to_string().contains(error), "{refused}");
        }
    });
}

/// E430: two services that start together, and commits of which nobody knows.
#[test]
fn services_that_start_together_make_one() {
    with_bed(2, |bed| async move {
        for fate in [Fate::Conflict, Fate::LostApplied, Fate::LostDropped] {
            let transaction = bed.kv.begin(TransactionOptions::default());
            transaction.clear_range(meta_kv::KeyRange::all()).unwrap();
            transaction.commit().await.unwrap();
            bed.source().script([fate]);
            let starts = (0..3).map(|_| open(&bed.env, &bed.kv, CLUSTER, ROOT_LAYOUT));
            let made = engine_runtime::all(starts).await;
            assert!(
                made[0].is_ok() && made.iter().all(|one| *one == made[0]),
                "{fate:?}: {made:?}"
            );
        }
    });
}
