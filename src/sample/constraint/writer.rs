//! Writes a grammar in the notation of the llguidance crate: rules, and the regular expressions of JSON's tokens.

use crate::record::json_tree::Gap;
use crate::record::schema::any_text;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// The regular expression between slashes.
fn slashed(regex: &str) -> String {
    format!("/{}/", regex.replace('/', r"\/"))
}

/// A grammar in the making.
pub struct Writer<'a> {
    gaps: &'a BTreeMap<Gap, String>,
    rules: String,
    count: usize,
    /// The definitions of the terminals and their numbers.
    terminals: HashMap<String, usize>,
}

impl<'a> Writer<'a> {
    pub fn new(gaps: &'a BTreeMap<Gap, String>) -> Self {
        Writer { gaps, rules: String::new(), count: 0, terminals: HashMap::new() }
    }

    /// The grammar of what `start` says.
    pub fn finish(self, start: &str) -> String {
        let mut text = format!("start: {start}\n{}", self.rules);
        let mut terminals: Vec<_> = self.terminals.into_iter().collect();
        terminals.sort_unstable_by_key(|&(_, number)| number);
        for (definition, number) in terminals {
            let _ = writeln!(text, "T{number}: {definition}");
        }
        text
    }

    pub fn gap(&self, gap: Gap) -> String {
        self.gaps.get(&gap).cloned().unwrap_or_default()
    }

    /// A terminal for a regular expression.
    pub fn terminal(&mut self, regex: &str) -> String {
        self.define(slashed(regex))
    }

    /// A terminal for what fits two regular expressions.
    pub fn both(&mut self, one: &str, other: &str) -> String {
        self.define(format!("{} & {}", slashed(one), slashed(other)))
    }

    /// A terminal for a definition in the notation of terminals.
    fn define(&mut self, definition: String) -> String {
        let next = self.terminals.len();
        format!("T{}", self.terminals.entry(definition).or_insert(next))
    }

    /// A rule of its own, for what is used more than once.
    pub fn rule(&mut self, body: &str) -> String {
        self.count += 1;
        let name = format!("r{}", self.count);
        self.named_rule(&name, body);
        name
    }

    pub fn named_rule(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.rules, "{name}: {body}");
    }

    pub fn comma(&mut self) -> String {
        let regex = format!("{},{}", self.gap(Gap::BeforeComma), self.gap(Gap::BehindComma));
        self.terminal(&regex)
    }

    /// A name, given as a regular expression of what stands between its quotes, with its colon.
    pub fn name_and_colon(&self, name: &str) -> String {
        format!("\"{name}\"{}", self.colon())
    }

    pub fn colon(&self) -> String {
        format!("{}:{}", self.gap(Gap::BeforeColon), self.gap(Gap::BehindColon))
    }

    /// The terminals of brackets: opening, closing, and both of an empty object or array.
    pub fn brackets(&mut self, [open, close]: [&str; 2], [front, back]: [&str; 2]) -> [String; 3] {
        let [inside, before, empty] = [Gap::Open, Gap::Close, Gap::Empty].map(|gap| self.gap(gap));
        [
            self.terminal(&format!("{front}{open}{inside}")),
            self.terminal(&format!("{before}{close}{back}")),
            self.terminal(&format!("{front}{open}{empty}{close}{back}")),
        ]
    }

    /// Names other than these, which are regular expressions, with their colon.
    pub fn other_names(&mut self, names: &[&str]) -> String {
        let any = format!("{}{}", any_text(None, false), self.colon());
        match names {
            [] => self.terminal(&any),
            names => {
                let taken = format!("\"({})\"{}", names.join("|"), self.colon());
                self.define(format!("{} & ~{}", slashed(&any), slashed(&taken)))
            }
        }
    }
}
