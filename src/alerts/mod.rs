//! Anomalies -> alerts: equal ones are one alert, and a budget says how many of them a day may have.
//!
//! ```text
//! record -> clock (its time) -> pace (records a day) -> budget (the rate to ask for) -> threshold
//! anomaly -> template, odd fields -> an open alert of the same kind, or a new one
//! ```
//!
//! An anomaly belongs to an open alert where one of two things holds:
//!
//! * what is odd is the same: its template is nearly that of the alert, the same fields are odd, those of them that have few
//!   values (a country, a result) have the same one, and at least one has the same; or
//! * whose it is is the same: the record holds an odd value of the alert in a field with many values (an address, a session,
//!   a host), one that records without an anomaly hardly have.
//!
//! The first joins a fault that shows on many machines, the second the steps of one intruder. An alert is printed when it opens
//! and when it closes, each time as one JSON object:
//!
//! | key | meaning |
//! |---|---|
//! | `alert` | its identifier, the `id` of the finding that opened it |
//! | `state` | `open` or `closed` |
//! | `template` | what is common to such records: the paths of a JSON record, the names and fixed words of a line of text |
//! | `odd` | the odd fields: the value that all records of the alert have, or null where it may be any |
//! | `count`, `first`, `last` | number of its records so far, and `record`, `source` and `time` of the first and of the last |
//! | `values` | values of the odd fields, for each the first few |
//! | `finding` | when it opens the finding that opened it, when it closes the one with the highest score |
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
pub use group::{Alert, Alerts, Anomaly};
pub use kind::{Kind, MOST_ODD};
pub use pace::Span;
pub use template::Template;
pub use values::compared;
