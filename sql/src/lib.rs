//! Text to rows.
