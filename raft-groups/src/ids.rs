//! Names of nodes, groups and replicas: one newtype each, so that none is taken for another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                $name(id)
            }
        }
    };
}

id! {
    /// One process of the cluster. Allocated by the cluster, never reused; 0 is a process that has none yet.
    NodeId, "n"
}

id! {
    /// One Raft group; equal to the ID of the range it replicates.
    GroupId, "g"
}

id! {
    /// One copy of a group. Never reused within its group: a replica removed and added again is a new one.
    ReplicaId, "r"
}
