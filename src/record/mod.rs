//! What a record is made of: its fields, the prefix put in front of it, its form, and the schema that a corpus teaches.

pub mod fields;
mod form;
mod prefix;
mod records;
pub mod schema;

pub use form::Form;
pub(crate) use prefix::put as put_prefix;
pub use prefix::{PLACEHOLDER, Prefix, text as prefix_text, values as prefix_values};
pub use records::{MOST_COMBINATIONS, Records, RecordsBuilder};
