//! The tree of a JSON record as it is written: order and spelling of names, spelling of numbers and strings.

use super::json::is_space;
use super::object::check_object;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;

/// Marks an opened string behind its first bracket.
pub(super) const MARK: &str = "\r\r";

/// A JSON value; its parts borrow from the record.
#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// The number as it is written.
    Number(&'a str),
    Text(Text<'a>),
    /// The members in their order; a name may occur twice.
    Object(Vec<(Text<'a>, Json<'a>)>),
    Array(Vec<Json<'a>>),
    /// A string that holds an object or array, opened ([`crate::record::Opening`]), and its text with the marks.
    Opened(Box<Json<'a>>, &'a str),
}

/// A string.
#[derive(Clone, Debug, PartialEq)]
pub struct Text<'a> {
    /// As it is written, without its quotes.
    pub raw: &'a str,
    /// Its escapes resolved; `raw` itself where an escape stands for half a character.
    pub value: Cow<'a, str>,
    pub has_escapes: bool,
}

impl Text<'_> {
    /// Whether it is spelt as serde_json spells it: only quotes, backslashes and control characters are escaped, and these in
    /// the shortest way and in lower case.
    pub fn is_plain(&self) -> bool {
        if !self.has_escapes {
            return true;
        }
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            let escape = &rest.as_bytes()[at + 1..];
            let length = match escape[0] {
                b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
                b'u' if is_control(&escape[1..5]) => 5,
                _ => return false,
            };
            rest = &rest[at + 1 + length..];
        }
        true
    }
}

/// Whether four digits are the plain ones of a control character without a letter of its own.
fn is_control(digits: &[u8]) -> bool {
    let [b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f')] = digits else { return false };
    *high == b'1' || !b"89acd".contains(low)
}

/// Where white space may stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// Before and behind the object of the record.
    Front,
    Back,
    /// Behind the opening and before the closing bracket of an object or array that is not empty.
    Open,
    Close,
    /// Between the brackets of an empty one.
    Empty,
    BeforeComma,
    BehindComma,
    BeforeColon,
    BehindColon,
}

impl Gap {
    /// All kinds, in their order.
    pub const ALL: [Gap; 9] = [
        Gap::Front,
        Gap::Back,
        Gap::Open,
        Gap::Close,
        Gap::Empty,
        Gap::BeforeComma,
        Gap::BehindComma,
        Gap::BeforeColon,
        Gap::BehindColon,
    ];
}

impl<'a> Json<'a> {
    /// The record as a JSON object; `None` if it is anything else.
    pub fn of_record(record: &'a [u8]) -> Option<Self> {
        check_object(record).ok()?;
        Some(Self::of_object(std::str::from_utf8(record).ok()?, &mut |_, _| {}))
    }

    /// The tree of what `check_object` has taken before, and each piece of white space (mostly empty) on the way.
    pub fn of_object(text: &'a str, gap: &mut dyn FnMut(Gap, &'a str)) -> Self {
        let mut reader = Reader { text, at: 0, gap };
        reader.space(Gap::Front);
        let tree = reader.value();
        reader.space(Gap::Back);
        tree
    }

    /// The first name that occurs twice in one object, and the offset of its second occurrence. `record` is what the tree
    /// was read from.
    pub fn doubled_name(&self, record: &[u8]) -> Option<(usize, String)> {
        let inner = |value: &Json| value.doubled_name(record);
        match self {
            Json::Array(elements) => elements.iter().find_map(inner),
            Json::Opened(value, _) => inner(value),
            Json::Object(members) => {
                let mut seen = HashSet::with_capacity(members.len());
                members.iter().find_map(|(name, value)| {
                    let doubled = !seen.insert(&name.value);
                    // Raw text borrows from the record, so the difference of addresses is the offset.
                    let at = name.raw.as_ptr() as usize - record.as_ptr() as usize - 1;
                    doubled.then(|| (at, name.value.to_string())).or_else(|| value.doubled_name(record))
                })
            }
            _ => None,
        }
    }
}

