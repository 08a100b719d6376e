//! Many Raft groups on one shared log.
