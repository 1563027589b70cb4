//! CEF and LEEF: `CEF:0|vendor|product|version|id|name|severity|key=value key=value`, where a value runs to the next key and
//! `cs1` is named by `cs1Label`; LEEF separates its pairs by tabs or by a character that its header names.

use std::collections::HashMap;
use std::ops::Range;

/// A value and the key that names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub key: String,
    pub value: Range<usize>,
}

/// The header of an event, which holds no identity, and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Vendor, product and version.
    pub header: Range<usize>,
    pub values: Vec<Value>,
}

/// The first event in the text.
pub fn event(text: &str) -> Option<Event> {
    let (start, is_leef) = match (text.find("CEF:"), text.find("LEEF:")) {
        (_, Some(at)) => (at, true),
        (Some(at), None) => (at, false),
        (None, None) => return None,
    };
    let bars: Vec<usize> = bars(text, start).take(7).collect();
    let body = match is_leef {
        true => *bars.get(4)? + 1,
        false => *bars.get(6)? + 1,
    };
    let header = start..*bars.get(3)?;
    let values = match is_leef {
        true => leef(text, body, text[start..].starts_with("LEEF:2")),
        false => cef(text, body),
    };
    Some(Event { header, values: labelled(text, values) })
}

/// The places of `|` without a backslash before it.
fn bars(text: &str, start: usize) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    (start..bytes.len()).filter(move |&at| bytes[at] == b'|' && (at == 0 || bytes[at - 1] != b'\\'))
}

/// The pairs of CEF: a key begins after a blank and ends at `=` without a backslash.
fn cef(text: &str, body: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut keys: Vec<Range<usize>> = Vec::new();
    for at in (body..bytes.len()).filter(|&at| bytes[at] == b'=' && bytes[at - 1] != b'\\') {
        let length = text[body..at]
            .bytes()
            .rev()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            .count();
        let start = at - length;
        if length > 0 && (start == body || bytes[start - 1].is_ascii_whitespace()) {
            keys.push(start..at);
        }
    }
    let ends = keys.iter().skip(1).map(|next| next.start).chain([text.len()]);
    keys.iter().zip(ends).map(|(key, end)| (key.clone(), key.end + 1..end)).collect()
}

fn leef(text: &str, body: usize, has_delimiter: bool) -> Vec<(Range<usize>, Range<usize>)> {
    let mut start = body;
    let mut delimiter = '\t';
    if has_delimiter && let Some(named) = text[body..].split('|').next().filter(|named| !named.contains('=')) {
        start = (body + named.len() + 1).min(text.len());
        delimiter = match named.trim_start_matches("0x").trim_start_matches('x') {
            hex if hex.len() < named.len() => {
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).unwrap_or('\t')
            }
            _ => named.chars().next().unwrap_or('\t'),
        };
    }
    let rest = &text[start..];
    if !rest.contains(delimiter) {
        // Some senders separate by bars, and some forwarders turn tabs into blanks.
        delimiter = if rest.contains('|') { '|' } else { return cef(text, start) };
    }
    let mut at = start;
    let mut found = Vec::new();
    for field in rest.split(delimiter) {
        if let Some(sign) = field.find('=') {
            found.push((at..at + sign, at + sign + 1..at + field.len()));
        }
        at += field.len() + delimiter.len_utf8();
    }
    found
}

/// The values under their names: that of `cs1` is the value of `cs1Label`.
fn labelled(text: &str, pairs: Vec<(Range<usize>, Range<usize>)>) -> Vec<Value> {
    let labels: HashMap<&str, &str> = pairs
        .iter()
        .filter_map(|(key, value)| Some((text[key.clone()].strip_suffix("Label")?, text[value.clone()].trim())))
        .collect();
    let named = |(key, value): (Range<usize>, Range<usize>)| {
        let trimmed = text[value.clone()].trim();
        let start = value.start + text[value.clone()].len() - text[value.clone()].trim_start().len();
        let key = &text[key];
        let is_label = key.ends_with("Label");
        let name = labels.get(key).copied().unwrap_or(key);
        (!trimmed.is_empty() && !is_label).then(|| Value { key: name.to_string(), value: start..start + trimmed.len() })
    };
    pairs.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<(String, &str)> {
        event(text).unwrap().values.into_iter().map(|v| (v.key, &text[v.value])).collect()
    }

    #[test]
    fn values_run_to_the_next_key() {
        let text = r"Jun 1 h CEF:0|V|P \| Q|1.2.3.4|id|a name|3|suser=Al Bo msg=a\=b c cs1=x y cs1Label=Owner Name duser= cn1=4";
        let expected = [("suser", "Al Bo"), ("msg", r"a\=b c"), ("Owner Name", "x y"), ("cn1", "4")];
        assert_eq!(seen(text), expected.map(|(key, value)| (key.to_string(), value)));
        assert_eq!(&text[event(text).unwrap().header], r"CEF:0|V|P \| Q|1.2.3.4");
    }

    #[test]
    fn leef_has_a_delimiter_of_its_own() {
        for text in [
            "LEEF:1.0|V|P|1|id|usrName=Al Bo\tsrc=x",
            "LEEF:2.0|V|P|1|id|^|usrName=Al Bo^src=x",
            "LEEF:2.0|V|P|1|id|0x5e|usrName=Al Bo^src=x",
            "LEEF:1.0|V|P|1|id|usrName=Al Bo|src=x",
        ] {
            assert_eq!(seen(text), [("usrName".to_string(), "Al Bo"), ("src".to_string(), "x")], "{text}");
        }
        assert_eq!(event("CEF:0|a|b"), None);
    }
}
