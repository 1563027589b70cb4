//! The body of `POST /v1/completions`: OpenAI's members, and those of logwright beside them.

use super::super::fault::Fault;
use crate::engine::SamplingParams;
use crate::sample::GrammarKind;
use axum::http::StatusCode;
use chrono::NaiveDate;
use serde_json::{Map, Value};

/// Most records of one request, over all its prompts.
pub const MOST_CHOICES: usize = 1024;
/// Most tokens of one request that its answer may hold, and where each has log probabilities.
const MOST_TOKENS: usize = 1 << 22;
const MOST_MEASURED_TOKENS: usize = 1 << 18;
/// Most bytes of the prompts and stops of all records of one request.
const MOST_COPIED: usize = 64 << 20;
/// Most likely tokens that are named beside each.
const MOST_LOGPROBS: u64 = 20;
const MOST_STOPS: usize = 16;
/// A record ends by itself, so the limit is there for those that do not: as `generate --max-tokens`.
const MAX_TOKENS: usize = 4096;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The model that it names.
    pub model: Option<String>,
    pub prompts: Vec<String>,
    /// Number of records for each prompt.
    pub n: usize,
    pub max_tokens: usize,
    pub params: SamplingParams,
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    /// So many likely tokens are named beside each token; None: no log probabilities.
    pub logprobs: Option<usize>,
    /// Whether the texts begin with their prompt.
    pub echo: bool,
    pub stream: bool,
    pub include_usage: bool,
    pub grammar: Option<GrammarKind>,
    /// Names of prefixes and their wanted values.
    pub wanted: Vec<(String, String)>,
    /// The first and the last day.
    pub days: Option<(NaiveDate, NaiveDate)>,
}

impl CompletionRequest {
    /// Members that mean nothing here are ignored, except those that would change what is generated.
    ///
    /// Errors: a member with a value that it cannot have, by its name.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|e| Fault::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {e}")))?;
        let Value::Object(members) = body else {
            return Err(Fault::new(StatusCode::BAD_REQUEST, "the body must be a JSON object"));
        };
        let members = Members(members);
        let n = members.whole("n", 1, MOST_CHOICES as u64)?.unwrap_or(1) as usize;
        members.refuse_what_is_not_supported(n)?;
        let stream = members.flag("stream")?;
        let request = CompletionRequest {
            model: members.text("model")?,
            prompts: members.prompts()?,
            n,
            max_tokens: members.whole("max_tokens", 0, MOST_TOKENS as u64)?.unwrap_or(MAX_TOKENS as u64) as usize,
            params: members.params()?,
            seed: members.seed()?,
            stop: members.stop()?,
            logprobs: members.whole("logprobs", 0, MOST_LOGPROBS)?.map(|count| count as usize),
            echo: members.flag("echo")?,
            stream,
            include_usage: members.include_usage(stream)?,
            grammar: members.grammar()?,
            wanted: members.wanted()?,
            days: members.days()?,
        };
        request.check_size()?;
        Ok(request)
    }

    /// Number of records.
    pub fn choices(&self) -> usize {
        self.prompts.len() * self.n
    }

    fn check_size(&self) -> Result<(), Fault> {
        let choices = self.choices();
        if choices > MOST_CHOICES {
            let message = format!("n: at most {MOST_CHOICES} records in one request, found {choices} over all prompts");
            return Err(Fault::of("n", message));
        }
        // Each record has a copy of its prompt and of what stops it.
        let stops: usize = self.stop.iter().map(|stop| stop.len()).sum();
        let bytes = self.n.saturating_mul(self.prompts.iter().map(|prompt| prompt.len() + stops).sum());
        if bytes > MOST_COPIED {
            let message = format!(
                "n: prompts and stops of all records of one request may have {MOST_COPIED} bytes, found {bytes}; ask in several"
            );
            return Err(Fault::of("n", message));
        }
        let (most, with) = match self.logprobs {
            Some(_) => (MOST_MEASURED_TOKENS, " with logprobs"),
            None => (MOST_TOKENS, ""),
        };
        let tokens = choices.saturating_mul(self.max_tokens);
        if tokens > most {
            return Err(Fault::of(
                "max_tokens",
                format!(
                    "max_tokens: at most {most} tokens over all records of one request{with}, found {tokens}; ask in several"
                ),
            ));
        }
        Ok(())
    }
}

