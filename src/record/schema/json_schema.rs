//! Converts a profile to a JSON Schema, draft 2020-12.

use super::node::{ArrayProfile, Node, NumberProfile, ObjectProfile};
use super::profile::Profile;
use super::string_profile::{StringProfile, StringRule};
use serde_json::{Map, Number, Value, json};

impl Profile {
    /// A schema that every learnt record satisfies. `properties` are in the usual order of the keys; `required` lists the
    /// keys that every record has. Numbers are bounded by the range seen, arrays by the lengths seen, strings without a
    /// pattern by twice the greatest length. Regular expressions are anchored and use no lookaround or backreferences.
    pub fn to_json_schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        match self.root.schema() {
            Value::Object(root) if self.records > 0 => schema.extend(root),
            _ => drop(schema.insert("type".into(), "object".into())),
        }
        schema.into()
    }
}

impl Node {
    fn schema(&self) -> Value {
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
        kinds.extend(self.object.as_ref().map(|object| object.schema()));
        kinds.extend(self.array.as_ref().map(|array| array.schema()));
        match kinds.len() {
            // No value was ever at this path: it is for the elements of an array that was always empty.
            0 => Value::Bool(false),
            1 => kinds.remove(0),
            _ => json!({ "anyOf": kinds }),
        }
    }
}

impl NumberProfile {
    /// A range or a closed category, if a grammar can express it. It cannot beyond about 2^53, where 64-bit floats lose
    /// integers, nor for numbers that are written with an exponent.
    fn schema(&self) -> Value {
        let kind = if self.integers == self.seen { "integer" } else { "number" };
        let wide = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64).is_some_and(|n| n.abs() > 9e15);
        if self.exponents > 0 || wide(&self.least) || wide(&self.most) {
            return json!({ "type": kind });
        }
        if let Some(values) = self.values.closed() {
            let numbers = values.keys().filter_map(|value| serde_json::from_str::<Value>(value).ok());
            return one_of(numbers.collect());
        }
        json!({ "type": kind, "minimum": self.least, "maximum": self.most })
    }
}

impl StringProfile {
    fn schema(&self) -> Value {
        match self.rule() {
            StringRule::Category(values) => one_of(values.keys().map(|value| value.as_str().into()).collect()),
            StringRule::Free { longest } => json!({ "type": "string", "maxLength": 2 * longest }),
            rule => json!({ "type": "string", "pattern": rule.regex() }),
        }
    }
}

/// `const` for one value, `enum` for several.
fn one_of(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { json!({ "const": values.remove(0) }) } else { json!({ "enum": values }) }
}

impl ObjectProfile {
    fn schema(&self) -> Value {
        let order = self.usual_order();
        let members = || order.iter().map(|&number| &self.properties[number]);
        let properties: Map<String, Value> =
            members().map(|member| (member.name.clone(), member.node.schema())).collect();
        let required: Vec<&str> =
            members().filter(|member| member.seen == self.seen).map(|member| member.name.as_str()).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if !self.open {
            schema["additionalProperties"] = false.into();
        }
        schema
    }
}

impl ArrayProfile {
    fn schema(&self) -> Value {
        let mut schema = json!({ "type": "array", "minItems": self.shortest, "maxItems": self.longest });
        if self.longest > 0 {
            schema["items"] = self.elements.schema();
        }
        schema
    }
}
