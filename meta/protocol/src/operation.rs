//! The operations, by their tags.

use meta_schema::{choices, records};

use crate::op;

macro_rules! operations {
    ($($code:literal = $name:ident;)*) => {
        /// What is asked for.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Operation {
            $(
                #[doc = concat!("See [`op::", stringify!($name), "`].")]
                $name(op::$name),
            )*
        }

        choices! {
            Operation, "operation" { $($code = $name(asked),)* }
        }

        impl Operation {
            /// The names of all, in the order of tags.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Its name, for counters and people.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// Its place in `NAMES`.
            pub const fn index(&self) -> usize {
                match self {
                    $(Self::$name(_) => $code - 1,)*
                }
            }
        }

        $(impl From<op::$name> for Operation {
            fn from(asked: op::$name) -> Self {
                Self::$name(asked)
            }
        })*
    };
}

operations! {
    1 = Lookup;
    2 = Walk;
    3 = Stat;
    4 = StatBatch;
    5 = Access;
    6 = Create;
    7 = Open;
    8 = Mkdir;
    9 = Mknod;
    10 = Symlink;
    11 = Readlink;
    12 = Link;
    13 = Unlink;
    14 = Rmdir;
    15 = Rename;
    16 = Readdir;
    17 = SetAttr;
    18 = Fallocate;
    19 = GetXattr;
    20 = SetXattr;
    21 = ListXattr;
    22 = RemoveXattr;
    23 = GetLock;
    24 = SetLock;
    25 = CancelLock;
    26 = ReleaseLocks;
    27 = GetLayout;
    28 = SetLayout;
    29 = Close;
    30 = Sync;
    31 = Append;
    32 = SetBlocks;
    33 = RemoveTree;
    34 = PruneSession;
    35 = FinishShrink;
    36 = StatFs;
}

records! {
    Operation = "operation";
}

impl Operation {
    /// True if it may change something, so that it has to be done at most once (E411). An open that
    /// neither writes nor truncates leaves nothing behind.
    pub const fn mutates(&self) -> bool {
        match self {
            Self::Lookup(_)
            | Self::Walk(_)
            | Self::Stat(_)
            | Self::StatBatch(_)
            | Self::Access(_)
            | Self::Readlink(_)
            | Self::Readdir(_)
            | Self::GetXattr(_)
            | Self::ListXattr(_)
            | Self::GetLock(_)
            | Self::GetLayout(_)
            | Self::StatFs(_) => false,
            Self::Open(open) => open.mode.write || open.mode.truncate || open.mode.append,
            Self::Create(_)
            | Self::Mkdir(_)
            | Self::Mknod(_)
            | Self::Symlink(_)
            | Self::Link(_)
            | Self::Unlink(_)
            | Self::Rmdir(_)
            | Self::Rename(_)
            | Self::SetAttr(_)
            | Self::Fallocate(_)
            | Self::SetXattr(_)
            | Self::RemoveXattr(_)
            | Self::SetLock(_)
            | Self::CancelLock(_)
            | Self::ReleaseLocks(_)
            | Self::SetLayout(_)
            | Self::Close(_)
            | Self::Sync(_)
            | Self::Append(_)
            | Self::SetBlocks(_)
            | Self::RemoveTree(_)
            | Self::PruneSession(_)
            | Self::FinishShrink(_) => true,
        }
    }
}
