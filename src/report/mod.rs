//! What a person reads after a run: the loss curve, HTML pages, and verdicts on generated records.

mod columns;
mod curve;
mod demo;
mod detection;
pub mod evaluation;
pub mod explain;
pub mod generated;
mod html;
mod judged;
pub mod parse;

pub use columns::columns;
pub use curve::{LossCurve, loss_curve};
pub use demo::{Attacked, DemoReport, Detected, page, quality};
pub use detection::{DetectorScores, detection};
pub use html::visible;
pub use judged::JudgedRecord;
pub use parse::{Summary, Verdict, verdict};
