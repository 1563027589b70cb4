//! Fields that a condition fixes: `--where user=jtaylor` asks for records whose field `user` says so.

use super::learnt::FIXED;
use crate::record::Wanted;
use crate::record::schema::WRITTEN;
use serde_json::{Value, json};

/// Fixes the field in a learnt schema. None if the schema has no such member, or only in an array.
pub fn in_learnt(schema: &mut Value, wanted: &Wanted) -> Option<()> {
    let (object, name) = find(schema, wanted.field())?;
    let value = object.get("properties")?.get(name.as_str())?;
    let has = |fits: &dyn Fn(&Value) -> bool| {
        let options = value.get("anyOf").and_then(Value::as_array).map_or(std::slice::from_ref(value), Vec::as_slice);
        options.iter().any(|option| {
            let values = option.get("enum").and_then(Value::as_array).map(Vec::as_slice);
            let values = values.or(option.get("const").map(std::slice::from_ref)).unwrap_or_default();
            values.iter().any(fits) || fits(&kind_of(option))
        })
    };
    let literal = wanted.literal().filter(|literal| {
        has(&|value| value.is_number() && literal.is_number() || value.is_boolean() && literal.is_boolean())
    });
    let text = has(&Value::is_string).then(|| wanted.written());
    let written: Vec<String> =
        text.into_iter().chain(literal.map(|literal| regex::escape(&literal.to_string()))).collect();
    if written.is_empty() {
        return None;
    }
    object["properties"][name.as_str()][FIXED] = format!("({})", written.join("|")).into();
    require(object, &name);
    Some(())
}

/// A value of the type that a schema names; null if it names none.
fn kind_of(schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => "".into(),
        Some("integer" | "number") => 0.into(),
        Some("boolean") => false.into(),
        Some(_) => Value::Null,
        // Any value.
        None if schema.get("const").or(schema.get("enum")).is_none() => "".into(),
        None => Value::Null,
    }
}

/// A learnt schema of any object that has the wanted fields. `like` tells where the names in their paths end.
pub fn in_any_object(wanted: &[Wanted], like: Option<&Value>) -> Value {
    let mut schema = json!({ "type": "object" });
    for wanted in wanted {
        let names = names(wanted, like);
        let Some((last, before)) = names.split_last() else { continue };
        let mut at = &mut schema;
        for name in before {
            require(at, name);
            at = member(at, name);
        }
        require(at, last);
        let literal = wanted.literal().map(|literal| format!("|{}", regex::escape(&literal.to_string())));
        *member(at, last) = json!({ WRITTEN: format!("({}{})", wanted.written(), literal.unwrap_or_default()) });
    }
    schema
}

/// The schema of a member, by default an object.
fn member<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    if !object["properties"].is_object() {
        object["properties"] = json!({});
    }
    if object["properties"].get(name).is_none() {
        object["properties"][name] = json!({ "type": "object" });
    }
    &mut object["properties"][name]
}

fn names(wanted: &Wanted, like: Option<&Value>) -> Vec<String> {
    like.and_then(|schema| steps(schema, wanted.field()))
        .unwrap_or_else(|| wanted.field().split('.').map(str::to_string).collect())
}

/// The object of a schema that has the field, and the field's name there. All objects on the way become required, and the
/// only type of value. As in records, the longest leading part of the path that is a name is tried first.
fn find<'a>(schema: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let steps = steps(schema, path)?;
    let (last, before) = steps.split_last()?;
    let mut at = schema;
    for step in before {
        require(at, step);
        at = only_object(at.get_mut("properties")?.get_mut(step.as_str())?)?;
    }
    Some((at, last.clone()))
}

fn steps(schema: &Value, path: &str) -> Option<Vec<String>> {
    let properties = schema.get("properties")?;
    if properties.get(path).is_some() {
        return Some(vec![path.to_string()]);
    }
    let dots = path.rmatch_indices('.');
    let mut found = dots.filter_map(|(at, _)| {
        let inner = object_of(properties.get(&path[..at])?)?;
        Some([vec![path[..at].to_string()], steps(inner, &path[at + 1..])?].concat())
    });
    found.next()
}

/// The part of a schema that is about objects.
fn object_of(schema: &Value) -> Option<&Value> {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(options) => options.iter().find(|option| option.get("properties").is_some()),
        None => Some(schema),
    }
}

fn only_object(schema: &mut Value) -> Option<&mut Value> {
    let object = object_of(schema)?.clone();
    *schema = object;
    Some(schema)
}

fn require(object: &mut Value, name: &str) {
    let Some(required) = object.as_object_mut().map(|object| object.entry("required").or_insert(json!([]))) else {
        return;
    };
    if let Some(names) = required.as_array_mut().filter(|names| !names.iter().any(|one| one == name)) {
        names.push(name.into());
    }
}

/// A schema of one's own with the field fixed, too.
pub fn in_schema(schema: &mut Value, wanted: &Wanted) {
    let names = names(wanted, Some(schema));
    let condition = names.iter().rev().fold(
        value(wanted),
        |inner, name| json!({ "type": "object", "properties": { name.as_str(): inner }, "required": [name] }),
    );
    if let Some(keywords) = schema.as_object_mut()
        && let Some(all) = keywords.entry("allOf").or_insert(json!([])).as_array_mut()
    {
        all.push(condition);
    }
}

/// The value that a field must have, as a schema.
fn value(wanted: &Wanted) -> Value {
    let mut options = vec![json!({ "type": "string", "pattern": wanted.pattern() })];
    options.extend(wanted.literal().map(|literal| json!({ "const": literal })));
    json!({ "anyOf": options })
}
