use super::*;

#[test]
fn counts_are_those_of_the_kernel() {
    let text = "    5 0 16 1   7 0 32 2 0 1 2 0 0 0 0   3 1\n";
    let found = Moved::parse(text).unwrap();
    assert_eq!(found, Moved { read: 8192, written: 16384, flushes: 3 });
    let per = found.per(2, 4096, 1);
    assert_eq!((per.read_per_byte, per.written_per_byte), (1.0, 2.0));
    assert!(Moved::parse("1 2 3").is_none());
}
