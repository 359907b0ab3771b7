use alloc::string::ToString;

use super::*;

fn row(state: SessionState) -> SessionRecord {
    let uuid = StoreId::new(0x0102);
    let client = Client { uuid, epoch: 3, process: 77, name: "job".into(), host: "h1".into() };
    SessionRecord { client, opened: RoutingVersion::new(9), state }
}

#[test]
fn golden_bytes() {
    #[rustfmt::skip]
    let mut bytes = [
        1, 54, 0, 0, 0,                                      // version, body length
        2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      // client
        3, 0, 0, 0, 77, 0, 0, 0,                             // epoch, process
        9, 0, 0, 0, 0, 0, 0, 0,                              // opened
        0, 0, 0, 0, 0, 0, 0, 0, 0,                           // state, revoked in
        3, 0, 0, 0, b'j', b'o', b'b', 2, 0, 0, 0, b'h', b'1',
    ];
    assert_eq!(row(SessionState::Live).encode(), bytes);
    crate::fields::check_decoder(&bytes, SessionRecord::decode);
    (bytes[37], bytes[38]) = (2, 12);
    let at = RoutingVersion::new(12);
    let revoked = row(SessionState::Revoked { at, reason: RevokeReason::Expired });
    assert_eq!(revoked.encode(), bytes);
    assert_eq!(SessionRecord::decode(&bytes), Ok(revoked));
    bytes[37] = 0;
    let error = SessionRecord::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "session: revoked in: found 12, expected 0, as it is live");
    bytes[37] = 6;
    let error = SessionRecord::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "session: state: found 6, expected 0 to 5");
}

#[test]
fn golden_bytes_of_the_summary() {
    let (next, floor) = (SessionId::new(7), SessionId::new(5));
    let summary = SessionSummary {
        next,
        floor,
        fenced_to: RoutingVersion::new(4),
        timeline: Timeline::new(2),
        lifted_below: SessionId::new(3),
        lifted_in: RoutingVersion::new(6),
    };
    let mut bytes = [1, 44, 0, 0, 0].to_vec();
    [7u64, 5, 4].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.extend_from_slice(&2u32.to_le_bytes());
    [3u64, 6].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    assert_eq!(summary.encode(), bytes);
    assert_eq!(SessionSummary::decode(&bytes), Ok(summary));
    crate::fields::check_decoder(&bytes, SessionSummary::decode);
}
