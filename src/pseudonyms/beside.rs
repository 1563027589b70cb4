//! What the members beside a value say of it: the name in an object `{Name, Value}`, and the kind of thing that an object is.
//!
//! Many formats write a field as an object: `{"name":"USER_EMAIL","value":"x"}`, `{"@Name":"TargetUserName","#text":"x"}`,
//! `{"Key":"Owner","Value":"x"}`, `{"displayName":"Surname","oldValue":"x","newValue":"y"}`. Its value is treated like a member of
//! that name. A name or id in an object that says what it is (`{"type":"User","displayName":"x"}`, `{"kind":"Node","name":"x"}`) is
//! treated like a member of an object called so: `User.displayName`. An object with a mail address and a name is a person's.

use super::names::plain;
use super::parts::RecordPart;
use std::collections::HashMap;

/// Members that hold the name of a field, without separators; the second list counts only beside an old or a new value.
const NAMES: [&str; 8] = ["name", "key", "field", "fieldname", "attribute", "property", "parameter", "header"];
const NAMES_OF_CHANGES: [&str; 2] = ["displayname", "propertyname"];
/// Members that hold its value.
const VALUES: [&str; 15] = [
    "value",
    "values",
    "text",
    "newvalue",
    "oldvalue",
    "valuestring",
    "stringvalue",
    "multivalue",
    "boolvalue",
    "intvalue",
    "val",
    "multistrvalue",
    "stringvalues",
    "previousvalue",
    "currentvalue",
];
/// Members that say what the object is.
const KINDS: [&str; 5] = ["type", "kind", "objecttype", "entitytype", "identitytype"];
/// Members that only devices have, and that only persons have.
const OF_DEVICES: [&str; 5] = ["operatingsystem", "iscompliant", "ismanaged", "osversion", "deviceostype"];
const OF_PERSONS: [&str; 6] =
    ["samaccountname", "userprincipalname", "givenname", "surname", "familyname", "useraccountcontrol"];
/// Members whose treatment depends on it.
const OF_KIND: [&str; 9] =
    ["name", "displayname", "id", "alternateid", "uid", "title", "label", "identifier", "externalid"];

/// For each part, the path whose rule applies to it: its own, or the one that the members beside it give.
pub fn paths(parts: &[RecordPart]) -> Vec<Option<String>> {
    let mut objects: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut own: Vec<Option<String>> = parts.iter().map(|part| part.field.clone()).collect();
    // Elements of an array of objects share their path: an object ends where a name of it comes again.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let Some((object, _)) = part.field.as_deref().map(split) else { continue };
        let group = objects.entry(object).or_default();
        let again = group.iter().any(|&other| parts[other].field == part.field)
            && !part.field.as_deref().is_some_and(|path| path.ends_with(".*"));
        if again {
            groups.push(std::mem::take(group));
        }
        group.push(at);
    }
    groups.extend(objects.into_values());
    for group in groups.iter().filter(|group| group.len() > 1) {
        described(parts, group, &mut own);
    }
    of_changes(parts, &mut own);
    own
}

/// The old and the new value of a change are what the event says: `CHANGE_LAST_NAME` with the parameters `OLD_VALUE` and `NEW_VALUE`.
fn of_changes(parts: &[RecordPart], own: &mut [Option<String>]) {
    for at in 0..parts.len() {
        if !matches!(own[at].as_deref(), Some("pair.OLD_VALUE" | "pair.NEW_VALUE")) {
            continue;
        }
        let path = parts[at].field.as_deref().unwrap_or("");
        let names_it = |part: &&RecordPart| {
            let object = part.field.as_deref().and_then(|field| field.strip_suffix("name"));
            let parameter = path.rsplit_once('.').map_or("", |(parameter, _)| parameter);
            object.is_some_and(|object| path.starts_with(object) && object.len() <= parameter.len())
        };
        let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let event = parts[..at].iter().rev().filter(names_it).find(|part| is_name(&part.text));
        if let Some((_, changed)) = event.and_then(|event| event.text.split_once('_')) {
            own[at] = Some(format!("pair.{changed}"));
        }
    }
}

/// The path of the object that holds a member, and the name of the member without separators.
fn split(path: &str) -> (&str, String) {
    let path = path.trim_end_matches(".*");
    let (object, name) = path.rsplit_once('.').unwrap_or(("", path));
    (object, plain(name))
}

