//! What a person looks at after a run: the loss curve, the page, and the verdicts on generated records.

mod curve;
pub mod evaluation;
pub mod generated;
mod page;
pub mod parse;

pub use curve::{LossCurve, loss_curve};
pub use page::{DemoReport, Sample, page};
pub use parse::{Form, Summary, Verdict, verdict};
