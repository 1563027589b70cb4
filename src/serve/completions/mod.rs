//! `POST /v1/completions`: a request becomes a plan, its records are generated with those of all others, and what a client sees
//! of them is cut from what the model writes.

mod answer;
mod decoding;
mod endpoint;
mod grammars;
mod outbox;
mod plan;
mod request;
mod shown;

pub use decoding::{Decoding, Generation};
pub use endpoint::completions;
pub use grammars::Grammars;
