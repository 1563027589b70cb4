//! How numbers are reported: of both sides, and as parts of a whole.

use serde::Serialize;

/// The same measure of two sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pair<T> {
    pub generated: T,
    /// The baseline.
    pub validation: T,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    pub count: u64,
    pub of: u64,
    /// 0 where `of` is 0.
    pub share: f64,
}

impl Share {
    pub fn new(count: u64, of: u64) -> Self {
        Self { count, of, share: if of == 0 { 0.0 } else { count as f64 / of as f64 } }
    }
}
