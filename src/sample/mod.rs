//! Generation: many samples side by side through an engine's KV cache, free or within a grammar.

mod conditions;
pub mod constraint;
pub mod generate;

pub use crate::engine::SamplingParams;
pub use conditions::Conditions;
pub use constraint::{Constraint, DeadEnd, Separators};
pub use generate::{Constrained, Control, GeneratedRecord, GenerationSettings, generate};
