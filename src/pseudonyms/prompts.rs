//! Prompts and conditions of generation for a model trained on pseudonyms: names in them are replaced as in its records.

use super::one_record::RecordPseudonyms;
use crate::record::{Records, prefix_values};

/// Replaces names in a prompt, which is the beginning of a record. A JSON record is completed first, so that its fields are
/// known; a string that the prompt leaves open is taken as a whole value.
pub fn in_prompt(prompt: &[u8], pseudonyms: &mut RecordPseudonyms) -> Vec<u8> {
    let end = completion(prompt);
    let mut record = pseudonyms.rewrite(&[prompt, end.as_bytes()].concat()).record;
    record.truncate(record.strip_suffix(end.as_bytes()).unwrap_or(&record).len());
    record
}

/// What makes a whole record of the beginning of a JSON record; nothing if that is not enough.
fn completion(prompt: &[u8]) -> String {
    let Some(start) = prompt.iter().position(|byte| *byte == b'{') else { return String::new() };
    let (mut open, mut is_string, mut escaped) = (Vec::new(), false, false);
    for byte in &prompt[start..] {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if is_string => escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => drop(open.pop()),
            _ => {}
        }
    }
    let closing: String = open.into_iter().rev().collect();
    let string = if is_string { "\"" } else { "" };
    // A prompt may end behind a value, a name, a colon or a comma.
    let ends = ["", ":null", "null", "\"\":null"].map(|value| format!("{string}{value}{closing}"));
    let is_whole = |end: &String| {
        let body = [&prompt[start..], end.as_bytes()].concat();
        serde_json::from_slice::<serde_json::Value>(&body).is_ok()
    };
    ends.into_iter().find(is_whole).unwrap_or_default()
}

/// The value of a condition, by the name of its prefix, as the model knows it: that which the prefix of a record with the value has.
pub fn in_condition((name, value): &(String, String), records: &Records, pseudonyms: &mut RecordPseudonyms) -> String {
    let Some(prefix) = records.prefixes.iter().find(|prefix| prefix.name() == name) else { return value.clone() };
    let record = prefix.record_of(value).to_string();
    let image = pseudonyms.rewrite(record.as_bytes()).record;
    let found = prefix_values(std::slice::from_ref(prefix), &image).pop().flatten();
    found.unwrap_or_else(|| value.clone())
}
