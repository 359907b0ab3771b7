//! What a store's answer means for its replica, and for who asked.

use engine_craq::Refusal;
use engine_shard::ReadError;
use engine_store::UpdateError;
use engine_types::Status;

/// Why an update was not stored. `StoreFailed` ends the replica's part in its chain; anything else
/// ends the version in flight on all replicas.
pub(crate) fn of_update(error: &UpdateError) -> Refusal {
    use UpdateError as U;
    match error {
        // Old bytes that cannot be read are the predecessor's to replace (S16).
        U::Corrupt { .. } | U::OutOfService | U::NoTarget { .. } | U::NotPending { .. } => {
            Refusal::StoreFailed
        }
        U::WrongVersion { .. } | U::StaleChain { .. } => Refusal::StoreFailed,
        U::Fenced { .. } => Refusal::Fenced,
        U::TooManyChannels { .. } => Refusal::TooManyChannels,
        U::OldRequest { .. } => Refusal::OldRequest,
        U::StaleEpoch { .. } => Refusal::Invalid(Status::StaleEpoch),
        U::SizeMismatch { .. } | U::OutOfRange { .. } => Refusal::Invalid(Status::InvalidArgument),
        U::BadPayload { .. } => Refusal::Invalid(Status::BadChecksum),
        U::NoSpace { .. } | U::NoRecords { .. } => Refusal::NoSpace,
        U::TooManySessions { .. }
        | U::Busy { .. }
        | U::TooManyPending { .. }
        | U::TooManyPlans { .. }
        | U::OutOfMemory { .. } => Refusal::Busy,
    }
}

/// What a client is answered whose read failed.
pub(crate) fn of_read(error: &ReadError) -> Status {
    match error {
        ReadError::NoTarget { .. } => Status::WrongNode,
        ReadError::NoSuchChunk { .. } => Status::NotFound,
        ReadError::TooLarge { .. } => Status::TooLarge,
        ReadError::Corrupt { .. } | ReadError::Io { .. } | ReadError::OutOfService => {
            Status::Corrupt
        }
        ReadError::TooManyReads { .. } | ReadError::Memory(_) => Status::Busy,
    }
}
