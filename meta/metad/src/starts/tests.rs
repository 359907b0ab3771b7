use engine_runtime::all;

use super::*;
use crate::bed::{BedKv, with_bed};

#[test]
fn starts_are_counted_and_the_name_is_for_life() {
    with_bed(1, |bed| async move {
        let first = count(&bed.env, &bed.kv, 1).await.unwrap();
        let second = count(&bed.env, &bed.kv, 1).await.unwrap();
        let other = count(&bed.env, &bed.kv, 2).await.unwrap();
        assert_eq!((first.count, second.count, other.count), (1, 2, 1));
        assert_eq!(first.uuid, second.uuid);
        assert_ne!(first.uuid, other.uuid);
    });
}

#[test]
fn starts_at_the_same_time_have_different_counts() {
    with_bed(2, |bed| async move {
        let counted = all((0..8).map(|_| count(&bed.env, &bed.kv, 1))).await;
        let mut counts: Vec<u64> = counted.into_iter().map(|start| start.unwrap().count).collect();
        counts.sort_unstable();
        assert_eq!(counts, (1..=8).collect::<Vec<_>>(), "E457");
    });
}

#[test]
fn what_is_no_record_is_said() {
    with_bed(3, |bed| async move {
        let policy = Policy::default();
        let write = async |transaction: &<BedKv as Kv>::Transaction| {
            transaction.set(&key(1), b"short")?;
            transaction
                .set(&key(2), &encode(Start { uuid: StoreId::new(7), count: u32::MAX.into() }))?;
            Ok::<_, Abort<core::convert::Infallible>>(())
        };
        transact(&bed.kv, &policy, write).await.unwrap();
        let corrupt = count(&bed.env, &bed.kv, 1).await.unwrap_err();
        assert_eq!(corrupt, StartError::Corrupt { number: 1, found: 5 });
        let run_out = count(&bed.env, &bed.kv, 2).await.unwrap_err();
        assert_eq!(run_out, StartError::RunOut { number: 2, starts: u32::MAX.into() });
    });
}
