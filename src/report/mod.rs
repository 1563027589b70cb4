//! What a person reads after a run: the loss curve, HTML pages, and verdicts on generated records.

mod curve;
mod detection;
pub mod evaluation;
pub mod explain;
pub mod generated;
mod html;
mod page;
pub mod parse;

pub use curve::{LossCurve, loss_curve};
pub use detection::{DetectorScores, detection};
pub use html::visible;
pub use page::{DemoReport, JudgedRecord, page};
pub use parse::{Summary, Verdict, verdict};
