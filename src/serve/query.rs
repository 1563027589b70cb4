//! The parameters of a request's address.

use super::fault::Fault;
use crate::output::{Schema, Writer};
use crate::record::Records;
use crate::score::Showing;
use crate::stream::StreamOptions;
use clap::ValueEnum;
use std::str::FromStr;

/// The parameters in their order; some may be repeated.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Errors: a parameter that none of `known` names.
    pub fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, Fault> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.unwrap_or("").as_bytes()).into_owned().collect();
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(Fault::of(name, format!("unknown parameter {name}; expected one of {}", known.join(", "))))
            }
            None => Ok(Query(pairs)),
        }
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// The last value of a parameter.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Errors: a value that is none of its kind.
    pub fn value<T: FromStr>(&self, name: &str, expected: &str, default: T) -> Result<T, Fault> {
        let Some(text) = self.last(name) else { return Ok(default) };
        text.parse().map_err(|_| Fault::of(name, format!("{name}: expected {expected}, found {text:?}")))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.last(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(other) => Err(Fault::of(name, format!("{name}: expected true or false, found {other:?}"))),
        }
    }
}

/// What `POST /score` was asked for.
pub struct ScoreQuery {
    top_fields: usize,
    keep: Vec<String>,
    with_record: bool,
    pub only_anomalies: bool,
    pub shade: bool,
    /// The schema of answers.
    schema: Schema,
    /// The stream that these records continue.
    pub stream: Option<String>,
    /// Whether that stream ends with them.
    pub end: bool,
}

/// The fields that a finding names where none are asked for, as in `logwright score`.
pub const TOP_FIELDS: usize = 5;
const LONGEST_NAME: usize = 200;

impl ScoreQuery {
    pub fn parse(text: Option<&str>) -> Result<Self, Fault> {
        let known = ["top_fields", "keep", "with_record", "only_anomalies", "shade", "output", "stream", "end"];
        let query = Query::parse(text, &known)?;
        let asked = ScoreQuery {
            top_fields: query.value("top_fields", "a number of fields (0: all)", TOP_FIELDS)?,
            keep: query.all("keep"),
            with_record: query.flag("with_record")?,
            only_anomalies: query.flag("only_anomalies")?,
            shade: query.flag("shade")?,
            schema: query.last("output").map_or(Ok(Schema::default()), schema)?,
            stream: query.last("stream").map(str::to_string),
            end: query.flag("end")?,
        };
        match &asked.stream {
            Some(name) if name.is_empty() || name.len() > LONGEST_NAME => Err(Fault::of(
                "stream",
                format!("stream: expected a name of 1 to {LONGEST_NAME} bytes, found {}", name.len()),
            )),
            _ if asked.shade && asked.schema != Schema::Jsonl => {
                Err(Fault::of("shade", "shade: only our own lines have a place for tokens; leave out shade or output"))
            }
            Some(name) if name.contains(char::REPLACEMENT_CHARACTER) => {
                Err(Fault::of("stream", "stream: expected a name in UTF-8, found other bytes"))
            }
            None if asked.end => Err(Fault::of("end", "end: it ends a stream; name one with stream=NAME")),
            _ => Ok(asked),
        }
    }

    /// Writes answers of the model of this name.
    pub fn writer(&self, model: &str) -> Writer {
        Writer::new(self.schema, model)
    }

    pub fn stream_options(
        &self,
        records: &Records,
        in_clear: bool,
        replaces_names: bool,
    ) -> Result<StreamOptions, Fault> {
        let showing = Showing::new(&self.keep, self.with_record, None, in_clear, records.open.clone());
        let showing = showing.map_err(|error| Fault::of("keep", error.to_string().replace("--keep ", "keep: ")))?;
        Ok(StreamOptions {
            showing: showing.with_entities(self.writer("").shows_entities()),
            top_fields: self.top_fields,
            shaded: self.shade,
            shows_broken_lines: in_clear || !replaces_names,
            // Messages hold nothing of records; answers and metrics say it.
            tells_drift: false,
            sources: Vec::new(),
        })
    }
}

fn schema(name: &str) -> Result<Schema, Fault> {
    Schema::from_str(name, false)
        .map_err(|_| Fault::of("output", format!("output: expected jsonl, ecs or ocsf, found {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_when_they_are_wrong() {
        let asked = ScoreQuery::parse(Some("keep=a.*&keep=b%20c&top_fields=0&shade=true&stream=x&end=1")).unwrap();
        assert_eq!(
            (asked.keep, asked.top_fields, asked.shade, asked.end),
            (vec!["a.*".into(), "b c".into()], 0, true, true)
        );
        for (text, param) in [
            ("colour=1", "colour"),
            ("top_fields=-1", "top_fields"),
            ("shade=yes", "shade"),
            ("end=1", "end"),
            ("stream=", "stream"),
            ("output=xml", "output"),
            ("output=ecs&shade=1", "shade"),
        ] {
            assert_eq!(ScoreQuery::parse(Some(text)).err().unwrap().param.as_deref(), Some(param));
        }
        let bad = ScoreQuery::parse(Some("keep=[")).unwrap();
        let fault = bad.stream_options(&Records::unknown(), false, false).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some("keep"));
    }
}
