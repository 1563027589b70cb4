//! Records in the order and the writing of training: what a record says does not depend on the order of its members, its white
//! space or the spelling of its numbers, so neither may what a model finds odd about it. An order that training never had is
//! told beside the record.

use super::json_tree::{Gap, Json, Text};
use super::object::check_object;
use super::records::Records;
use super::schema::{ANY_ORDER, WRITTEN};
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

/// How training wrote its records, from what `prepare` learnt.
pub struct Arrangement {
    root: Shape,
    comma: String,
    colon: String,
    /// The white space inside of the brackets of what is not empty.
    open: String,
    close: String,
}

/// A record as training would have written it.
#[derive(Debug, PartialEq)]
pub struct Arranged<'a> {
    pub record: Cow<'a, [u8]>,
    /// The members that stand before one which always came before them in training: `eventName before eventTime`.
    pub disorder: Vec<String>,
}

/// What is known of the values at a path.
#[derive(Default)]
struct Shape {
    /// Members by name.
    members: HashMap<String, Member>,
    elements: Option<Box<Shape>>,
    number: Option<Spelling>,
}

struct Member {
    /// The place among the members of its object.
    place: usize,
    /// Members of the same group stand in any order.
    group: usize,
    shape: Shape,
}

/// How the numbers of a path are spelt.
struct Spelling {
    is_integer: bool,
    written: String,
    /// Compiled when the first number needs it; none that cannot be compiled.
    regex: OnceLock<Option<Regex>>,
}

impl Arrangement {
    /// None where nothing is known of how records are written, or where their white space varies too much to be put on.
    pub fn new(records: &Records) -> Option<Self> {
        let (schema, (comma, colon)) = (records.schema.as_ref()?, records.separators.clone()?);
        let gap = |gap| usual_gap(&records.gaps, gap);
        let rest = [Gap::Front, Gap::Back, Gap::Empty, Gap::BeforeComma, Gap::BeforeColon].map(gap);
        let (open, close) = (gap(Gap::Open)?, gap(Gap::Close)?);
        rest.iter().all(|white| white.as_deref() == Some("")).then_some(())?;
        Some(Arrangement { root: Shape::of(schema), comma, colon, open, close })
    }

    /// Arranges a record without a prefix. What is no JSON object stays as it is. Takes time in proportion to its length.
    pub fn apply<'a>(&self, record: &'a [u8]) -> Arranged<'a> {
        let mut disorder = Vec::new();
        let arranged = check_object(record).ok().and_then(|()| {
            let tree = Json::of_object(std::str::from_utf8(record).ok()?, &mut |_, _| {});
            let mut out = String::with_capacity(record.len() + 16);
            self.write(&tree, Some(&self.root), &mut out, &mut disorder);
            Some(out.into_bytes())
        });
        let record = match arranged {
            Some(arranged) if arranged != record => Cow::Owned(arranged),
            _ => Cow::Borrowed(record),
        };
        Arranged { record, disorder }
    }

    fn write(&self, value: &Json, shape: Option<&Shape>, out: &mut String, disorder: &mut Vec<String>) {
        match value {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(raw) => match shape.and_then(|shape| shape.number.as_ref()) {
                Some(spelling) => out.push_str(&spelling.spell(raw)),
                None => out.push_str(raw),
            },
            Json::Text(text) => write_text(text, out),
            // The layout of what a string says belongs to what it says.
            Json::Opened(_, raw) => out.push_str(raw),
            Json::Array(elements) => {
                let shape = shape.and_then(|shape| shape.elements.as_deref());
                self.write_items(('[', ']'), elements, out, |element, out| self.write(element, shape, out, disorder));
            }
            Json::Object(members) => {
                let known = shape.map(|shape| &shape.members);
                let of = |name: &Text| known.and_then(|known| known.get(name.value.as_ref()));
                disorder.extend(first_disorder(members, &of));
                let mut ordered: Vec<&(Text, Json)> = members.iter().collect();
                // Names that training never had come last, in the order of the alphabet. The sort keeps doubled names in order.
                let place = |name: &Text| of(name).map_or(usize::MAX, |member| member.place);
                ordered.sort_by(|(a, _), (b, _)| {
                    let by_name = || if of(a).is_none() { a.value.cmp(&b.value) } else { std::cmp::Ordering::Equal };
                    place(a).cmp(&place(b)).then_with(by_name)
                });
                self.write_items(('{', '}'), &ordered, out, |(name, value), out| {
                    write_text(name, out);
                    out.push_str(&self.colon);
                    self.write(value, of(name).map(|member| &member.shape), out, disorder);
                });
            }
        }
    }

    fn write_items<T>(
        &self,
        (begin, end): (char, char),
        items: &[T],
        out: &mut String,
        mut write: impl FnMut(&T, &mut String),
    ) {
        out.push(begin);
        if !items.is_empty() {
            out.push_str(&self.open);
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push_str(&self.comma);
                }
                write(item, out);
            }
            out.push_str(&self.close);
        }
        out.push(end);
    }
}

