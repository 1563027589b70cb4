//! What a record consists of: its fields, the prefix in front of it, its form, and the schema learnt from a corpus.

mod arrange;
pub mod fields;
mod form;
pub mod json;
pub mod json_tree;
mod object;
mod opened;
mod prefix;
mod record_time;
mod records;
pub mod schema;
mod text_fields;
mod time;
mod wanted;

pub use arrange::{Arranged, Arrangement};
pub use form::Form;
pub use object::{check_object, object_fault};
pub use opened::{OpenedReport, Opening};
pub(crate) use prefix::put as put_prefix;
pub use prefix::{PLACEHOLDER, Prefix, text as prefix_text, values as prefix_values};
pub use record_time::record_seconds;
pub use records::{MOST_COMBINATIONS, Records, RecordsBuilder};
pub use text_fields::text_fields;
pub use time::{log_seconds, rfc3339, seconds};
pub use wanted::Wanted;
