use super::*;

#[test]
fn openings_round_trip() {
    for (request, answer) in [(4096, 4096), (1 << 20, 64), (64, 1 << 20), (1, MESSAGE_BYTES_MAX)] {
        let opening = Opening { request, answer };
        assert_eq!(Opening::decode(&opening.encode()), Some(opening));
    }
}

#[test]
fn lengths_of_no_shape_are_refused() {
    let too_long = u32::try_from(MESSAGE_BYTES_MAX + 1).expect("small").to_le_bytes();
    let fine = 64u32.to_le_bytes();
    for (request, answer) in [([0; 4], fine), (fine, [0; 4]), (too_long, fine), (fine, too_long)] {
        assert_eq!(Opening::decode(&[request, answer].concat()), None);
    }
    assert_eq!(Opening::decode(&[1, 0, 0]), None);
    assert_eq!(Opening::decode(&[1, 0, 0, 0, 1]), None);
}

#[test]
fn messages_are_counted_however_they_arrive() {
    let total = 7 * 100 + 42;
    for step in [1, 3, 99, 100, 101, 350, total] {
        let mut counter = Counter::new(100);
        let mut complete = 0;
        let mut left = total;
        while 0 < left {
            let bytes = left.min(step);
            complete += counter.add(bytes);
            left -= bytes;
        }
        assert_eq!((complete, counter.rest), (7, 42), "in steps of {step}");
    }
}
