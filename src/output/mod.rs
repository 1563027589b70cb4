//! Answers as other tools read them: our own JSON lines, Elastic Common Schema, or OCSF Detection Findings.
//!
//! ```text
//! answer -> summary (verdict, risk, words) -> ecs | ocsf
//! ```
//!
//! A schema's own members hold what it has names for; everything else stays as it is in our own lines, in one place (`logwright`
//! in ECS, `unmapped` in OCSF). Each document names the version of its schema.

mod document;
mod ecs;
mod ocsf;
mod risk;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub use writer::{Schema, Writer};
