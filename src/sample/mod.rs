//! Generation: many samples side by side through an engine's KV cache, free or within a grammar.

pub mod constraint;
pub mod generate;

pub use crate::engine::Choice;
pub use constraint::{Constraint, Separators, Stuck};
pub use generate::{Constrained, Control, Generated, Settings, generate, generate_under};
