//! The report of `evaluate`: one JSON object, and a page for people.

mod data;
mod glance;
mod groups;
mod labelled;
mod numbers;
mod page;
mod plots;
mod privacy;
mod rules;

pub use data::{Detected, Evaluation, Exposed, GeneratedQuality, LanguageModel};
pub use glance::glance;
pub use page::{REPORT_FILES, write_report};
