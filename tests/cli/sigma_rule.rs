//! Sigma rules, as much of them as `tests/cli/sigma/` uses: one selection of fields, each with a value or a list of values of
//! which one must match. Anything else in a rule panics.

use serde_json::Value;

pub struct Rule(Vec<Field>);

/// The text at a path must be, or start with, one of the values.
struct Field {
    path: String,
    is_start: bool,
    values: Vec<String>,
}

impl Rule {
    /// Reads the `detection` of a rule from its YAML, of which only maps and lists of plain scalars are known.
    pub fn from_yaml(text: &str) -> Self {
        let after = text.lines().skip_while(|line| *line != "detection:").skip(1);
        let detection: Vec<&str> = after.take_while(|line| line.starts_with(' ')).collect();
        let ["  selection:", fields @ .., "  condition: selection"] = detection.as_slice() else {
            panic!("not the one form of detection that is known: {detection:?}")
        };
        let mut rule = Rule(vec![]);
        for line in fields {
            match line.strip_prefix("      - ") {
                Some(value) => rule.0.last_mut().expect("a list belongs to a field").also(value),
                None => rule.0.push(Field::new(line.strip_prefix("    ").expect("a field of the selection"))),
            }
        }
        assert!(rule.0.iter().all(|field| !field.values.is_empty()), "each field has a value");
        rule
    }

    pub fn is_match(&self, event: &Value) -> bool {
        self.0.iter().all(|field| field.is_match(event))
    }
}

impl Field {
    /// `path: value`, `path|startswith: value`, or `path:` with the values on lines of their own.
    fn new(line: &str) -> Self {
        let (name, value) = line.split_once(':').expect("a field and its value");
        let (path, modifier) = name.split_once('|').unwrap_or((name, ""));
        assert!(["", "startswith"].contains(&modifier), "the modifier {modifier} is not implemented");
        let mut field = Field { path: path.to_string(), is_start: modifier == "startswith", values: vec![] };
        if !value.is_empty() {
            field.also(value.trim());
        }
        field
    }

    fn also(&mut self, value: &str) {
        assert!(!value.contains(['*', '?', '\\', '"', '\'', '[', '{']), "the value {value} is no plain one");
        self.values.push(value.to_string());
    }

    /// Sigma compares without regard to case.
    fn is_match(&self, event: &Value) -> bool {
        let text = self.path.split('.').fold(event, |value, name| &value[name]).as_str();
        text.is_some_and(|text| {
            let start = |value: &String| if self.is_start { text.get(..value.len()) } else { Some(text) };
            self.values.iter().any(|value| start(value).is_some_and(|start| start.eq_ignore_ascii_case(value)))
        })
    }
}
