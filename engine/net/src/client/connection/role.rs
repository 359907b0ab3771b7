//! What a client's connection does with what arrives.

use engine_runtime::{Buf, Env};
use engine_wire::bodies::{self, Credit};
use engine_wire::{FrameHeader, FrameType, Kind, SegmentHeader};

use super::Connection;
use crate::link::EndReason;
use crate::payload::Inline;
use crate::receive::Role;

impl<E: Env> Role<E> for Connection<E> {
    fn header(&self, header: &FrameHeader) -> Result<(), EndReason> {
        match (header.frame_type, header.kind) {
            (FrameType::Response, _) => self.calls.expected(header),
            (FrameType::OneWay, Kind::PONG | Kind::CREDIT | Kind::GOODBYE) => Ok(()),
            (FrameType::OneWay, kind) => {
                Err(EndReason::Unexpected { what: "message", kind: kind.code() })
            }
            (FrameType::Request, kind) => {
                Err(EndReason::Unexpected { what: "request", kind: kind.code() })
            }
        }
    }

    async fn frame(&self, header: &FrameHeader, inline: Inline<E>) -> Result<(), EndReason> {
        if header.frame_type == FrameType::Response {
            return self.calls.answered(header, inline, self.link.last_received());
        }
        match header.kind {
            Kind::CREDIT => {
                let found = bodies::access::<Credit>(&inline)?.bytes.to_native();
                let held = self.credit.free();
                if u64::from(u32::MAX) < held.saturating_add(found) {
                    return Err(EndReason::ExcessCredit { found, held });
                }
                self.credit.give(found);
            }
            Kind::GOODBYE => {
                self.goodbye.set(true);
                self.farewell.notify();
            }
            _ => {} // a pong: that something arrived is what it says
        }
        Ok(())
    }

    async fn land(&self, segment: &SegmentHeader) -> Result<(Buf<E::Memory>, usize), EndReason> {
        self.calls.land(segment)
    }

    fn landed(
        &self,
        segment: &SegmentHeader,
        _crcs: &[u32],
        landing: Option<Buf<E::Memory>>,
    ) -> Result<(), EndReason> {
        self.calls.landed(segment, landing, self.link.last_received())
    }
}
