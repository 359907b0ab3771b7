use futures_lite::future::{block_on, poll_once};

use super::*;

#[test]
fn e470_numbers_ascend_and_channels_are_shared_by_nobody() {
    block_on(async {
        let channels = Channels::new(2);
        let (one, two) = (channels.take().await, channels.take().await);
        assert_ne!(one.channel, two.channel);
        assert_eq!((one.seq, two.seq), (1, 1));
        let mut third = core::pin::pin!(channels.take());
        assert_eq!(poll_once(third.as_mut()).await, None, "all are in use");
        channels.give(one);
        assert_eq!(third.await, Tag { channel: one.channel, seq: 2 });
        channels.give(next(two));
        assert_eq!(channels.take().await, Tag { channel: two.channel, seq: 3 });
    });
}

#[test]
#[should_panic(expected = "E470")]
fn a_channel_is_given_back_once() {
    let channels = Channels::new(2);
    let tag = block_on(channels.take());
    channels.give(tag);
    channels.give(tag);
}
