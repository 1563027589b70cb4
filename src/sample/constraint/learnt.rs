//! The grammar of a learnt schema: JSON as the training records write it, byte for byte. It is text in the notation of the
//! llguidance crate (that of Lark): rules in small letters, regular expressions for the tokens of JSON in capitals.

use super::object::{Member, Object};
use super::writer::Writer;
use crate::record::json_tree::Gap;
use crate::record::schema::{ANY_ORDER, ANYWHERE, MOST_ORDERED, OPENED, SPELLINGS, WRITTEN};
use crate::record::schema::{any_number, any_text, plain_spelling};
use crate::{Error, Result};
use llguidance::derivre::{RegexAst, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Enough for the regular expressions of fields, which are short.
const MOST_WORK: u64 = 1_000_000;

/// The keyword of a field that a condition fixes: a regular expression for it as it is written.
pub const FIXED: &str = "x-fixed";

/// Keywords that a learnt schema has.
const KNOWN: [&str; 21] = [
    "$schema",
    "type",
    "const",
    "enum",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "pattern",
    "maxLength",
    "minimum",
    "maximum",
    WRITTEN,
    FIXED,
    SPELLINGS,
    ANY_ORDER,
    ANYWHERE,
    OPENED,
];

/// The grammar of a learnt schema. `gaps` is the white space of the records; `prefixed`: the text before the object is read
/// elsewhere; `name` is the schema's file, for messages.
pub fn grammar(schema: &Value, gaps: &BTreeMap<Gap, String>, prefixed: bool, name: &str) -> Result<String> {
    let mut compiler = Compiler { writer: Writer::new(gaps), name, anything: None };
    if let Some([text, number, mark @ ..]) = schema.get(ANYWHERE).and_then(Value::as_array).map(Vec::as_slice) {
        let text_of = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_string();
        compiler.anything(&text_of(Some(text)), &text_of(Some(number)), &text_of(mark.first()));
    }
    let front = if prefixed { String::new() } else { compiler.writer.gap(Gap::Front) };
    let back = compiler.writer.gap(Gap::Back);
    let object = compiler.object(schema, "", [&front, &back])?;
    Ok(compiler.writer.finish(&object))
}

struct Compiler<'a> {
    writer: Writer<'a>,
    name: &'a str,
    /// The rule of any value, once it is written.
    anything: Option<String>,
}

