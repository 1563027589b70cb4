//! Anomalies -> alerts: equal ones are one alert, and a budget says how many of them a day may have.
//!
//! ```text
//! record -> clock (its time) -> pace (records a day) -> budget (the rate to ask for) -> threshold
//! candidate -> template, odd fields -> those that it belongs to; together they are an alert, or not yet
//! ```
//!
//! Records with high scores are candidates, and what belongs together is one alert as soon as it is enough for one: its score is that of
//! its first record, and what those of the others exceed the least score of a candidate by. Were the records independent, normal ones
//! would reach the threshold together less often than alone, because hardly any two candidates belong together by chance.
//! A candidate belongs to others where one of two things holds:
//!
//! * what is odd is the same: its template is nearly that of the first, odd are the same fields with few values (a country, a
//!   result), with the same values, and of those with many values no others; or
//! * whose it is is the same: it has the value of the first in a field with many values (an address, a session, a host), one that
//!   at most a hundredth of the records without a high score have.
//!
//! The first joins a fault that shows on many machines, the second the steps of one intruder. An alert is printed when it opens
//! and when it closes, each time as one JSON object:
//!
//! | key | meaning |
//! |---|---|
//! | `alert` | its identifier, the `id` of its first finding |
//! | `state` | `open` or `closed` |
//! | `template` | what is common to such records: the paths of a JSON record, the names and fixed words of a line of text |
//! | `score`, `threshold` | the score of all its records together, and what it had to exceed when it opened |
//! | `odd` | what makes others the same: of the odd fields of its first record the value, or null for fields that may be odd with any value |
//! | `count`, `first`, `last` | number of its records so far, and `record`, `source` and `time` of the first and of the last |
//! | `values` | values of the odd fields, for each the first few |
//! | `finding` | the finding with the highest score so far |
//!
//! A consumer that makes a ticket of an alert makes it when the state is `open`, because the alert may last for hours, and puts
//! what `closed` says in its place, by `alert`. One that wants whole alerts only reads the closed ones, which say everything.
//! After a kill an alert may stay without its closing line.

mod budget;
mod clock;
mod group;
mod kind;
mod pace;
mod template;
mod values;

pub use budget::{Budget, rate_of};
pub use clock::Clock;
pub use group::{Alert, Alerts, Candidate};
pub use kind::{Kind, MOST_ODD};
pub use pace::Span;
pub use template::Template;
pub use values::compared;
