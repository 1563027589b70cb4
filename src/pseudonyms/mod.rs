//! Keyed pseudonyms: who and where is replaced, what happened stays.
//!
//! Two passes over the records. The first learns who the persons, hosts, domains and accounts are ([`Pseudonymizer::learn`]);
//! the second replaces them ([`Pseudonymizer::rewrite`]), in fields that a rule names and in running text, paths and command
//! lines. One original has one pseudonym in the whole corpus, and the forms of a name belong together:
//!
//! ```text
//! Aaron Cole  acole  acole@corp.example  AARONCOLE-LT   ->   Mara Voss  mvoss  mvoss@stel.example  MARAVOSS-LT
//! ```
//!
//! | file | makes |
//! |---|---|
//! | `key` | the secret and HMAC-SHA-256 under it |
//! | `permute` | permutations of digits and letters: identifiers |
//! | `address` | Crypto-PAn |
//! | `identifiers` | UUID, MAC, SID, account and key ids, coordinates |
//! | `words`, `people` | pronounceable words, and a person's name in all its forms |
//! | `replacer` | from a value and its kind to the pseudonym |
//! | `rules`, `places` | which fields, and where in text |
//! | `record` | a record with its replacements spliced in |
//! | `members` | names of members, where maps are keyed by who or where |
//!
//! What is not done: what no rule describes and no field of the corpus names stays, and so do names of members in JSON that
//! are known from neither their form nor a person's name. Pseudonyms are not anonymity: who has the key, or knows enough of
//! what happened, can undo them; initials and surnames that persons share stay shared.
//!
//! Memory grows with the number of distinct names, not with the corpus; everything else is computed from the key.

mod address;
mod identifiers;
mod key;
mod members;
mod parts;
mod people;
mod permute;
mod places;
mod pseudonymizer;
mod replacer;
mod rules;
#[cfg(test)]
mod tests;
mod words;

pub use key::SecretKey;
pub use parts::Change;
pub use pseudonymizer::{PseudonymReport, Pseudonymizer};
pub use rules::Rules;
