use super::*;

/// FoundationDB's rules for missing, shorter and longer values.
#[test]
fn atomic_operations_follow_the_table() {
    use AtomicOp as Op;
    type Row = (Op, Option<&'static [u8]>, &'static [u8], Option<&'static [u8]>);
    let rows: [Row; 26] = [
        (Op::Add, None, &[1, 0], Some(&[1, 0])),
        (Op::Add, Some(&[0xff, 0]), &[1, 0], Some(&[0, 1])),
        (Op::Add, Some(&[0xff, 0xff]), &[1, 0], Some(&[0, 0])),
        (Op::Add, Some(&[5]), &[1, 2], Some(&[6, 2])),
        (Op::Add, Some(&[5, 9, 9]), &[1, 2], Some(&[6, 11])),
        (Op::And, None, &[3], Some(&[3])),
        (Op::And, Some(&[6, 7]), &[3], Some(&[2])),
        (Op::And, Some(&[6]), &[3, 1], Some(&[2, 0])),
        (Op::Or, None, &[3], Some(&[3])),
        (Op::Or, Some(&[4]), &[3, 1], Some(&[7, 1])),
        (Op::Xor, Some(&[6]), &[3], Some(&[5])),
        (Op::Xor, None, &[3], Some(&[3])),
        (Op::AppendIfFits, None, b"ab", Some(b"ab")),
        (Op::AppendIfFits, Some(b"x"), b"ab", Some(b"xab")),
        (Op::Max, None, &[1], Some(&[1])),
        (Op::Max, Some(&[9, 1]), &[0, 2], Some(&[0, 2])),
        (Op::Max, Some(&[9, 2]), &[0, 2], Some(&[9, 2])),
        (Op::Max, Some(&[1]), &[0, 2], Some(&[0, 2])),
        (Op::Max, Some(&[0, 0, 9]), &[1, 0], Some(&[1, 0])),
        (Op::Min, None, &[1], Some(&[1])),
        (Op::Min, Some(&[9, 1]), &[0, 2], Some(&[9, 1])),
        (Op::Min, Some(&[1]), &[0, 2], Some(&[1, 0])),
        (Op::ByteMin, Some(b"abc"), b"abd", Some(b"abc")),
        (Op::ByteMax, Some(b"ab"), b"abc", Some(b"abc")),
        (Op::CompareAndClear, Some(b"x"), b"x", None),
        (Op::CompareAndClear, Some(b"y"), b"x", Some(b"y")),
    ];
    for (op, old, operand, new) in rows {
        assert_eq!(op.apply(old, operand).as_deref(), new, "{op:?} of {old:?} and {operand:?}");
    }
    assert_eq!(Op::CompareAndClear.apply(None, b"x"), None);
    let full = vec![1; VALUE_BYTES_MAX];
    assert_eq!(Op::AppendIfFits.apply(Some(&full), b"x"), Some(full.clone()));
}

#[test]
fn codes_name_operations() {
    for op in AtomicOp::ALL {
        assert_eq!(AtomicOp::from_code(op.code()), Some(op));
    }
    assert_eq!(AtomicOp::from_code(1), None);
}

#[test]
fn a_stamp_goes_where_it_was_asked_for() {
    let mut key = b"q..........z".to_vec();
    let mut write = Mutation::StampedKey { key: key.clone(), offset: 1, value: b"v".to_vec() };
    assert_eq!(write.check(), Ok(()));
    let range = write.written();
    write.stamp([7; 10]);
    key[1..11].fill(7);
    assert!(range.contains(&key) && !range.contains(b"q") && !range.contains(b"r"));
    assert_eq!(write, Mutation::Set { key, value: b"v".to_vec() });
    let mut write = Mutation::StampedValue { key: b"k".to_vec(), value: vec![0; 10], offset: 0 };
    assert_eq!(write.check(), Ok(()));
    write.stamp([9; 10]);
    assert_eq!(write, Mutation::Set { key: b"k".to_vec(), value: vec![9; 10] });
    for (key, offset) in [("q.........", 1), ("q", usize::MAX), ("..........", 0)] {
        let write = Mutation::StampedKey { key: key.into(), offset, value: Vec::new() };
        let error = write.check().unwrap_err();
        assert_eq!(error, KvError::StampPosition { offset, length: key.len() }, "{key} {offset}");
    }
}
