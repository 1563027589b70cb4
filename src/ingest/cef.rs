//! CEF (ArcSight) and LEEF (QRadar), with or without a syslog header: each line becomes a JSON object, every value a string.
//!
//! CEF: `CEF:0|vendor|product|version|signature|name|severity|key=value key=value`, where a value runs to the next key. A custom
//! field takes the name that its label gives it: `cs1=x cs1Label=manager` is `"manager":"x"`. LEEF: `LEEF:1.0|vendor|product|version|event|`
//! and pairs between tabs, or between the character that version 2.0 names.

use super::collect::{Collector, Place};
use super::rows::{json_string, unique};
use crate::Result;
use std::collections::HashMap;

const CEF_HEADER: [&str; 7] =
    ["cef_version", "device_vendor", "device_product", "device_version", "signature_id", "name", "severity"];
const LEEF_HEADER: [&str; 5] = ["leef_version", "device_vendor", "device_product", "device_version", "event_id"];

/// The beginning of the event in a line that may begin with a syslog header.
fn start(line: &[u8]) -> Option<usize> {
    let at = [&b"CEF:"[..], b"LEEF:"].iter().find_map(|mark| {
        let at = memchr::memmem::find(line, mark)?;
        line[at + mark.len()..].first().filter(|byte| byte.is_ascii_digit()).map(|_| at)
    })?;
    (at == 0 || line[at - 1] == b' ').then_some(at)
}

pub(super) fn is_event(line: &[u8]) -> bool {
    pairs(line).is_some()
}

/// The names and values of a line.
fn pairs(line: &[u8]) -> Option<Vec<(String, String)>> {
    let start = start(line)?;
    let (syslog, event) = (&line[..start], String::from_utf8_lossy(&line[start..]));
    let (leef, event) = match event.strip_prefix("LEEF:") {
        Some(event) => (true, event),
        None => (false, event.strip_prefix("CEF:")?),
    };
    let mut names: &[&str] = if leef { &LEEF_HEADER } else { &CEF_HEADER };
    let (mut header, mut rest) = (Vec::new(), event);
    while header.len() < names.len() {
        let (cell, after) = cell(rest)?;
        header.push(cell);
        rest = after;
    }
    let mut separator = '\t';
    if leef && header[0].starts_with('2') {
        let (mark, after) = cell(rest)?;
        separator = delimiter(&mark).unwrap_or('\t');
        rest = after;
    }
    let mut found = Vec::new();
    let prefix = String::from_utf8_lossy(syslog.trim_ascii_end());
    if !prefix.is_empty() {
        found.push(("syslog".to_string(), prefix.into_owned()));
    }
    for cell in header {
        found.push((names[0].to_string(), cell));
        names = &names[1..];
    }
    match leef {
        true => found.extend(
            rest.split(separator).filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.trim().into(), v.into())),
        ),
        false => found.extend(labelled(extension(rest))),
    }
    Some(found)
}

/// A cell of the header, in which a backslash stands before `|` and itself, and what follows its bar.
fn cell(text: &str) -> Option<(String, &str)> {
    let (mut cell, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '|' if !escaped => return Some((cell, &text[at + 1..])),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '|' | '\\' => {}
            _ if escaped => cell.push('\\'),
            _ => {}
        }
        escaped = false;
        cell.push(c);
    }
    None
}

/// The separator that LEEF 2.0 names: a character, or its number as `x09` or `0x09`.
fn delimiter(mark: &str) -> Option<char> {
    let hex = mark.strip_prefix("0x").or(mark.strip_prefix('x')).filter(|hex| !hex.is_empty());
    match hex {
        Some(hex) => u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
        None => mark.chars().next(),
    }
}