/// The white space at a gap of which most have one kind: none where none is allowed, else one space; None for anything else.
fn usual_gap(gaps: &BTreeMap<Gap, String>, gap: Gap) -> Option<String> {
    let Some(written) = gaps.get(&gap) else { return Some(String::new()) };
    let regex = Regex::new(&format!("^({written})$")).ok()?;
    ["", " "].into_iter().find(|white| regex.is_match(white)).map(str::to_string)
}

fn write_text(text: &Text, out: &mut String) {
    out.push('"');
    out.push_str(text.raw);
    out.push('"');
}

/// The first neighbours among the known members that stand the other way round than training always had them.
fn first_disorder<'m>(members: &[(Text, Json)], of: &impl Fn(&Text) -> Option<&'m Member>) -> Option<String> {
    let known: Vec<(&Text, &Member)> = members.iter().filter_map(|(name, _)| Some((name, of(name)?))).collect();
    let wrong = known.windows(2).find(|pair| pair[0].1.group > pair[1].1.group)?;
    Some(format!("{} before {}", wrong[0].0.value, wrong[1].0.value))
}

impl Shape {
    /// What a JSON Schema as `prepare` learns it says of the values.
    fn of(schema: &Value) -> Self {
        let mut shape = Shape::default();
        let kinds = schema.get("anyOf").and_then(Value::as_array).map_or(std::slice::from_ref(schema), Vec::as_slice);
        kinds.iter().filter(|kind| kind.get(super::schema::OPENED).is_none()).for_each(|kind| shape.add(kind));
        shape
    }

    fn add(&mut self, kind: &Value) {
        if let Some(properties) = kind.get("properties").and_then(Value::as_object) {
            let group = groups(kind, properties.keys());
            let member = |(place, (name, schema)): (usize, (&String, &Value))| {
                (name.clone(), Member { place, group: group[place], shape: Shape::of(schema) })
            };
            self.members = properties.iter().enumerate().map(member).collect();
        }
        if let Some(items) = kind.get("items") {
            self.elements = Some(Box::new(Shape::of(items)));
        }
        let is_number = |value: &Value| value.is_number();
        let listed = kind.get("enum").and_then(Value::as_array).is_some_and(|values| values.iter().all(is_number));
        let is_listed = listed || kind.get("const").is_some_and(is_number);
        let named = kind.get("type").and_then(Value::as_str);
        if let (true, Some(written)) =
            (is_listed || matches!(named, Some("integer" | "number")), kind.get(WRITTEN).and_then(Value::as_str))
        {
            let (written, regex) = (written.to_string(), OnceLock::new());
            self.number = Some(Spelling { is_integer: named == Some("integer"), written, regex });
        }
    }
}

/// The group of each name, ascending: names of one group follow each other in any order.
fn groups<'a>(kind: &Value, names: impl Iterator<Item = &'a String>) -> Vec<usize> {
    let sets: Vec<HashSet<&str>> = match kind.get(ANY_ORDER) {
        Some(Value::Array(groups)) => groups.iter().map(texts).collect(),
        // Among names that are not known all are free; those that every record has are not told from them here.
        Some(_) => return names.map(|_| 0).collect(),
        None => Vec::new(),
    };
    let set_of = |name: &String| sets.iter().position(|set| set.contains(name.as_str()));
    let (mut last, mut group) = (None, 0);
    let mut next = |name: &String| {
        let set = set_of(name);
        if set.is_none() || set != last {
            group += 1;
        }
        last = set;
        group
    };
    names.map(&mut next).collect()
}

fn texts(list: &Value) -> HashSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Spelling {
    /// The number as training spells those of its path, if it can be: as it is, plainly (`100` for `1e2` and `100.0`), or plainly
    /// with one digit behind the point.
    fn spell<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        let is_plain_integer = !raw.contains(['.', 'e', 'E']);
        if self.is_integer && is_plain_integer {
            return Cow::Borrowed(raw);
        }
        let compile = || Regex::new(&format!("^({})$", self.written)).ok();
        let Some(regex) = self.regex.get_or_init(compile) else { return Cow::Borrowed(raw) };
        if regex.is_match(raw) {
            return Cow::Borrowed(raw);
        }
        let Some(plain) = plain_number(raw) else { return Cow::Borrowed(raw) };
        let with_point = format!("{plain}.0");
        if !plain.contains('.') && !regex.is_match(&plain) && regex.is_match(&with_point) {
            return Cow::Owned(with_point);
        }
        Cow::Owned(plain)
    }
}

/// The most digits of a number that is written without an exponent.
const MOST_DIGITS: i64 = 40;