/// The members of the body; `null` is as good as absent.
struct Members(Map<String, Value>);

fn wrong(name: &str, expected: &str, found: &Value) -> Fault {
    let found = match found {
        Value::Object(_) => "an object".to_string(),
        Value::Array(_) => "a list".to_string(),
        // A long text is a text of a record by mistake, and not for messages.
        Value::String(text) if text.len() > 40 => "a long text".to_string(),
        other => other.to_string(),
    };
    Fault::of(name, format!("{name}: expected {expected}, found {found}"))
}

impl Members {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(|text| Some(text.to_string())).ok_or_else(|| wrong(name, "a string", value))
    }

    fn flag(&self, name: &str) -> Result<bool, Fault> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(name, "true or false", value))
    }

    fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| wrong(name, &format!("a whole number from {least} to {most}"), value))
    }

    fn number(&self, name: &str, expected: &str, fits: impl Fn(f32) -> bool, default: f32) -> Result<f32, Fault> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_f64().map(|number| number as f32).filter(|number| fits(*number));
        number.ok_or_else(|| wrong(name, expected, value))
    }

    fn params(&self) -> Result<SamplingParams, Fault> {
        let is_temperature = |x: f32| x >= 0.0 && x.is_finite();
        Ok(SamplingParams {
            temperature: self.number("temperature", "a number of 0 or more", is_temperature, 1.0)?,
            top_k: self.whole("top_k", 0, u32::MAX.into())?.unwrap_or(0) as usize,
            top_p: self.number("top_p", "a number above 0 and up to 1", |x| x > 0.0 && x <= 1.0, 1.0)?,
        })
    }

    /// OpenAI's seeds are signed; a negative one is another seed than any of `generate`.
    fn seed(&self) -> Result<Option<u64>, Fault> {
        let Some(value) = self.get("seed") else { return Ok(None) };
        let seed = value.as_u64().or_else(|| value.as_i64().map(|seed| seed as u64));
        seed.map(Some).ok_or_else(|| wrong("seed", "a whole number", value))
    }

    fn prompts(&self) -> Result<Vec<String>, Fault> {
        const EXPECTED: &str =
            "a string or a list of strings, each the beginning of a record (lists of tokens are not read)";
        let prompts = match self.get("prompt") {
            None => vec![String::new()],
            Some(value) => {
                texts(value).filter(|texts| !texts.is_empty()).ok_or_else(|| wrong("prompt", EXPECTED, value))?
            }
        };
        match prompts.iter().position(|prompt| prompt.contains('\n')) {
            None => Ok(prompts),
            Some(at) => Err(Fault::of(
                "prompt",
                format!("prompt {}: it must not contain a newline, which ends a record", at + 1),
            )),
        }
    }

    fn stop(&self) -> Result<Vec<String>, Fault> {
        let Some(value) = self.get("stop") else { return Ok(Vec::new()) };
        let stops = texts(value).filter(|stops| stops.len() <= MOST_STOPS && stops.iter().all(|stop| !stop.is_empty()));
        stops.ok_or_else(|| {
            wrong("stop", &format!("a string or at most {MOST_STOPS} strings, none of them empty"), value)
        })
    }

    fn include_usage(&self, stream: bool) -> Result<bool, Fault> {
        let Some(value) = self.get("stream_options") else { return Ok(false) };
        let Value::Object(options) = value else { return Err(wrong("stream_options", "an object", value)) };
        if !stream {
            return Err(Fault::of("stream_options", "stream_options: only with \"stream\": true"));
        }
        Members(options.clone()).flag("include_usage")
    }

    fn grammar(&self) -> Result<Option<GrammarKind>, Fault> {
        const NAME: &str = "response_format";
        let Some(value) = self.get(NAME) else { return Ok(None) };
        let schema = || value.pointer("/json_schema/schema").filter(|schema| !schema.is_null());
        match value.get("type").and_then(Value::as_str) {
            Some("text") => Ok(None),
            Some("json_object") => Ok(Some(GrammarKind::AnyObject)),
            Some("learned") => Ok(Some(GrammarKind::Learnt)),
            Some("json_schema") => match schema() {
                Some(schema) => Ok(Some(GrammarKind::Schema(schema.clone(), format!("{NAME}.json_schema.schema")))),
                None => Err(Fault::of(NAME, format!("{NAME}: json_schema.schema, the JSON Schema, is missing"))),
            },
            _ => {
                let expected = "an object whose \"type\" is text, json_object, json_schema or learned";
                Err(wrong(NAME, expected, value.get("type").unwrap_or(value)))
            }
        }
    }

    fn wanted(&self) -> Result<Vec<(String, String)>, Fault> {
        const EXPECTED: &str = "an object of names and values, each a string, a number or a boolean";
        let Some(value) = self.get("where") else { return Ok(Vec::new()) };
        let Value::Object(wanted) = value else { return Err(wrong("where", EXPECTED, value)) };
        let pair = |(name, value): (&String, &Value)| match value {
            Value::String(text) if !text.is_empty() => Ok((name.clone(), text.clone())),
            Value::Number(_) | Value::Bool(_) => Ok((name.clone(), value.to_string())),
            _ => Err(wrong("where", EXPECTED, value)),
        };
        wanted.iter().map(pair).collect()
    }

    fn days(&self) -> Result<Option<(NaiveDate, NaiveDate)>, Fault> {
        let day = |name: &str| {
            let Some(value) = self.get(name) else { return Ok(None) };
            let day = value.as_str().and_then(|text| text.parse::<NaiveDate>().ok());
            day.map(Some).ok_or_else(|| wrong(name, "a day such as \"2026-01-31\"", value))
        };
        match (day("from")?, day("to")?) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Fault::of("to", "to: only with from, the first day")),
            (Some(first), last) if last.is_some_and(|last| last < first) => {
                Err(Fault::of("to", "to: it is earlier than from; expected a later day"))
            }
            (Some(first), last) => Ok(Some((first, last.unwrap_or(first)))),
        }
    }

    /// Members of OpenAI's that would change what is generated, and that this server would have to ignore.
    fn refuse_what_is_not_supported(&self, n: usize) -> Result<(), Fault> {
        let does_nothing = |name: &str, value: &Value| match value {
            _ if name == "best_of" => value.as_u64() == Some(n as u64),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        for name in ["best_of", "suffix", "logit_bias", "presence_penalty", "frequency_penalty"] {
            if let Some(value) = self.get(name).filter(|value| !does_nothing(name, value)) {
                return Err(wrong(name, "nothing: it is not supported; leave it out", value));
            }
        }
        Ok(())
    }
}

