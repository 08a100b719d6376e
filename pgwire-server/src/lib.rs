//! The wire, the node, the `meridian` binary.
