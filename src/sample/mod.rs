//! Generation: many samples side by side through an engine's KV cache.

pub mod choose;
pub mod generate;

pub use choose::Choice;
pub use generate::{Generated, Settings, generate};
