use alloc::string::ToString;

use super::{DecodeError, Reader, Writer};

#[test]
fn e299_fields_come_back_and_tails_are_skipped() {
    let mut writer = Writer::new(1);
    writer.u8(7);
    writer.u32(0x0102_0304);
    writer.u64(5);
    writer.u128(6);
    writer.text("abc");
    let bytes = writer.finish();
    assert_eq!(bytes[..6], [1, 36, 0, 0, 0, 7]);
    super::check_decoder(&bytes, |bytes| {
        let mut reader = Reader::new("sample", bytes)?;
        let numbers = (reader.u8("a")?, reader.u32("b")?, reader.u64("c")?, reader.u128("d")?);
        Ok((numbers, reader.text("e", 3)?))
    });
    let mut reader = Reader::new("sample", &bytes).unwrap();
    assert_eq!(reader.u8("a"), Ok(7));
    assert_eq!(reader.u32("b"), Ok(0x0102_0304));
}

#[test]
fn errors_name_record_and_field() {
    let error = |bytes: &[u8]| Reader::new("lease", bytes).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error(&[1, 0]), "lease: found 2 bytes, expected 5");
    assert_eq!(error(&[0; 5]), "lease: format version: found 0, expected 1 or more");
    assert_eq!(error(&[1, 9, 0, 0, 0, 1]), "lease: found 6 bytes, expected 14");
    let mut writer = Writer::new(1);
    writer.text("abcd");
    let bytes = writer.finish();
    let mut reader = Reader::new("lease", &bytes).unwrap();
    let error = reader.text("name", 3).unwrap_err();
    assert_eq!(error.to_string(), "lease: name: found 4 bytes, at most 3");
    let error = reader.u64("term").unwrap_err();
    let expected = DecodeError::Short { record: "lease", field: "term", needed: 8, left: 4 };
    assert_eq!(error, expected);
}

#[test]
fn rows_and_records_within_a_record_come_back() {
    let mut writer = Writer::new(1);
    writer.u16(0x0102);
    writer.row(|row| {
        row.u8(3);
        row.row(|inner| inner.u32(4));
        row.text("of a later version");
    });
    writer.bytes(&[5, 6]);
    let bytes = writer.finish();
    assert_eq!(bytes[5..17], [2, 1, 29, 0, 3, 4, 0, 4, 0, 0, 0, 18]);
    super::check_decoder(&bytes, |bytes| {
        let mut reader = Reader::new("sample", bytes)?;
        let first = reader.u16("a")?;
        let mut row = reader.row("b")?;
        let inner = (row.u8("c")?, row.row("d")?.u32("e")?, row.left());
        Ok((first, inner, reader.bytes("f", 2)?.to_vec(), row.text("g", 18)?))
    });
    let mut reader = Reader::new("sample", &bytes).unwrap();
    reader.u16("a").unwrap();
    let mut row = reader.row("b").unwrap();
    row.bytes("too long", 0).unwrap_err();
    assert!(row.u64("c").is_ok());
    row.bytes("outside", usize::MAX).unwrap_err();
}
