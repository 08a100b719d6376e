//! Tests of the whole coordinator.
