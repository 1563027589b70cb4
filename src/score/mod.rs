//! How unusual is a record, and which of its fields make it so: surprisal, scores, thresholds, sessions.
//!
//! The *surprisal* of a token is minus the logarithm of the probability that the model gave it after all tokens before it, in
//! nats. The surprisals of a record are divided among its fields; an [`Aggregate`] makes one score of them; a calibration on
//! normal records learns the statistics of each field and the score above which a record is an anomaly.
//!
//! ```text
//! source -> scorer (surprisal -> fields) -> detector (aggregate, statistics, threshold) -> finding | session
//! ```
//!
//! What `logwright score` prints of each record is a [`crate::finding::Finding`].

mod aggregate;
mod calibrate;
mod clocks;
mod costs;
mod course;
mod detector;
mod drift;
mod entities;
mod evidence;
mod fields;
mod learn;
mod lesson;
mod original;
mod ranks;
mod scorer;
pub mod session;
mod showing;
mod steps;
mod surprisal;
mod threshold;

pub use aggregate::{Aggregate, Selection, aggregate};
pub use calibrate::{Calibrator, Reduced};
pub use costs::add_costs;
pub use course::{Course, NormalSessions};
pub use detector::{Assessed, AssessedSession, Detector, ORDER};
pub use drift::DriftMonitor;
pub use evidence::{KINDS, NormalEvidence};
pub use fields::{END, FieldSurprisal, PREFIX, Parts, Piece, parts};
pub use original::Original;
pub use ranks::Ranks;
pub use scorer::{RecordReader, ScoredRecord, Scorer, ScoringModel, Tokenized, arrangement, mean_surprisal};
pub use session::{Grouping, Session, SessionScore, Sessions};
pub use showing::{ReadRecord, Showing};
pub use surprisal::{SurprisalRun, Surprisals, sequence_surprisals, surprisals};
pub use threshold::{Calibration, FILE as CALIBRATION, ScoringMethod};
