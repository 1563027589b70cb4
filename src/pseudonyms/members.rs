//! The names of members in a JSON record, for objects that are keyed by e-mail address, account or IP address: their places
//! in the record, and pseudonyms that stay distinct within an object.

use super::parts::{self, RecordPart};
use super::words::with_letters;
use crate::record::fields;
use std::collections::{HashMap, HashSet};

/// The name of a member.
pub struct MemberName<'a> {
    /// The number of the object that contains the member.
    object: usize,
    pub name: RecordPart<'a>,
}

/// The names of members in the record's JSON object, in order; none if all `parts` of the record are plain text.
pub fn members<'a>(record: &'a [u8], parts: &[RecordPart]) -> Vec<MemberName<'a>> {
    let start = fields::body_start(record).unwrap_or(0);
    let text = match std::str::from_utf8(&record[start..]) {
        Ok(text) if parts.iter().any(|part| part.field.is_some()) => text,
        _ => return Vec::new(),
    };
    let (mut found, mut open, mut objects) = (Vec::new(), Vec::new(), 0);
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at] {
            b'{' => {
                open.push(objects);
                objects += 1;
            }
            b'}' => drop(open.pop()),
            b'"' => {
                let end = string_end(text, at);
                // A string is a name if and only if a colon follows it.
                if let Some(object) = open.last().filter(|_| text[end..].trim_ascii_start().starts_with(':')) {
                    found.push(MemberName {
                        object: *object,
                        name: parts::string(IN_NAMES, &text[at..end], start + at),
                    });
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The path under which a report counts names of members.
pub const IN_NAMES: &str = "(names of members)";

/// The end of the string that begins at `quote`: the offset after its closing quote.
fn string_end(text: &str, quote: usize) -> usize {
    let mut escaped = false;
    let inner = text.as_bytes()[quote + 1..].iter();
    let length = inner.take_while(|byte| {
        let ends = **byte == b'"' && !escaped;
        escaped = **byte == b'\\' && !escaped;
        !ends
    });
    quote + length.count() + 2
}

/// The final pseudonyms of the names (`None`: the name stays). Different names of one object stay different: a pseudonym
/// that equals another name or pseudonym of the object gets letters appended.
pub fn apart(members: &[MemberName], images: Vec<Option<String>>) -> Vec<Option<String>> {
    let stays = members.iter().zip(&images).filter(|(_, image)| image.is_none());
    let mut taken: HashSet<(usize, String)> =
        stays.map(|(member, _)| (member.object, member.name.text.to_string())).collect();
    let mut given: HashMap<(usize, &str), String> = HashMap::new();
    let mut out = Vec::with_capacity(images.len());
    for (member, image) in members.iter().zip(images) {
        let (object, name) = (member.object, member.name.text.as_ref());
        let chosen = image.map(|image| {
            let free = |candidate: &String| !taken.contains(&(object, candidate.clone()));
            let first =
                || (0..).map(|attempt| with_letters(&image, attempt)).find(free).expect("candidates do not end");
            given.entry((object, name)).or_insert_with(first).clone()
        });
        taken.extend(chosen.iter().map(|image| (object, image.clone())));
        out.push(chosen);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(record: &str) -> Vec<(usize, String, String)> {
        let place = |member: &MemberName| member.name.change("", "user", 0..member.name.text.len(), "").place;
        let all = members(record.as_bytes(), &parts::parts(record.as_bytes()));
        let told =
            |member: &MemberName| (member.object, member.name.text.to_string(), record[place(member)].to_string());
        all.iter().map(told).collect()
    }

    #[test]
    fn names_are_told_from_values_with_their_objects() {
        let record = r#"x {"a" : {"b\\":"c:{", "\u0064":[{"e":"f\":"},"g"]},"h":{}}"#;
        let expected = [(0, "a", "a"), (1, "b\\", r"b\\"), (1, "d", r"\u0064"), (2, "e", "e"), (0, "h", "h")];
        assert_eq!(seen(record), expected.map(|(object, text, raw)| (object, text.into(), raw.into())));
        for record in ["", "plain {\"a\":", "[1]", "{}", r#"{"a":1} x"#, r#"{"a\ud800":1}"#] {
            assert_eq!(seen(record), [], "{record}");
        }
    }

    #[test]
    fn images_of_one_object_stay_apart() {
        let record = br#"{"a":1,"b":2,"x":{"a":3,"a":4,"b":5},"y":0}"#;
        let image = |text: &str| Some(text.to_string());
        let images = vec![image("y"), image("y"), None, image("z"), image("z"), image("z"), None];
        let expected = [image("yb"), image("yc"), None, image("z"), image("z"), image("zb"), None];
        assert_eq!(apart(&members(record, &parts::parts(record)), images), expected);
    }
}
