//! What the name of a member or key says of its value, however the name is written: `userName`, `user_name`, `User Name`.
//!
//! A name is compared in lower case and without separators. A rule gives a whole name (`login`), the end of names (`*username`),
//! or the names of an object and of its member (`host.name`, `*user.displayname`). Of several rules the more exact one counts: two
//! names before one, a whole name before an end, a longer end before a shorter one.

use super::actions::Treatment;
use std::collections::HashMap;

#[derive(Default)]
pub struct FieldNames {
    whole: HashMap<String, Treatment>,
    ends: HashMap<String, Treatment>,
    /// The length of the longest end.
    longest: usize,
}

impl FieldNames {
    /// Adds a rule; an earlier one for the same name counts.
    pub fn add(&mut self, name: &str, treatment: &Treatment) {
        let name = name.to_lowercase();
        let (names, name) = match name.strip_prefix('*') {
            Some(end) => (&mut self.ends, end.to_string()),
            None => (&mut self.whole, name),
        };
        self.longest = self.longest.max(name.len());
        names.entry(name).or_insert_with(|| treatment.clone());
    }

    /// The treatment of the value at a path; `None` if no rule knows its names.
    pub fn of(&self, path: &str) -> Option<&Treatment> {
        let mut names = path.rsplit('.').filter(|name| *name != "*").map(plain).filter(|name| !name.is_empty());
        let last = names.next()?;
        let both = names.next().map(|object| format!("{object}.{last}"));
        let with_object = both.as_deref().and_then(|both| {
            let split = both.len() - last.len();
            self.whole.get(both).or_else(|| self.end(both, split))
        });
        with_object.or_else(|| self.whole.get(&last)).or_else(|| self.end(&last, last.len() + 1))
    }

    /// Whether a rule names exactly this.
    pub fn holds(&self, name: &str) -> bool {
        self.whole.contains_key(&plain(name))
    }

    /// The longest end of the name that has a rule and begins before `before`.
    fn end(&self, name: &str, before: usize) -> Option<&Treatment> {
        let from = name.len().saturating_sub(self.longest);
        let starts = name.char_indices().map(|(at, _)| at).filter(|at| *at >= from && *at < before);
        starts.filter_map(|at| self.ends.get(&name[at..])).next()
    }
}

/// A name in lower case, without separators.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::actions::Action;
    use super::*;

    #[test]
    fn the_more_exact_rule_counts() {
        let mut names = FieldNames::default();
        for (name, action) in [
            ("*name", Action::Name),
            ("*username", Action::User),
            ("host.name", Action::Host),
            ("*device.name", Action::Mac),
            ("filename", Action::Keep),
            ("*.login", Action::Token),
            ("login", Action::User),
        ] {
            names.add(name, &Treatment::of(action));
        }
        let of = |path: &str| names.of(path).map(|found| found.action);
        assert_eq!(of("a.Target User-Name"), Some(Action::User));
        assert_eq!(of("a.*.host.*.name"), Some(Action::Host));
        assert_eq!(of("my_device.name"), Some(Action::Mac));
        assert_eq!(of("device.surName"), Some(Action::Name));
        assert_eq!(of("file.file_name"), Some(Action::Keep));
        assert_eq!((of("login"), of("a.login")), (Some(Action::User), Some(Action::Token)));
        assert_eq!((of("names"), of("*"), of("")), (None, None, None));
    }
}