fn described(parts: &[RecordPart], group: &[usize], own: &mut [Option<String>]) {
    let members: Vec<(usize, String)> =
        group.iter().map(|&at| (at, split(parts[at].field.as_deref().unwrap_or("")).1)).collect();
    let text = |at: usize| parts[at].text.as_ref();
    if let Some((at, stem)) = name_of_field(&members) {
        let value = |name: &str| VALUES.contains(&name) || stem.is_some_and(|stem| name == format!("{stem}value"));
        let field = text(at).to_string();
        if parts[at].is_string && is_name(&field) && members.iter().any(|(_, name)| value(name)) {
            for (other, _) in members.iter().filter(|(_, name)| value(name)) {
                own[*other] = Some(format!("pair.{field}"));
            }
            // The name of a field stays, also where a member of this name would not.
            own[at] = Some(String::new());
            return;
        }
    }
    let kind = members.iter().find(|(at, name)| KINDS.contains(&name.as_str()) && parts[*at].is_string);
    let mail = || members.iter().any(|(at, _)| parts[*at].is_string && is_mail(text(*at)));
    let has = |wanted: &[&str]| members.iter().any(|(_, name)| wanted.contains(&name.as_str()));
    let kind = match kind {
        Some((at, _)) if is_name(text(*at)) => plain(text(*at)),
        _ if has(&OF_DEVICES) => "device".to_string(),
        _ if has(&OF_PERSONS) || mail() => "person".to_string(),
        _ => return,
    };
    for (at, name) in
        members.iter().filter(|(_, name)| OF_KIND.contains(&name.as_str()) || name.ends_with("displayname"))
    {
        // Brackets, because no member has this name: a secret's rule is not for what is in it.
        // The name of an event beside the address of a person is no person's.
        let is_event = kind == "person" && name == "name" && !text(*at).contains(' ') && is_camel(text(*at));
        if !is_event {
            own[*at] = Some(format!("({kind}).{name}"));
        }
    }
}

/// Whether a word has capitals inside, as the names of classes and events.
fn is_camel(text: &str) -> bool {
    text.chars().zip(text.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase())
}

/// The member that holds the name of a field, and the stem that the member with the value shares with it: `AttributeName` and
/// `AttributeValue`.
fn name_of_field(members: &[(usize, String)]) -> Option<(usize, Option<&str>)> {
    let has = |wanted: &str| members.iter().any(|(_, name)| name == wanted);
    let changes = has("newvalue") || has("oldvalue");
    let named = members
        .iter()
        .find(|(_, name)| NAMES.contains(&name.as_str()) || changes && NAMES_OF_CHANGES.contains(&name.as_str()));
    if let Some((at, _)) = named {
        return Some((*at, None));
    }
    members.iter().find_map(|(at, name)| {
        let stem = name.strip_suffix("name")?;
        let stems =
            std::iter::successors(Some(stem), |stem| stem.get(..stem.len().saturating_sub(1)).filter(|s| s.len() > 2));
        let stem = stems.filter(|stem| stem.len() > 2).find(|stem| has(&format!("{stem}value")))?;
        Some((*at, Some(stem)))
    })
}

fn is_mail(text: &str) -> bool {
    !text.contains(' ') && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
}

/// Whether the text is the name of a field or of a kind of thing, not a sentence or a number.
fn is_name(text: &str) -> bool {
    text.len() < 100
        && text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@' | '#'))
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '@' | '#' | '/' | '$'))
        && text.split(' ').count() < 5
}

#[cfg(test)]
mod tests {
    use super::super::parts::parts;
    use super::*;

    fn seen(record: &str) -> Vec<String> {
        let parts = parts(record.as_bytes());
        paths(&parts).into_iter().map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn a_value_has_the_name_beside_it() {
        for record in [
            r#"{"a":[{"name":"USER","value":"x"},{"name":"B","value":"y"}]}"#,
            r##"{"a":[{"@Name":"USER","#text":"x"},{"#text":"y","@Name":"B"}]}"##,
            r#"{"a":[{"Key":"USER","Value":"x"},{"Key":"B","Value":"y"}]}"#,
        ] {
            let mut seen = seen(record);
            seen.sort();
            assert_eq!(seen, ["", "", "pair.B", "pair.USER"], "{record}");
        }
        assert_eq!(
            seen(r#"{"p":{"displayName":"Surname","oldValue":"a","newValue":["b","c"]}}"#),
            ["", "pair.Surname", "pair.Surname", "pair.Surname"]
        );
        assert_eq!(seen(r#"{"AttributeLDAPDisplayName":"mail","AttributeValue":"a"}"#), ["", "pair.mail"]);
        assert_eq!(seen(r#"{"name":"7 of 9, or so","value":"x"}"#), ["name", "value"]);
    }

    #[test]
    fn an_object_says_what_it_is() {
        assert_eq!(
            seen(r#"{"t":[{"id":"1","type":"AppUser","displayName":"x","ok":1}]}"#),
            ["(appuser).id", "t.*.type", "(appuser).displayname", "t.*.ok"]
        );
        assert_eq!(seen(r#"{"o":{"kind":"Node","name":"x"}}"#), ["o.kind", "(node).name"]);
        assert_eq!(seen(r#"{"o":{"name":"x","email":"x@y.de"}}"#), ["(person).name", "o.email"]);
        assert_eq!(seen(r#"{"o":{"name":"x","url":"y"},"type":"z","id":3}"#), ["o.name", "o.url", "type", "(z).id"]);
    }
}
