//! Converts a profile to a JSON Schema, draft 2020-12.
//!
//! A JSON Schema speaks of values; how they are written stands in keywords of its own, which other readers pass over:
//! `x-written` is a regular expression for a value as JSON text, `x-spellings` lists the spellings of names that are written
//! with needless escapes, and `x-any-order` lists groups of names that follow each other in any order; `true` stands for all
//! names that are not required, among names that the schema does not know. `x-opened` says that the value is a string of JSON,
//! opened.

use super::node::{ArrayProfile, Node, ObjectProfile, Property};
use super::number_profile::NumberProfile;
use super::profile::Profile;
use super::string_profile::{StringProfile, StringRule};
use super::values::ENOUGH;
use super::written;
use serde_json::{Map, Value, json};

pub const WRITTEN: &str = "x-written";
pub const SPELLINGS: &str = "x-spellings";
pub const ANY_ORDER: &str = "x-any-order";
pub const OPENED: &str = "x-opened";
/// The strings, numbers and marks of opened strings where any JSON is allowed, if some are more than usual; at the top of the schema.
pub const ANYWHERE: &str = "x-anywhere";

/// The most names in any order of which a grammar lists all orders; of more, none is required.
pub const MOST_ORDERED: usize = 3;

impl Profile {
    /// A schema that every learnt record satisfies. `properties` are in the usual order of the keys; `required` lists the
    /// keys that every one of many records has. Numbers are bounded where they do not grow, arrays and strings without a
    /// pattern by twice the greatest length. Regular expressions are anchored and use no lookaround or backreferences.
    pub fn to_json_schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        match self.root.schema(self.records) {
            Value::Object(root) if self.records > 0 => schema.extend(root),
            _ => drop(schema.insert("type".into(), "object".into())),
        }
        if let Some(unusual) = self.budget.anywhere.unusual() {
            schema.insert(ANYWHERE.into(), json!(unusual));
        }
        schema.into()
    }
}

impl Node {
    fn schema(&self, records: u64) -> Value {
        if self.is_rare(records) {
            return Value::Bool(true);
        }
        let mut kinds = self.kinds(records);
        match kinds.len() {
            // No value was ever at this path: it is for the elements of an array that was always empty.
            0 => Value::Bool(false),
            1 => kinds.remove(0),
            _ => json!({ "anyOf": kinds }),
        }
    }

    /// A schema for each type of value.
    fn kinds(&self, records: u64) -> Vec<Value> {
        let mut kinds = Vec::new();
        if self.nulls > 0 {
            kinds.push(json!({ "type": "null" }));
        }
        match self.booleans {
            [0, 0] => (),
            [0, _] if self.closed_booleans() => kinds.push(json!({ "const": true })),
            [_, 0] if self.closed_booleans() => kinds.push(json!({ "const": false })),
            _ => kinds.push(json!({ "type": "boolean" })),
        }
        if self.numbers.seen > 0 {
            kinds.push(self.numbers.schema());
        }
        kinds.extend(self.strings.as_ref().map(|strings| strings.schema()));
        kinds.extend(self.object.as_ref().map(|object| object.schema(records)));
        kinds.extend(self.array.as_ref().map(|array| array.schema(records)));
        if self.deeper > 0 {
            kinds.extend([json!({ "type": "object" }), json!({ "type": "array" })]);
        }
        if let Some(opened) = &self.opened {
            let inner = if opened.is_rare(records) { vec![json!({})] } else { opened.kinds(records) };
            kinds.extend(inner.into_iter().map(|mut kind| {
                kind[OPENED] = true.into();
                kind
            }));
        }
        kinds
    }
}

impl NumberProfile {
    fn schema(&self) -> Value {
        let kind = if self.integers == self.seen { "integer" } else { "number" };
        // Grammars of other programs lose integers beyond about 2^53, as 64-bit floats do.
        let exact = |value: &Value| value.as_f64().is_some_and(|value| value.abs() < 9e15);
        let values = self.values.closed().map(|values| values.keys().map(|raw| serde_json::from_str::<Value>(raw)));
        let values: Option<Vec<Value>> = values.and_then(|values| values.map(Result::ok).collect());
        let mut schema = match values.filter(|values| values.iter().all(exact)) {
            Some(values) => one_of(values),
            None => json!({ "type": kind }),
        };
        if self.values.closed().is_none() {
            for (keyword, bound) in ["minimum", "maximum"].into_iter().zip(self.bounds()) {
                bound.inspect(|&bound| schema[keyword] = bound.into());
            }
        }
        schema[WRITTEN] = self.written().into();
        schema
    }
}

impl StringProfile {
    fn schema(&self) -> Value {
        let mut schema = match self.rule() {
            StringRule::Category(values) => one_of(values.keys().map(|value| value.as_str().into()).collect()),
            StringRule::Free => match self.most_characters() {
                Some(most) => json!({ "type": "string", "maxLength": most }),
                None => json!({ "type": "string" }),
            },
            rule => json!({ "type": "string", "pattern": rule.regex() }),
        };
        if let Some(written) = self.written() {
            schema[WRITTEN] = written.into();
        }
        schema
    }
}

/// `const` for one value, `enum` for several.
fn one_of(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { json!({ "const": values.remove(0) }) } else { json!({ "enum": values }) }
}

impl ObjectProfile {
    fn schema(&self, records: u64) -> Value {
        let order = self.usual_order();
        let is_open = self.is_open();
        let member = |&number: &usize| &self.properties[number];
        // Of names in any order a grammar requires none, unless they are few.
        let most = if is_open { 1 } else { MOST_ORDERED };
        let ordered = order.iter().filter(|group| group.len() <= most).flatten().map(member);
        let required: Vec<&str> =
            ordered.filter(|member| self.requires(member)).map(|member| member.name.as_str()).collect();
        let members = || order.iter().flatten().map(member);
        let properties: Map<String, Value> =
            members().map(|member| (member.name.clone(), member.node.schema(records))).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if !is_open {
            schema["additionalProperties"] = false.into();
        }
        let names = |group: &Vec<usize>| group.iter().map(|number| member(number).name.as_str()).collect();
        let groups: Vec<Vec<&str>> = order.iter().filter(|group| group.len() > 1).map(names).collect();
        if is_open && required.len() < self.properties.len() {
            // New names come, and so do new orders of the old ones.
            schema[ANY_ORDER] = true.into();
        } else if !groups.is_empty() {
            schema[ANY_ORDER] = json!(groups);
        }
        let odd: Map<String, Value> = members().filter_map(Property::odd_spellings).collect();
        if !odd.is_empty() {
            schema[SPELLINGS] = odd.into();
        }
        schema
    }
}

impl Property {
    /// The name and regular expressions for its spellings, where they are not just the plain one.
    fn odd_spellings(&self) -> Option<(String, Value)> {
        let spellings: Vec<String> = self.spellings.iter().map(|raw| written::escape(raw)).collect();
        (spellings != [written::plain(&self.name)]).then(|| (self.name.clone(), json!(spellings)))
    }
}

impl ArrayProfile {
    /// Of many arrays of one length, the next one has it too; of others it may have twice the length.
    fn schema(&self, records: u64) -> Value {
        let (least, most) = match self.shortest == self.longest && self.seen >= ENOUGH {
            true => (self.shortest, self.longest),
            false => (0, 2 * self.longest),
        };
        let mut schema = json!({ "type": "array", "minItems": least, "maxItems": most });
        if most > 0 {
            schema["items"] = self.elements.schema(records);
        }
        schema
    }
}