/// A string, or a list of strings.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(String::from)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: Value) -> Result<CompletionRequest, Fault> {
        CompletionRequest::parse(body.to_string().as_bytes())
    }

    #[test]
    fn what_is_left_out_is_as_openai_has_it() {
        let request = parse(json!({ "model": "m", "user": "ignored", "stop": null, "logit_bias": {} })).unwrap();
        let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
        assert_eq!(
            request,
            CompletionRequest {
                model: Some("m".into()),
                prompts: vec![String::new()],
                n: 1,
                max_tokens: 4096,
                params,
                seed: None,
                stop: vec![],
                logprobs: None,
                echo: false,
                stream: false,
                include_usage: false,
                grammar: None,
                wanted: vec![],
                days: None,
            }
        );
    }

    #[test]
    fn every_member_is_read() {
        let request = parse(json!({
            "prompt": ["a", "b"], "n": 3, "best_of": 3, "max_tokens": 7, "temperature": 0, "top_p": 0.5, "top_k": 4, "seed": -1,
            "stop": "x", "logprobs": 0, "echo": true, "stream": true, "stream_options": { "include_usage": true },
            "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": { "type": "object" } } },
            "where": { "user": "al", "code": 5 }, "from": "2026-01-30", "to": "2026-02-01"
        }));
        let request = request.unwrap();
        assert_eq!((request.prompts.len(), request.choices(), request.max_tokens), (2, 6, 7));
        assert_eq!(request.params, SamplingParams { temperature: 0.0, top_k: 4, top_p: 0.5 });
        assert_eq!((request.seed, request.logprobs), (Some(u64::MAX), Some(0)));
        assert!(request.echo && request.stream && request.include_usage);
        let name = "response_format.json_schema.schema".to_string();
        assert_eq!(request.grammar, Some(GrammarKind::Schema(json!({ "type": "object" }), name)));
        assert_eq!(request.wanted, [("user".to_string(), "al".to_string()), ("code".into(), "5".into())]);
        assert_eq!(request.days.unwrap().1.to_string(), "2026-02-01");
    }

    #[test]
    fn a_wrong_member_is_named() {
        for (body, param, words) in [
            (json!({ "n": 0 }), "n", "from 1 to 1024, found 0"),
            (json!({ "n": 600, "prompt": ["a", "b"] }), "n", "found 1200"),
            (json!({ "n": 1024, "max_tokens": 5000 }), "max_tokens", "ask in several"),
            (json!({ "n": 128, "max_tokens": 4096, "logprobs": 1 }), "max_tokens", "with logprobs"),
            (json!({ "max_tokens": 1.5 }), "max_tokens", "found 1.5"),
            (json!({ "temperature": -1 }), "temperature", "found -1"),
            (json!({ "temperature": "hot" }), "temperature", "\"hot\""),
            (json!({ "top_p": 0 }), "top_p", "above 0"),
            (json!({ "seed": 1.5 }), "seed", "whole"),
            (json!({ "prompt": [] }), "prompt", "a list"),
            (json!({ "prompt": [[1, 2]] }), "prompt", "lists of tokens"),
            (json!({ "prompt": ["a", "b\nc"] }), "prompt", "prompt 2"),
            (json!({ "stop": ["a", ""] }), "stop", "none of them empty"),
            (json!({ "logprobs": 21 }), "logprobs", "to 20"),
            (json!({ "logprobs": true }), "logprobs", "found true"),
            (json!({ "echo": 1 }), "echo", "true or false"),
            (json!({ "stream_options": {} }), "stream_options", "stream"),
            (json!({ "response_format": "json" }), "response_format", "learned"),
            (json!({ "response_format": { "type": "xml" } }), "response_format", "\"xml\""),
            (json!({ "response_format": { "type": "json_schema" } }), "response_format", "missing"),
            (json!({ "where": ["a"] }), "where", "a list"),
            (json!({ "where": { "user": {} } }), "where", "an object"),
            (json!({ "from": "yesterday" }), "from", "2026-01-31"),
            (json!({ "to": "2026-01-01" }), "to", "only with from"),
            (json!({ "from": "2026-01-02", "to": "2026-01-01" }), "to", "earlier"),
            (json!({ "best_of": 2 }), "best_of", "not supported"),
            (json!({ "suffix": "x" }), "suffix", "not supported"),
            (json!({ "presence_penalty": 0.5 }), "presence_penalty", "not supported"),
            (json!({ "logit_bias": { "5": 1 } }), "logit_bias", "not supported"),
            (json!({ "model": 5 }), "model", "a string"),
        ] {
            let fault = parse(body.clone()).expect_err(&body.to_string());
            assert_eq!((fault.status.as_u16(), fault.param.as_deref()), (400, Some(param)), "{body}");
            assert!(fault.message.contains(words), "{body}: {}", fault.message);
        }
        for body in ["", "[]", "{", "\"x\""] {
            let fault = CompletionRequest::parse(body.as_bytes()).unwrap_err();
            assert!(fault.status == 400 && fault.message.contains("JSON"), "{body}: {fault:?}");
        }
        let secret = "a text of a record, long enough to be one".repeat(3);
        assert!(!parse(json!({ "where": secret })).unwrap_err().message.contains("record"));
    }
}
