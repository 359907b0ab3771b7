//! Control messages as frames: a handful of bytes, encoded by the writer when it sends them.

use engine_runtime::{Buf, Bytes, Env};
use engine_types::Status;
use engine_wire::bodies::{Body, Cancel, Credit, CreditWant, Encoder, Goodbye, Ping, Pong};
use engine_wire::{Ending, FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEAD_BYTES_MAX, SegmentHeader};

use crate::link::{EndReason, Link};
use crate::outbox::Control;

/// Room that every control message fits in: the largest body is a number or two.
const MESSAGE_BYTES_MAX: usize = FRAME_HEADER_BYTES + 64;

/// All messages one after the other; `None` for none.
pub(crate) async fn encode<E: Env>(
    link: &Link<E>,
    messages: &[Control],
) -> Result<Option<Bytes<E::Memory>>, EndReason> {
    if messages.is_empty() {
        return Ok(None);
    }
    let mut out = link.memory(messages.len() * MESSAGE_BYTES_MAX).await?;
    let mut encoder = link.encoder.borrow_mut();
    for message in messages {
        let before = out.len();
        match message {
            Control::Ping => frame(&mut out, &mut encoder, &Ping { sequence: 0 }),
            Control::Pong => frame(&mut out, &mut encoder, &Pong { sequence: 0 }),
            Control::Credit(bytes) => {
                frame(&mut out, &mut encoder, &Credit { bytes: u64::from(*bytes) });
            }
            Control::CreditWant(bytes) => {
                frame(&mut out, &mut encoder, &CreditWant { bytes: u64::from(*bytes) });
            }
            Control::Cancel(id) => frame(&mut out, &mut encoder, &Cancel::new(*id)),
            Control::Goodbye => {
                let reason = u32::from(Status::Draining.code());
                frame(&mut out, &mut encoder, &Goodbye { drain_ms: 0, reason });
            }
            Control::Abort(id) => {
                let mut head = [0; SEGMENT_HEAD_BYTES_MAX];
                let len = SegmentHeader::terminator(*id, 0, Ending::Aborted).encode(&[], &mut head);
                out.extend_from_slice(&head[..len]);
            }
        }
        assert!(out.len() - before <= MESSAGE_BYTES_MAX, "{message:?} is a small message");
    }
    Ok(Some(out.freeze()))
}

fn frame<M, B>(out: &mut Buf<M>, encoder: &mut Encoder, body: &B)
where
    M: engine_runtime::Memory,
    B: Body,
{
    let body = encoder.encode(body);
    let header = FrameHeader::one_way(B::KIND, B::VERSION).with_body(&[], body);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
}
