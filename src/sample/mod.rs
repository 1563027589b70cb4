//! Generation: many samples side by side through an engine's KV cache.

mod conditions;
pub mod generate;

pub use crate::engine::Choice;
pub use conditions::Conditions;
pub use generate::{Generated, Settings, generate};
