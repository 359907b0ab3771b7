use crate::{Message, StatusAsk};

#[test]
fn e330_a_question_for_the_status_has_no_fields() {
    assert_eq!(StatusAsk.encode(), [1, 0, 0, 0, 0]);
    assert_eq!(StatusAsk::decode(&[2, 1, 0, 0, 0, 9]), Ok(StatusAsk));
}
