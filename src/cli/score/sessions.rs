//! `score --group-by`: the flags that say what a session is.

use crate::cli::values;
use clap::Args;
use logwright::Result;
use logwright::score::session::{Grouping, SessionScore};

#[derive(Args)]
#[command(next_help_heading = "Sessions")]
pub struct GroupArgs {
    /// Score sessions (records with the same value in this field) and print one JSON object per session when it is closed
    #[arg(long, value_name = "PATH")]
    group_by: Option<String>,
    /// Close a session after N records [default: 1000]
    #[arg(long, value_name = "N", requires = "group_by", value_parser = clap::value_parser!(u32).range(1..))]
    group_window: Option<u32>,
    /// Close a session S seconds after its first record, by --time-field
    #[arg(long, value_name = "S", requires_all = ["group_by", "time_field"], value_parser = values::positive)]
    group_seconds: Option<f64>,
    /// Field that holds the time of a record: RFC 3339, a form that logs use, or seconds, milli-, micro- or nanoseconds since
    /// 1970 [default: where records usually have it; not for --group-seconds]
    #[arg(long, value_name = "PATH")]
    pub(super) time_field: Option<String>,
    /// Maximum number of open sessions; beyond it, the one that has been idle longest is closed
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "group_by", value_parser = clap::value_parser!(u32).range(1..))]
    group_open: u32,
    /// How the scores of a session's records become one score
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SessionScore::Max, requires = "group_by")]
    session_score: SessionScore,
}

impl GroupArgs {
    pub fn is_asked(&self) -> bool {
        self.group_by.is_some()
    }

    pub fn grouping(&self) -> Result<Option<Grouping>> {
        Ok(self.group_by.clone().map(|by| Grouping {
            by,
            score: self.session_score,
            window: self.group_window.unwrap_or(1000) as usize,
            seconds: self.group_seconds,
            time_field: self.time_field.clone(),
            open: self.group_open as usize,
        }))
    }
}
