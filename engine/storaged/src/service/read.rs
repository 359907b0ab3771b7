//! Reads of clients: each item is decided by its replica, all are answered in one message.

use std::rc::Rc;

use engine_net::{Part, Request};
use engine_runtime::{Bytes, Env};
use engine_shard::ReadError;
use engine_types::{ChainVersion, ChunkId, InodeId, Status, TargetId};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    READ_BYTES, READ_HEAD, READ_MAP, ReadAnswer, ReadItem, StorageReadReply, StorageReadRequest,
};

use super::ITEMS_MAX;
use crate::fair;
use crate::promise::Promise;
use crate::refusals;
use crate::shard::Shard;
use crate::target::{Found, What};

/// A read that was begun.
struct Begun<E: Env> {
    target: TargetId,
    answer: ReadAnswer,
    found: Option<Rc<Promise<Found<E>>>>,
}

impl<E: Env> Shard<E> {
    pub(super) async fn read(self: &Rc<Self>, request: Request<E>) {
        let asked = match request.body::<StorageReadRequest>() {
            Ok(body) => bodies::to_owned::<StorageReadRequest>(body),
            Err(error) => Err(error),
        };
        let items = match asked {
            Ok(asked) if asked.items.len() <= ITEMS_MAX => asked.items,
            Ok(_) => return request.refuse(Status::TooLarge).await,
            Err(error) => return request.refuse(error.status()).await,
        };
        let wanted = items.iter().filter(|item| item.what == READ_BYTES);
        let wanted: u64 = wanted.map(|item| u64::from(item.len)).sum();
        if u64::from(request.reply_room()) < wanted {
            return request.refuse(Status::TooLarge).await;
        }
        let Some(_permit) = self.admit(&request, fair::cost(items.len(), wanted)).await else {
            return request.refuse(Status::Busy).await;
        };
        let mut begun: Vec<Begun<E>> = items.iter().map(|item| self.begin(item)).collect();
        let mut parts: Vec<Bytes<E::Memory>> = Vec::new();
        for Begun { target, answer, found } in &mut begun {
            let Some(found) = found.take() else { continue };
            let found = found.wait().await;
            self.finish(*target, answer, found, &mut parts).await;
        }
        let payload: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if u64::from(request.reply_room()) < payload {
            return request.refuse(Status::TooLarge).await;
        }
        let parts: Vec<Part<'_, E>> = parts.into_iter().map(Part::plain).collect();
        let items = begun.into_iter().map(|begun| begun.answer).collect();
        request.respond(&StorageReadReply { items }, &parts).await;
    }

    fn begin(self: &Rc<Self>, item: &ReadItem) -> Begun<E> {
        let refused = |status: Status, chain_version: u32| {
            let answer =
                ReadAnswer { status: status.code(), chain_version, ..ReadAnswer::default() };
            Begun { target: TargetId::new(item.target), answer, found: None }
        };
        let Some(target) = self.target(TargetId::new(item.target)) else {
            return refused(Status::WrongNode, 0);
        };
        let chain_version = target.version().get();
        let (offset, len) = (item.offset, item.len);
        let what = match item.what {
            READ_BYTES => What::Bytes { offset, len },
            READ_HEAD => What::Head,
            READ_MAP => What::Map { offset, len },
            _ => return refused(Status::InvalidArgument, chain_version),
        };
        let chunk = ChunkId { inode: InodeId::new(item.inode), index: item.index };
        let chain = ChainVersion::new(item.chain_version);
        let found = target.ask_read(self.next_id(), chain, chunk, what);
        let answer = ReadAnswer { chain_version, ..ReadAnswer::default() };
        Begun { target: TargetId::new(item.target), answer, found: Some(found) }
    }

    async fn finish(
        self: &Rc<Self>,
        target: TargetId,
        answer: &mut ReadAnswer,
        found: Found<E>,
        parts: &mut Vec<Bytes<E::Memory>>,
    ) {
        let status = match found {
            Found::Absent => Status::NotFound,
            Found::Refused(status) => status,
            Found::Head { version, len } => {
                (answer.version, answer.chunk_len) = (version, len);
                Status::Ok
            }
            Found::Map { version, len, extents } => {
                (answer.version, answer.chunk_len) = (version, len);
                let pairs = extents.iter().flat_map(|(offset, len)| [*offset, *len]);
                let bytes: Vec<u8> = pairs.flat_map(u32::to_le_bytes).collect();
                answer.bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                match bytes.is_empty() {
                    true => Status::Ok,
                    false => match engine_net::pooled(&self.env, &bytes).await {
                        Some(bytes) => {
                            parts.push(bytes);
                            Status::Ok
                        }
                        None => {
                            answer.bytes = 0;
                            Status::Busy
                        }
                    },
                }
            }
            Found::Bytes(reading) => match reading.finish().await {
                Ok(content) => {
                    answer.version = content.version.get();
                    answer.chunk_len = content.chunk_len;
                    answer.bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
                    parts.extend(content.parts);
                    Status::Ok
                }
                Err(error) => {
                    tracing::warn!(%error, "a read failed");
                    if let ReadError::Corrupt { key, block, version } = error {
                        self.repair_soon(target, (key.chunk, version), block);
                    }
                    refusals::of_read(&error)
                }
            },
        };
        answer.status = status.code();
    }
}