/// A number without exponent and needless zeros, exactly; None where that would be long.
fn plain_number(raw: &str) -> Option<String> {
    let (sign, rest) = raw.strip_prefix('-').map_or(("", raw), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    // The number of digits before the point.
    let point = whole.len() as i64 - (all.len() - digits.len()) as i64;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some("0".to_string());
    }
    let point = point.checked_add(exponent)?;
    let length = digits.len() as i64;
    if point.abs() > MOST_DIGITS || length > MOST_DIGITS {
        return None;
    }
    Some(match point {
        _ if point >= length => format!("{sign}{digits}{}", "0".repeat((point - length) as usize)),
        _ if point > 0 => format!("{sign}{}.{}", &digits[..point as usize], &digits[point as usize..]),
        _ => format!("{sign}0.{}{digits}", "0".repeat(-point as usize)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Form, RecordsBuilder};
    use proptest::prelude::*;

    fn learnt(records: &[&str]) -> Arrangement {
        let mut builder = RecordsBuilder::new(Form::Json, &[]);
        records.iter().for_each(|record| builder.observe(record.as_bytes(), false));
        Arrangement::new(&builder.finish()).unwrap()
    }

    fn arranged(like: &Arrangement, record: &str) -> (String, Vec<String>) {
        let Arranged { record, disorder } = like.apply(record.as_bytes());
        (String::from_utf8(record.into_owned()).unwrap(), disorder)
    }

    const USUAL: [&str; 3] = [
        r#"{"time": "x", "who": {"id": 1, "ip": "a"}, "list": [{"k": 1.5, "v": 2}], "score": 1.0}"#,
        r#"{"time": "y", "who": {"id": 2, "ip": "b"}, "list": [], "score": 2.0}"#,
        r#"{"time": "z", "who": {"id": 3, "ip": "b"}, "list": [{"k": 2.5, "v": 2}], "score": 7.0}"#,
    ];

    #[test]
    fn layout_is_that_of_training_and_disorder_is_told() {
        let like = learnt(&USUAL);
        for record in USUAL {
            assert!(matches!(like.apply(record.as_bytes()).record, Cow::Borrowed(_)), "{record}");
            assert_eq!(arranged(&like, record), (record.to_string(), vec![]));
        }
        let odd =
            "{\"score\":1,\"who\":{\"ip\":\"a\" ,\t\"id\":1e0},\"list\":[{\"v\":2.0,\"k\":15e-1}],\"time\":\"x\"}";
        let told = ["score before who", "ip before id", "v before k"].map(str::to_string).to_vec();
        assert_eq!(arranged(&like, odd), (USUAL[0].to_string(), told));
    }

    #[test]
    fn names_that_training_never_had_come_last_whatever_their_order() {
        let like = learnt(&USUAL);
        let (expected, none) = (r#"{"time": "x", "a": {"c": 1, "d": [ ]}, "b": 2}"#.replace("[ ]", "[]"), vec![]);
        for record in [r#"{"a":{"d":[],"c":1},"time":"x","b":2}"#, r#"{"b": 2, "time": "x", "a": {"c": 1, "d": []}}"#] {
            assert_eq!(arranged(&like, record), (expected.clone(), none.clone()), "{record}");
        }
        assert_eq!(arranged(&like, r#"{"who":1,"time":"x","who":2}"#).0, r#"{"time": "x", "who": 1, "who": 2}"#);
        assert_eq!(arranged(&like, "{\"time\": \"x\"").0, "{\"time\": \"x\"", "no object");
    }

    #[test]
    fn orders_that_vary_in_training_are_no_disorder() {
        let like = learnt(&[r#"{"a":1,"b":1,"c":1}"#, r#"{"b":1,"a":1,"c":1}"#, r#"{"a":1,"b":1,"c":1}"#]);
        assert_eq!(arranged(&like, r#"{"b":1,"a":1,"c":1}"#), (r#"{"a":1,"b":1,"c":1}"#.to_string(), vec![]));
        assert_eq!(arranged(&like, r#"{"c":1,"b":1,"a":1}"#).1, ["c before b"]);
    }

    #[test]
    fn numbers_are_plain_without_a_change_of_their_value() {
        for (raw, plain) in [
            ("1e2", "100"),
            ("100.0", "100"),
            ("-1.50E+1", "-15"),
            ("0.0", "0"),
            ("-0", "0"),
            ("12.340", "12.34"),
            ("5e-3", "0.005"),
            ("0.012e1", "0.12"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(plain_number(raw).as_deref(), Some(plain), "{raw}");
        }
        assert_eq!(plain_number("1e999"), None);
        assert_eq!(plain_number("1e99999999999999999999"), None);
    }

    proptest! {
        /// Arranging changes no value, and arranging again changes nothing.
        #[test]
        fn what_a_record_says_stays(text in r#"\{("(time|who|score|list|b)"[ ]?:[ ]?(1|-0\.50|3e1|\[1?,?2?\]|"\\u0041é"|null|\{"(ip|id|x)":7\.0\}),?){0,4}\}"#) {
            let like = learnt(&USUAL);
            let once = arranged(&like, &text).0;
            let value = |text: &str| serde_json::from_str::<Value>(text).ok().map(as_floats);
            prop_assert_eq!(value(&text), value(&once));
            prop_assert_eq!(&arranged(&like, &once).0, &once);
        }
    }

    fn as_floats(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().into(),
            Value::Array(elements) => elements.into_iter().map(as_floats).collect(),
            Value::Object(members) => {
                let sorted: BTreeMap<String, Value> = members.into_iter().map(|(k, v)| (k, as_floats(v))).collect();
                sorted.into_iter().collect()
            }
            other => other,
        }
    }
}
