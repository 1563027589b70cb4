//! How odd is a record, and which of its fields make it so: surprisal, scores, thresholds, sessions, streams.
//!
//! The *surprisal* of a token is minus the logarithm of the probability that the model gave it after all before it, in nats.
//! A record's surprisals are cut into its fields; an [`Aggregate`] makes them one score; a calibration on normal records
//! says what is usual for each field and above which score a record is an anomaly.
//!
//! ```text
//! source -> scorer (surprisal -> fields) -> judge (aggregate, usual, threshold) -> finding | session
//! ```
//!
//! `logwright score` prints one JSON object a record, [`crate::report::explain::Finding`]:
//!
//! | key | what |
//! |---|---|
//! | `record` | number of the record in its input, from 1; empty lines do not count |
//! | `source` | name of the input, where there are several |
//! | `score`, `threshold`, `anomaly` | by the aggregate; the last two null without a threshold; an anomaly lies above it |
//! | `nats_per_char`, `nats_per_token` | surprisal of the whole record with its newline, over both |
//! | `max_token` | `text`, `nats` and byte offset `at` (in the record without a prefix) of the most surprising token in a field that counts |
//! | `fields` | the oddest ones: `path`, `value` (at most 200 characters), `nats`, and where a calibration taught it `expected` (mean nats of this path) and `excess`, which orders them |
//!
//! A line that is no record gives `record`, `source` and `error`; a session `session` (its key), `first` and `last` (record
//! numbers, with `first_source` and `last_source` where there are several inputs), `records`, `score`, `threshold`, `anomaly`
//! and `worst`, the finding on its record of the highest score, without a verdict of its own.

mod aggregate;
mod calibrate;
mod costs;
mod fields;
mod scorer;
pub mod session;
mod surprisal;
mod threshold;
mod usual;

pub use aggregate::{Aggregate, Selection, aggregate, excess};
pub use calibrate::{Calibrator, Reduced};
pub use costs::add_costs;
pub use fields::{END, Field, PREFIX, Parts, Piece, parts};
pub use scorer::{Judge, Measured, Scorer};
pub use session::{Grouping, Session, SessionScore, Sessions};
pub use surprisal::{Surprisals, encode, sequence_surprisals, surprisals};
pub use threshold::{Calibration, FILE as CALIBRATION, Method};
pub use usual::{Learner, Spread, Usual};
