//! The time of a record: which of its fields holds it.

use super::fields::{Leaf, leaves};
use super::text_fields::text_fields;
use super::time::{leading_seconds, log_seconds, plausible_seconds};

/// What fields with the time of an event are called, in lower case without punctuation (`@timestamp`, `event_time`); of two
/// that lie equally deep, the one that stands first here has it.
const NAMES: [&str; 19] = [
    "timestamp",
    "time",
    "eventtime",
    "eventtimestamp",
    "timecreated",
    "systemtime",
    "timegenerated",
    "activitydatetime",
    "createddatetime",
    "datetime",
    "utctime",
    "ts",
    "starttime",
    "start",
    "createdat",
    "created",
    "receivedtime",
    "eventreceivedtime",
    "date",
];

/// The time of a record in seconds since 1970: that in `field`, else where records usually have it, the member nearest to the
/// root of those with a usual name, or the beginning of a line of text.
pub fn record_seconds(record: &[u8], field: Option<&str>) -> Option<f64> {
    match (leaves(record), field) {
        (Some(leaves), Some(field)) => {
            leaves.iter().find(|leaf| leaf.path == field).and_then(|leaf| log_seconds(&leaf.value()))
        }
        (Some(leaves), None) => usual(&leaves),
        (None, Some(field)) => {
            let (_, place) = text_fields(record).into_iter().find(|(name, _)| name == field)?;
            log_seconds(std::str::from_utf8(&record[place]).ok()?)
        }
        (None, None) => leading_seconds(record),
    }
}

fn usual(leaves: &[Leaf]) -> Option<f64> {
    let mut candidates: Vec<(usize, usize, &Leaf)> = leaves.iter().filter_map(candidate).collect();
    candidates.sort_by_key(|&(depth, rank, _)| (depth, rank));
    candidates.into_iter().find_map(|(.., leaf)| plausible_seconds(&leaf.value()))
}

fn candidate<'a, 'b>(leaf: &'a Leaf<'b>) -> Option<(usize, usize, &'a Leaf<'b>)> {
    let name = leaf.path.rsplit('.').next().unwrap_or("");
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let rank = NAMES.iter().position(|&known| known == plain)?;
    Some((leaf.path.matches('.').count(), rank, leaf))
}

#[cfg(test)]
mod tests {
    use super::super::time::rfc3339;
    use super::*;

    #[test]
    fn records_have_their_time_in_usual_places() {
        for (record, expected) in [
            (
                r#"{"properties": {"createdDateTime": "2022-08-27T00:59:40Z"}, "time": "2022-08-27T00:59:39Z"}"#,
                Some(39),
            ),
            (r#"{"level": 1, "@timestamp": "2022-08-27T00:59:01Z", "date": 3}"#, Some(1)),
            (r#"{"event": {"eventTime": "2022-08-27T00:59:02Z"}, "ts": "none"}"#, Some(2)),
            (r#"{"EventTime":"2022-08-27 00:59:03","EventReceivedTime":"2022-08-27 00:59:09"}"#, Some(3)),
            (
                r##"{"Event":{"System":{"TimeCreated":{"#attributes":{"SystemTime":"2022-08-27T00:59:04Z"}}}}}"##,
                Some(4),
            ),
            (r#"{"ts":1661561945.5,"uid":"C"}"#, Some(5)),
            (r#"{"time": 12, "n": 1661561945}"#, None),
            (r#"{"duration": "2022-08-27T00:59:05Z"}"#, None),
            ("jdoe {\"time\": \"2022-08-27T00:59:06Z\"}", Some(6)),
            ("2022-08-27 00:59:07 a line", Some(7)),
        ] {
            let minute = log_seconds("2022-08-27T00:59:00Z").unwrap();
            let found = record_seconds(record.as_bytes(), None).map(|time| (time - minute) as i64);
            assert_eq!(found, expected, "{record}");
        }
    }

    #[test]
    fn a_named_field_is_the_only_place() {
        let record = br#"{"time": "2022-08-27T00:59:39Z", "n": 60}"#;
        assert_eq!(record_seconds(record, Some("n")).and_then(rfc3339).as_deref(), Some("1970-01-01T00:01:00Z"));
        assert_eq!(record_seconds(record, Some("m")), None);
        let line = b"h - - [01/Jan/1970:00:01:00 +0000] \"\" 400 -";
        assert_eq!(record_seconds(line, Some("time")), Some(60.0));
        assert_eq!(record_seconds(line, Some("status")), Some(400.0));
    }
}
