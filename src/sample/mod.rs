//! Generation: many samples side by side through an engine's KV cache.

pub mod generate;

pub use crate::engine::Choice;
pub use generate::{Generated, Settings, generate};
