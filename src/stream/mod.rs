//! A stream of records -> answers: what was found in each record, and the sessions and alerts that follow from them.
//!
//! A stream has a state: the numbers of its records, open sessions and alerts, and whether it drifts. Whatever reads records and
//! prints answers (`logwright score`, a server) gives lines to a [`RecordStream`] one after another.

mod alerting;
mod answer;
mod lines;
mod record_stream;
pub mod sessions;

pub use alerting::Alerting;
pub use answer::{Answer, BrokenLine, Session};
pub use lines::{LineResult, Lines, measure};
pub use record_stream::{RecordStream, StreamCounts, StreamOptions};