/// The pairs of a CEF extension: a key is the word before an equals sign that no backslash precedes.
fn extension(text: &str) -> Vec<(String, String)> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
    let (mut keys, mut escaped) = (Vec::new(), false);
    for (at, c) in text.char_indices() {
        if c == '=' && !escaped {
            let key = text[..at].trim_end_matches(is_key).len();
            let alone = key == 0 || text[..key].ends_with(char::is_whitespace);
            if key < at && alone {
                keys.push((key, at));
            }
        }
        escaped = c == '\\' && !escaped;
    }
    let ends = keys.iter().skip(1).map(|&(key, _)| key).chain([text.len()]);
    let pairs =
        keys.iter().zip(ends).map(|(&(key, at), end)| (text[key..at].to_string(), plain(text[at + 1..end].trim_end())));
    pairs.collect()
}

/// A value with its escapes resolved.
fn plain(text: &str) -> String {
    let (mut value, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some(c @ ('=' | '\\' | '|')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    value
}

/// Gives custom fields the names of their labels, and leaves out the labels.
fn labelled(pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    let label = |(key, value): &(String, String)| {
        let field = key.strip_suffix("Label").filter(|_| !value.is_empty())?;
        pairs.iter().any(|(key, _)| key == field).then(|| (field.to_string(), value.clone()))
    };
    let labels: HashMap<String, String> = pairs.iter().filter_map(label).collect();
    let own = |(key, _): &(String, String)| key.strip_suffix("Label").is_none_or(|field| !labels.contains_key(field));
    let renamed = |(key, value): (String, String)| (labels.get(&key).cloned().unwrap_or(key), value);
    pairs.clone().into_iter().filter(own).map(renamed).collect()
}

/// Takes a line.
pub(super) fn line(line: &[u8], place: Place, out: &mut Collector) -> Result<()> {
    let Some(pairs) = pairs(line) else {
        return out.bad(
            place,
            "expected an event that begins with CEF: or LEEF: behind an optional syslog header, found none",
            line,
        );
    };
    out.report.lossy_rows += u64::from(std::str::from_utf8(line).is_err());
    let names = unique(pairs.iter().map(|(name, _)| name.clone()));
    let mut record = vec![b'{'];
    for (i, (name, (_, value))) in names.iter().zip(&pairs).enumerate() {
        if i > 0 {
            record.push(b',');
        }
        json_string(name, &mut record);
        record.push(b':');
        json_string(value, &mut record);
    }
    record.push(b'}');
    out.record(&record, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let pairs = pairs(line.as_bytes()).unwrap();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn values_run_to_the_next_key_and_labels_name_custom_fields() {
        assert_eq!(
            read(
                r"Mar 1 host CEF:0|A|B|1|9|login \| sso|5|duser=Ann B suid=x msg=a \= b c1Label=who cs1Label=manager cs1=Bo C end=1\n2"
            ),
            "syslog=Mar 1 host;cef_version=0;device_vendor=A;device_product=B;device_version=1;signature_id=9;name=login | sso;\
             severity=5;duser=Ann B;suid=x;msg=a = b;c1Label=who;manager=Bo C;end=1\n2"
        );
        assert_eq!(
            read("CEF:1|A|B|1|9|n|5|"),
            "cef_version=1;device_vendor=A;device_product=B;device_version=1;signature_id=9;name=n;severity=5"
        );
    }

    #[test]
    fn leef_has_tabs_or_what_it_says() {
        let head = |version: &str| {
            format!("leef_version={version};device_vendor=A;device_product=B;device_version=1;event_id=9;")
        };
        assert_eq!(read("LEEF:1.0|A|B|1|9|usr=Ann B\tx=a=b"), head("1.0") + "usr=Ann B;x=a=b");
        assert_eq!(read("LEEF:2.0|A|B|1|9|^|usr=Ann B^x="), head("2.0") + "usr=Ann B;x=");
        assert_eq!(read("LEEF:2.0|A|B|1|9|0x7c|usr=a|x=b"), head("2.0") + "usr=a;x=b");
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in ["", "CEF:", "CEF:x|", "CEF:0|A|B", "xCEF:0|A|B|1|9|n|5|", "LEEF:1.0|A|"] {
            assert!(!is_event(line.as_bytes()), "{line}");
        }
    }
}
