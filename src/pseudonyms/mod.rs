//! Keyed pseudonyms: they replace who and where in a log, and leave what happened.
//!
//! There are two passes over the records. The first learns the persons, hosts, domains and accounts
//! ([`Pseudonymizer::learn`]); the second replaces them ([`Pseudonymizer::rewrite`]), in fields that a rule names and in
//! running text, paths and command lines. One original has one pseudonym in the whole corpus, and all forms of a name get
//! the same pseudonym in the same form:
//!
//! ```text
//! Aaron Cole  acole  acole@corp.example  AARONCOLE-LT   ->   Mara Voss  mvoss  mvoss@stel.example  MARAVOSS-LT
//! ```
//!
//! | file | contains |
//! |---|---|
//! | `pseudonymizer` | the two passes and the report |
//! | `actions`, `rules`, `paths`, `names`, `patterns`, `places` | what is replaced: which fields, and which places in text |
//! | `beside`, `values`, `nested`, `encoded` | values that stand beside their names, in lists, in JSON as text, in base64 and the like |
//! | `view`, `keyed`, `cef` | text as it is searched; pairs of a key and a value; CEF and LEEF |
//! | `domains`, `programs`, `providers` | what looks like a name and is none, and what is one; names below the domains of providers |
//! | `persons`, `capitals`, `ideographs`, `lexicon`, `spelled`, `namesakes` | names of persons in text: by given names and frames, and by accounts that spell them |
//! | `parts` | the values of a record, and the record with its replacements |
//! | `members` | names of members in objects that are keyed by a person, account or address |
//! | `replacer` | the pseudonym of a value of a given kind |
//! | `known`, `hashed` | the names of the corpus, which are searched for in text and kept as keyed hashes |
//! | `people`, `words` | pseudonyms of a person's name in all its forms, and of single words |
//! | `address`, `identifiers` | pseudonyms of IP addresses and of identifiers with a fixed format |
//! | `opaque`, `sums`, `numbered`, `resources` | pseudonyms of other identifiers, of numbers with a check sum, of `web-01`, of names with parts |
//! | `state`, `sealed`, `one_record` | what a corpus taught, in a file that the key opens; later records with the same pseudonyms |
//! | `census` | the words of a dry run |
//! | `permute`, `key` | keyed permutations of digits and letters; the secret key and HMAC-SHA-256 |
//!
//! Limits: a name that no rule describes and no field of the corpus contains stays, and so does the name of a JSON member
//! that neither has a fixed format nor is a person's name. Pseudonyms are not anonymity: whoever has the key, or knows
//! enough about what happened, can undo them; persons who share a surname or initials still share them.
//!
//! Memory grows with the number of distinct names, not with the corpus; all other pseudonyms are computed from the key.

mod actions;
mod address;
mod beside;
mod capitals;
mod cef;
mod census;
mod domains;
mod encoded;
mod hashed;
mod identifiers;
mod ideographs;
mod key;
mod keyed;
mod known;
mod lexicon;
mod members;
mod names;
mod namesakes;
mod nested;
mod numbered;
mod one_record;
mod opaque;
mod parts;
mod paths;
mod patterns;
mod people;
mod permute;
mod persons;
mod places;
mod programs;
mod providers;
mod pseudonymizer;
mod replacer;
mod resources;
mod rules;
mod sealed;
mod spelled;
mod state;
mod sums;
#[cfg(test)]
mod tests;
mod values;
mod view;
mod words;

pub use census::{SeenElsewhere, WordReport};
pub use key::SecretKey;
pub use one_record::{RecordPseudonyms, Rewritten};
pub use parts::Change;
pub use pseudonymizer::{PseudonymReport, Pseudonymizer};
pub use rules::{Action, Rules};
pub use sealed::{SEALED_FILE, SealedPseudonyms};
