//! Persons whose names stand in text only, and whose accounts stand in fields: `Anjali Deshpande` where `adeshpande` logs in.
//!
//! Pairs of words with capitals are collected while the records are read. When all accounts are known, a pair of which one is a form
//! is a person's name; all others are forgotten.

use super::people::Person;
use std::collections::HashMap;

/// The most pairs that are collected; a log of many more has other words in them.
const MOST: usize = 50_000;

/// The pairs, and their numbers in the order in which they came.
#[derive(Default)]
pub struct Namesakes(HashMap<Person, usize>);

impl Namesakes {
    /// Adds two words that may be a name, in either order.
    pub fn add(&mut self, [first, second]: [&str; 2]) {
        if self.0.len() < MOST
            && let Some(person) = Person::from_name(&format!("{first} {second}"))
        {
            self.insert(person);
        }
    }

    /// Adds a pair that was read as a name.
    pub fn insert(&mut self, person: Person) {
        let number = self.0.len();
        if number < MOST {
            self.0.entry(person).or_insert(number);
        }
    }

    /// The pairs in the order in which they came.
    pub fn in_order(&self) -> Vec<&Person> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_unstable_by_key(|(_, number)| **number);
        pairs.into_iter().map(|(person, _)| person).collect()
    }

    /// The persons among the pairs, of which an account is a form, in alphabetical order. The pairs are forgotten.
    pub fn named_by(&mut self, is_account: impl Fn(&str) -> bool) -> Vec<Person> {
        let pairs = std::mem::take(&mut self.0);
        let is_named = |person: &Person| person.accounts().any(|form| is_account(&form));
        let named = |person: Person| [person.turned(), person].into_iter().rev().find(is_named);
        let mut found: Vec<Person> = pairs.into_keys().filter_map(named).collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_makes_a_pair_of_words_a_name() {
        let mut all = Namesakes::default();
        for pair in [["Anjali", "Deshpande"], ["Varga", "Gabor"], ["Deployment", "Started"], ["Al", "Ice"]] {
            all.add(pair);
        }
        let accounts = ["adeshpande", "gabor.varga", "dstar", "alice"];
        let named = all.named_by(|form| accounts.contains(&form));
        let expected = ["Anjali Deshpande", "Gabor Varga"].map(|name| Person::from_name(name).unwrap());
        assert_eq!(named, expected);
        assert!(all.named_by(|_| true).is_empty(), "they are forgotten");
    }
}
