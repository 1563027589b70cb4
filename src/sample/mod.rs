//! Generation: many records in parallel through an engine's KV cache, unconstrained or within a grammar.

mod conditions;
pub mod constraint;
pub mod generate;
mod heal;

pub use crate::engine::SamplingParams;
pub use conditions::Conditions;
pub use constraint::{Constraint, DeadEnd, GrammarCompiler, Separators};
pub use generate::{Constrained, Control, GeneratedRecord, GenerationSettings, generate};
