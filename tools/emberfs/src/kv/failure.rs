//! What the errors of the store mean for an operator.

use meta_kv::KvError;
use meta_kv::backup::BackupError;
use meta_kv::engine::EngineError;
use meta_kv::engine::directory::OpenError;

use crate::exit::Failure;

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::Locked { .. } => Self::environment(error).hint(
                "stop that process first, or reach the store through it: --address and --cluster",
            ),
            OpenError::Io { reason, .. } if reason.contains("ermission denied") => {
                Self::environment(error).hint("run it as the owner of the store, or as root")
            }
            OpenError::Io { .. } => Self::environment(error),
            OpenError::Missing { path } => {
                let path = path.display().to_string();
                let hint = format!("emberfs kv create --dir {path} --cluster FILE");
                Self::problem(anyhow::anyhow!("{path} holds no store")).hint(hint)
            }
            OpenError::NotEmpty { .. } => {
                Self::problem(error).hint("name a new or empty directory; nothing was changed")
            }
            OpenError::Newer { .. } => Self::problem(error).hint("use the newer emberfs"),
            OpenError::Damaged { .. } => {
                Self::problem(error).hint("restore a backup: emberfs kv restore FILE --dir NEW")
            }
            OpenError::Unfinished { .. } | OpenError::Foreign { .. } => Self::problem(error),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Damaged { .. } => {
                Self::problem(error).hint("restore a backup: emberfs kv restore FILE --dir NEW")
            }
            EngineError::Full { .. } | EngineError::Io { .. } => Self::environment(error),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Engine(error) => error.into(),
            BackupError::Open(error) => error.into(),
            BackupError::Write { .. } | BackupError::Read { .. } => Self::environment(error),
            BackupError::Newer { .. } => Self::problem(error).hint("use the newer emberfs"),
            BackupError::Foreign { .. } => Self::problem(error),
            BackupError::Cut { .. } | BackupError::Damaged { .. } => {
                Self::problem(error).hint("it restores nothing; use another backup")
            }
        }
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        match error {
            KvError::KeyTooLong { .. }
            | KvError::OutsideLegalRange { .. }
            | KvError::InvertedRange { .. } => Self::usage(error),
            error => Self::environment(error),
        }
    }
}
