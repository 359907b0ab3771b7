use alloc::string::ToString;
use alloc::vec;

use super::*;

pub(crate) fn record(node: u32, term: u64, sequence: u64) -> PrimaryLease {
    let incarnation = Incarnation::new(3);
    let holder = Contact { node: NodeId::new(node), incarnation, addresses: vec!["a:1".into()] };
    let (primary, storage) = (Duration::from_secs(10), Duration::from_secs(2));
    let (term, standby) = (Term::new(term), Duration::from_secs(1));
    let (released, drift_ppm) = (false, 10_000);
    PrimaryLease { holder, term, sequence, released, primary, storage, standby, drift_ppm }
}

#[test]
fn golden_bytes() {
    let mut record = record(7, 5, 9);
    #[rustfmt::skip]
    let bytes = [
        1, 65, 0, 0, 0,                      // version, body length
        7, 0, 0, 0,                          // node
        3, 0, 0, 0, 0, 0, 0, 0,              // incarnation
        5, 0, 0, 0, 0, 0, 0, 0,              // term
        9, 0, 0, 0, 0, 0, 0, 0,              // sequence
        0,                                   // flags
        0x00, 0xe4, 0x0b, 0x54, 2, 0, 0, 0,  // 10 s
        0x00, 0x94, 0x35, 0x77, 0, 0, 0, 0,  // 2 s
        0x00, 0xca, 0x9a, 0x3b, 0, 0, 0, 0,  // 1 s
        0x10, 0x27, 0, 0,                    // 10,000 ppm
        1, 3, 0, 0, 0, b'a', b':', b'1',     // addresses
    ];
    assert_eq!(record.encode(), bytes);
    assert_eq!(PrimaryLease::decode(&bytes), Ok(record.clone()));
    crate::fields::check_decoder(&bytes, PrimaryLease::decode);
    record.released = true;
    record.holder.addresses.clear();
    assert_eq!(record.encode()[33], 1);
    assert_eq!(PrimaryLease::decode(&record.encode()), Ok(record));
}

#[test]
fn fields_without_meaning_are_errors() {
    let mut bytes = record(7, 5, 9).encode();
    bytes[33] = 2;
    let error = PrimaryLease::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "primary lease: flags: found 2, expected 0 or 1");
    bytes[33] = 0;
    bytes[62] = 9;
    let error = PrimaryLease::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "primary lease: addresses: found 9, expected at most 8");
}

#[test]
#[should_panic(expected = "E299")]
fn too_many_addresses_are_not_written() {
    let mut record = record(7, 5, 9);
    record.holder.addresses = vec!["a:1".into(); 9];
    record.encode();
}