/// Reads text that is known to be valid, at most 127 levels deep.
struct Reader<'a, 'g> {
    text: &'a str,
    at: usize,
    gap: &'g mut dyn FnMut(Gap, &'a str),
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(b'}')
    }

    /// Passes over bytes that fit and returns them.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        self.at += rest.iter().position(|&byte| !fits(byte)).unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    fn white(&mut self) -> &'a str {
        if self.peek() > b' ' {
            return "";
        }
        self.run(is_space)
    }

    fn space(&mut self, gap: Gap) {
        let white = self.white();
        (self.gap)(gap, white);
    }

    fn value(&mut self) -> Json<'a> {
        match self.peek() {
            b'{' | b'[' => {
                let start = self.at;
                let is_opened = self.text[start + 1..].starts_with(MARK);
                let value =
                    if self.peek() == b'{' { self.object() } else { Json::Array(self.items(b']', Self::value)) };
                if is_opened { Json::Opened(Box::new(value), &self.text[start..self.at]) } else { value }
            }
            b'"' => Json::Text(self.string()),
            _ => match self.run(|byte| !is_space(byte) && !b",]}".contains(&byte)) {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => Json::Number(number),
            },
        }
    }

    fn object(&mut self) -> Json<'a> {
        Json::Object(self.items(b'}', |reader| {
            let name = reader.string();
            reader.space(Gap::BeforeColon);
            reader.at += 1;
            reader.space(Gap::BehindColon);
            (name, reader.value())
        }))
    }

    /// The items between an opening bracket and the closing one.
    fn items<T>(&mut self, close: u8, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        self.at += 1;
        let white = self.white();
        let white = white.strip_prefix(MARK).unwrap_or(white);
        if self.peek() == close {
            (self.gap)(Gap::Empty, white);
            self.at += 1;
            return items;
        }
        (self.gap)(Gap::Open, white);
        loop {
            items.push(item(self));
            let white = self.white();
            let ends = self.peek() == close;
            (self.gap)(if ends { Gap::Close } else { Gap::BeforeComma }, white);
            self.at += 1;
            if ends {
                return items;
            }
            self.space(Gap::BehindComma);
        }
    }

    fn string(&mut self) -> Text<'a> {
        self.at += 1;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.run(|byte| byte != b'"' && byte != b'\\');
            if self.peek() != b'\\' {
                break;
            }
            has_escapes = true;
            self.at += 2;
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        let quoted = &self.text[start - 1..self.at];
        let value = match has_escapes {
            true => serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(raw), Cow::Owned),
            false => Cow::Borrowed(raw),
        };
        Text { raw, value, has_escapes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_spelling_and_doubled_names_are_kept() {
        let record = br#"{"b": 1.0, "a": [null, "x\n\/"], "b": 2.50}"#;
        let tree = Json::of_record(record).unwrap();
        assert_eq!(tree.doubled_name(record), Some((33, "b".to_string())));
        let Json::Object(members) = tree else { panic!("an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.raw).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!((&members[0].1, &members[2].1), (&Json::Number("1.0"), &Json::Number("2.50")));
        for (raw, is_plain) in [
            (r#"a\"\\\n\u0007\u001fé"#, true),
            (r"\/", false),
            (r"\u001F", false),
            (r"\u0008", false),
            (r"\u00e9", false),
        ] {
            let value = serde_json::from_str::<String>(&format!("\"{raw}\"")).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap() == format!("\"{raw}\""), is_plain, "{raw}");
            assert_eq!(Text { raw, value: value.into(), has_escapes: true }.is_plain(), is_plain, "{raw}");
        }
        let text = Text { raw: r"x\n\/", value: "x\n/".into(), has_escapes: true };
        assert!(!text.is_plain());
        assert_eq!(members[1].1, Json::Array(vec![Json::Null, Json::Text(text)]));
        for (record, at) in [(r#"{"a": {"x": 1}, "b": {"x": 2}}"#, None), (r#"{"l":[{"a":1,"\u0061":2}]}"#, Some(13))] {
            let found = Json::of_record(record.as_bytes()).unwrap().doubled_name(record.as_bytes());
            assert_eq!(found.map(|(at, _)| at), at, "{record}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_tree() {
        let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        for record in ["", "[1]", "text", "jdoe {\"a\":1}", "{\"a\":1", "{\"a\":10 20}", &deep(128)] {
            assert_eq!(Json::of_record(record.as_bytes()), None, "{record}");
        }
        assert_eq!(Json::of_record(b"{\"a\":\"\xff\"}"), None);
        for record in [r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#, &deep(127)] {
            assert!(Json::of_record(record.as_bytes()).is_some(), "{record}");
        }
    }

    #[test]
    fn gaps_are_told_apart() {
        let mut found = Vec::new();
        let text = " {  \"a\" :  [ ],\"b\":[1 , 2 ]} ";
        Json::of_object(text, &mut |gap, white| found.push((gap, white.len())));
        let inside = [(Gap::Front, 1), (Gap::Open, 2), (Gap::BeforeColon, 1), (Gap::BehindColon, 2), (Gap::Empty, 1)];
        let then = [(Gap::BeforeComma, 0), (Gap::BehindComma, 0), (Gap::BeforeColon, 0), (Gap::BehindColon, 0)];
        let list = [(Gap::Open, 0), (Gap::BeforeComma, 1), (Gap::BehindComma, 1), (Gap::Close, 1)];
        assert_eq!(found, [&inside[..], &then, &list, &[(Gap::Close, 0), (Gap::Back, 1)]].concat());
    }

    proptest! {
        /// The reader agrees with another one wherever that one can hold the value.
        #[test]
        fn the_tree_is_that_of_another_reader(text in r#"\{("[ab\\"n/]{0,3}"[ ]?:[ ]?(1|-0\.50|\[1?,?2?\]|"\\u0041é"|null|\{\}),?){0,3}\}"#) {
            let tree = Json::of_record(text.as_bytes());
            let other = serde_json::from_str::<serde_json::Value>(&text).ok();
            prop_assert_eq!(tree.is_some(), other.is_some());
            if let (Some(tree), Some(other)) = (tree, other) {
                prop_assert_eq!(value(&tree), other);
            }
        }
    }

    fn value(tree: &Json) -> serde_json::Value {
        match tree {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(number) => serde_json::from_str(number).unwrap(),
            Json::Text(text) => text.value.to_string().into(),
            Json::Array(elements) => elements.iter().map(value).collect(),
            Json::Object(members) => members.iter().map(|(name, it)| (name.value.to_string(), value(it))).collect(),
            Json::Opened(inner, _) => value(inner),
        }
    }
}