impl Compiler<'_> {
    fn refused(&self, pointer: &str, what: &str) -> Error {
        Error::failed(format!(
            "{}: {pointer}: {what} is not what prepare writes there; for a schema of your own use --schema FILE",
            self.name
        ))
    }

    /// The expression of a value; None if nothing fits.
    fn value(&mut self, schema: &Value, pointer: &str) -> Result<Option<String>> {
        let keywords = match schema {
            Value::Bool(false) => return Ok(None),
            Value::Bool(true) => return Ok(Some(self.any_value())),
            Value::Object(keywords) => keywords,
            _ => return Err(self.refused(pointer, "a schema that is no object")),
        };
        if let Some(key) = keywords.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(self.refused(&format!("{pointer}/{key}"), &format!("\"{key}\"")));
        }
        if let Some(fixed) = keywords.get(FIXED).and_then(Value::as_str) {
            return self.fixed(fixed, keywords, pointer).map(Some);
        }
        if let Some(options) = list(keywords, "anyOf") {
            let options = options.iter().enumerate();
            let options: Result<Vec<_>> =
                options.map(|(i, option)| self.value(option, &format!("{pointer}/anyOf/{i}"))).collect();
            let options: Vec<String> = options?.into_iter().flatten().collect();
            return Ok((!options.is_empty()).then(|| format!("({})", options.join(" | "))));
        }
        if let Some(regex) = self.scalar(keywords, pointer)? {
            return Ok(Some(self.writer.terminal(&regex)));
        }
        match keywords.get("type").and_then(Value::as_str) {
            _ if keywords.contains_key("enum") => Ok(None),
            None => Ok(Some(self.any_value())),
            Some("object") => self.object(schema, pointer, ["", ""]).map(Some),
            Some(_) => self.array(keywords, pointer).map(Some),
        }
    }

    /// What a condition asks for, within what the schema says of strings, numbers and the like; against the schema where that
    /// is not possible, because what never occurred may be asked for.
    fn fixed(&mut self, fixed: &str, keywords: &Map<String, Value>, pointer: &str) -> Result<String> {
        let options = list(keywords, "anyOf").unwrap_or_default().iter().filter_map(Value::as_object);
        let regexes: Result<Vec<_>> = options.chain([keywords]).map(|option| self.scalar(option, pointer)).collect();
        let regexes: Vec<String> = regexes?.into_iter().flatten().collect();
        let usual = format!("({})", regexes.join("|"));
        Ok(match regexes.is_empty() || exclude_each_other(fixed, &usual) {
            true => self.writer.terminal(fixed),
            false => self.writer.both(fixed, &usual),
        })
    }

    /// The regular expression of values that contain no others; None if the schema is not of such values.
    fn scalar(&self, keywords: &Map<String, Value>, pointer: &str) -> Result<Option<String>> {
        let text = |key: &str| keywords.get(key).and_then(Value::as_str);
        if let Some(written) = text(WRITTEN) {
            return Ok(Some(written.to_string()));
        }
        if let Some(values) = keywords.get("const").map(std::slice::from_ref).or(list(keywords, "enum")) {
            let values: Vec<String> = values.iter().map(|value| regex::escape(&value.to_string())).collect();
            return Ok((!values.is_empty()).then(|| format!("({})", values.join("|"))));
        }
        let kind = match keywords.get("type") {
            None => return Ok(None),
            Some(kind) => kind.as_str().ok_or_else(|| self.refused(&format!("{pointer}/type"), "a list of types"))?,
        };
        let ranged = keywords.contains_key("minimum") || keywords.contains_key("maximum");
        Ok(Some(match kind {
            "null" => "null".to_string(),
            "boolean" => "(true|false)".to_string(),
            "object" | "array" => return Ok(None),
            "string" => {
                match text("pattern").map(|pattern| pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$'))) {
                    Some(Some(pattern)) => format!("\"{pattern}\""),
                    Some(None) => return Err(self.refused(&format!("{pointer}/pattern"), "a pattern without anchors")),
                    None => any_text(count(keywords, "maxLength"), false),
                }
            }
            "integer" | "number" if ranged => {
                return Err(self.refused(pointer, &format!("a range without \"{WRITTEN}\"")));
            }
            "integer" => "-?(0|[1-9][0-9]{0,20})".to_string(),
            "number" => any_number(),
            other => return Err(self.refused(&format!("{pointer}/type"), &format!("\"{other}\""))),
        }))
    }

    fn object(&mut self, schema: &Value, pointer: &str, around: [&str; 2]) -> Result<String> {
        let none = Map::new();
        let named = |key: &str| schema.get(key).and_then(Value::as_object).unwrap_or(&none);
        let (properties, spellings) = (named("properties"), named(SPELLINGS));
        let required = schema.as_object().and_then(|keywords| list(keywords, "required")).unwrap_or_default();
        let mut members = Vec::with_capacity(properties.len());
        for (name, property) in properties {
            let at = format!("{pointer}/properties/{name}");
            let odd = spellings.get(name).and_then(Value::as_array).map(|regexes| {
                let regexes: Vec<&str> = regexes.iter().filter_map(Value::as_str).collect();
                format!("({})", regexes.join("|"))
            });
            let is_required = required.iter().any(|one| one == name);
            let spelling = odd.unwrap_or_else(|| plain_spelling(name));
            match self.value(property, &at)? {
                Some(value) => {
                    let key = self.writer.name_and_colon(&spelling);
                    let text = format!("{} {value}", self.writer.terminal(&key));
                    members.push(Member { name: name.clone(), spelling, text: Some(text), is_required });
                }
                None if is_required => return Err(self.refused(&at, "a required member without a value")),
                None => members.push(Member { name: name.clone(), spelling, text: None, is_required }),
            }
        }
        let any_order = schema.get(ANY_ORDER) == Some(&Value::Bool(true));
        let groups = schema.get(ANY_ORDER).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let groups = groups.iter().map(|group| {
            let names = group.as_array().map_or(&[][..], Vec::as_slice).iter();
            names.filter_map(|name| Some(name.as_str()?.to_string())).collect()
        });
        let rest = match schema.get("additionalProperties") {
            None => Some(self.any_value()),
            Some(rest) => self.value(rest, &format!("{pointer}/additionalProperties"))?,
        };
        let mark = schema.as_object().map_or("", mark);
        let object = Object { mark, members, groups: groups.collect(), any_order, rest, most_ordered: MOST_ORDERED };
        Ok(object.write(&mut self.writer, around))
    }

    fn array(&mut self, keywords: &Map<String, Value>, pointer: &str) -> Result<String> {
        let (least, most) = (count(keywords, "minItems").unwrap_or(0), count(keywords, "maxItems"));
        let item = match keywords.get("items") {
            None if most == Some(0) => None,
            None => Some(self.any_value()),
            Some(items) => self.value(items, &format!("{pointer}/items"))?,
        };
        let [open, close, empty] = self.writer.brackets([&format!(r"\[{}", mark(keywords)), r"\]"], ["", ""]);
        let Some(item) = item.filter(|_| most != Some(0)) else { return Ok(empty) };
        let comma = self.writer.comma();
        let more = match most {
            Some(1) => String::new(),
            Some(most) => format!("({comma} {item}){{{},{}}}", least.saturating_sub(1), most.saturating_sub(1)),
            None => format!("({comma} {item}){{{},}}", least.saturating_sub(1)),
        };
        let some = format!("{open} {item} {more} {close}");
        Ok(self.writer.rule(&if least == 0 { format!("{empty} | {some}") } else { some }))
    }

    fn any_value(&mut self) -> String {
        match &self.anything {
            Some(rule) => rule.clone(),
            None => self.anything(&any_text(None, false), &any_number(), ""),
        }
    }

    /// Writes the rule of any value with these strings and numbers, and this before objects and arrays.
    fn anything(&mut self, text: &str, number: &str, mark: &str) -> String {
        let scalar = self.writer.terminal(&format!("({text}|{number}|true|false|null)"));
        let name = self.writer.terminal(&format!("{text}{}", self.writer.colon()));
        let comma = self.writer.comma();
        let [open, close, empty] = self.writer.brackets([&format!(r"\{{{mark}"), r"\}"], ["", ""]);
        let [first, last, none] = self.writer.brackets([&format!(r"\[{mark}"), r"\]"], ["", ""]);
        let rule = format!(
            "{scalar} | {empty} | {none} | {open} {name} anything ({comma} {name} anything)* {close} \
             | {first} anything ({comma} anything)* {last}"
        );
        self.writer.named_rule("anything", &rule);
        self.anything = Some("anything".to_string());
        "anything".to_string()
    }
}

/// Whether no text fits two regular expressions.
fn exclude_each_other(one: &str, other: &str) -> bool {
    let mut builder = RegexBuilder::new();
    let both = RegexAst::And(vec![RegexAst::Regex(one.to_string()), RegexAst::Regex(other.to_string())]);
    let both = builder.mk(&both).and_then(|both| builder.to_regex_limited(both, MOST_WORK));
    both.is_ok_and(|mut both| both.always_empty())
}

/// What an opened string has behind its first bracket, as a regular expression.
fn mark(keywords: &Map<String, Value>) -> &'static str {
    if keywords.get(OPENED) == Some(&Value::Bool(true)) { r"\r\r" } else { "" }
}

fn list<'a>(keywords: &'a Map<String, Value>, key: &str) -> Option<&'a [Value]> {
    keywords.get(key).and_then(Value::as_array).map(Vec::as_slice)
}

fn count(keywords: &Map<String, Value>, key: &str) -> Option<usize> {
    keywords.get(key).and_then(Value::as_u64).map(|count| count as usize)
}
