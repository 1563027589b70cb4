//! Generation: many records in parallel through an engine's KV cache, unconstrained or within a grammar.

mod active;
mod batch;
mod certain;
mod conditions;
pub mod constraint;
pub mod generate;
mod heal;
mod logprobs;

pub use crate::engine::SamplingParams;
pub use active::{Constrained, Finish, GeneratedRecord, GenerationRequest};
pub use batch::{DecodeBatch, Progress, SampleId};
pub use conditions::Conditions;
pub use constraint::{Constraint, DeadEnd, GrammarCompiler, Separators};
pub use generate::{Control, GenerationSettings, generate};
pub use logprobs::{Logprobs, TokenLogprob};
