//! Rules: which fields and which places in text are replaced, and by what kind of pseudonym. `rules.toml` contains the
//! built-in rules and describes the format.

pub use super::actions::{Action, Treatment};
use super::names::FieldNames;
use super::paths::PathPatterns;
use super::patterns::{self, TextPattern, TextPatterns};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

const BUILTIN: &str = include_str!("rules.toml");

/// The most paths whose rule is cached. In objects that are keyed by data, paths could be countless.
const CACHED_PATHS: usize = 10_000;

/// A file of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default = "yes")]
    builtin: bool,
    #[serde(default)]
    keep_accounts: Vec<String>,
    #[serde(default)]
    keep_words: Vec<String>,
    #[serde(default)]
    keep_domains: Vec<String>,
    #[serde(default)]
    common_words: Vec<String>,
    /// Words that no name of a person contains.
    #[serde(default)]
    not_names: Vec<String>,
    /// Words and values that stay, whatever their kind, except secrets.
    #[serde(default)]
    allow: Vec<String>,
    /// For each mark, the names of members and keys that contain secrets.
    #[serde(default)]
    secrets: BTreeMap<String, Vec<String>>,
    /// For each action, the names of members and keys whose values it treats.
    #[serde(default)]
    names: Vec<NamesRule>,
    #[serde(default)]
    field: Vec<FieldRule>,
    #[serde(default)]
    text: Vec<TextRule>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesRule {
    action: Action,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldRule {
    path: String,
    action: Action,
    mark: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextRule {
    regex: String,
    #[serde(default)]
    words: Vec<String>,
    action: Action,
    mark: Option<String>,
}

/// A text of rules.
#[derive(Clone)]
pub struct RuleText {
    /// Where it is from, for messages.
    pub name: String,
    pub text: String,
}

impl RuleText {
    /// Reads a file of rules.
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the rules", path, e))?;
        Ok(Self { name: path.display().to_string(), text })
    }

    /// Reads a file of words that stay: one on each line; empty lines and those that begin with # are skipped.
    fn read_allowed(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the allowed words", path, e))?;
        let words = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let words: Vec<toml::Value> = words.map(toml::Value::from).collect();
        Ok(Self { name: path.display().to_string(), text: format!("allow = {}", toml::Value::from(words)) })
    }
}

pub struct Rules {
    /// The texts in use, in the order of precedence.
    pub texts: Vec<RuleText>,
    /// The treatments of the fields that `paths` finds, by number.
    fields: Vec<Treatment>,
    paths: PathPatterns,
    secrets: SecretNames,
    names: FieldNames,
    known: HashMap<String, Option<Treatment>>,
    pub patterns: TextPatterns,
    /// The treatments of the places that `patterns` find, by number.
    pub treatments: Vec<Treatment>,
    pub keep_accounts: HashSet<String>,
    pub keep_words: HashSet<String>,
    pub keep_domains: HashSet<String>,
    pub common_words: HashSet<String>,
    /// Words that no name of a person contains.
    pub not_names: HashSet<String>,
    /// Words and values that stay, whatever their kind, except secrets.
    pub allow: HashSet<String>,
}

impl Rules {
    /// Loads the built-in rules and the rules of the file `path`, which precede or replace them.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        Self::load_allowing(path, None)
    }

    /// The same, with a file of words that stay.
    pub fn load_allowing(path: Option<&Path>, allowed: Option<&Path>) -> Result<Self> {
        let mut texts: Vec<RuleText> = allowed.map(RuleText::read_allowed).transpose()?.into_iter().collect();
        texts.extend(path.map(RuleText::read).transpose()?);
        let mut is_added = true;
        for text in &texts {
            is_added &= parse(text)?.builtin;
        }
        if is_added {
            texts.push(RuleText { name: patterns::BUILTIN.into(), text: BUILTIN.into() });
        }
        Self::from_texts(texts)
    }

    /// The rules of these texts, with the built-in ones of this program in the stead of older ones.
    pub fn renewed(mut texts: Vec<RuleText>) -> Result<Self> {
        texts.iter_mut().filter(|text| text.name == patterns::BUILTIN).for_each(|text| text.text = BUILTIN.into());
        Self::from_texts(texts)
    }

    /// The rules of these texts and no others.
    pub fn from_texts(texts: Vec<RuleText>) -> Result<Self> {
        let files = texts.iter().map(|text| Ok((text.name.clone(), parse(text)?))).collect::<Result<Vec<_>>>()?;
        let lower = |lists: Vec<&Vec<String>>| lists.into_iter().flatten().map(|word| word.to_lowercase()).collect();
        let lists = |pick: fn(&RulesFile) -> &Vec<String>| lower(files.iter().map(|(_, file)| pick(file)).collect());
        let (keep_accounts, keep_words) = (lists(|f| &f.keep_accounts), lists(|f| &f.keep_words));
        let (keep_domains, common_words) = (lists(|f| &f.keep_domains), lists(|f| &f.common_words));
        let (not_names, allow) = (lists(|f| &f.not_names), lists(|f| &f.allow));
        let (mut fields, mut paths, mut patterns, mut treatments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut secrets, mut field_names) = (SecretNames::default(), FieldNames::default());
        for (name, file) in files {
            for (mark, names) in file.secrets {
                let treatment = checked(&name, "secrets", Treatment::new(Action::Redact, Some(mark)), false)?;
                names.iter().for_each(|secret| secrets.add(secret, &treatment));
            }
            for rule in file.names {
                let treatment = checked(&name, "names", Treatment::of(rule.action), false)?;
                rule.names.iter().for_each(|name| field_names.add(name, &treatment));
            }
            for rule in file.field {
                let treatment = checked(&name, &rule.path, Treatment::new(rule.action, rule.mark), false)?;
                fields.push(treatment);
                paths.push(rule.path);
            }
            for rule in file.text {
                let treatment = checked(&name, &rule.regex, Treatment::new(rule.action, rule.mark), true)?;
                treatments.push(treatment);
                patterns.push(TextPattern::new(&name, rule.regex, rule.words));
            }
        }
        let patterns = TextPatterns::new(patterns)?;
        let (known, paths) = (HashMap::new(), PathPatterns::new(paths.iter().map(String::as_str))?);
        Ok(Self {
            texts,
            fields,
            paths,
            secrets,
            names: field_names,
            known,
            patterns,
            treatments,
            keep_accounts,
            keep_words,
            keep_domains,
            common_words,
            not_names,
            allow,
        })
    }

    /// The treatment of the field at `path`, if a rule names one.
    pub fn field(&mut self, path: &str) -> Option<Treatment> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let ruled = |path: &str| self.paths.first(path).map(|number| self.fields[number].clone());
        let of = |path: &str| ruled(path).or_else(|| self.secrets.of(path));
        // A secret may be inside an array or an object.
        // An authorization is often the object that describes one, and not the header.
        let holds = |path: &str| !path.ends_with(')') && !path.to_lowercase().ends_with("authorization");
        let within = || path.rmatch_indices('.').filter_map(|(at, _)| of(&path[..at]).filter(|_| holds(&path[..at])));
        let secret = || within().find(|found| found.action == Action::Redact);
        let found = of(path).or_else(secret).or_else(|| self.names.of(path).cloned());
        if self.known.len() < CACHED_PATHS {
            self.known.insert(path.to_string(), found.clone());
        }
        found
    }
}

impl Rules {
    /// Whether a known name is a word that names fields, as `login` does: in text, it is nobody's name.
    pub fn is_name_of_field(&self, name: &str) -> bool {
        self.names.holds(name)
    }
}

/// Names of members and keys that contain secrets.
#[derive(Default)]
struct SecretNames {
    /// Whole names; and ends of names, which a rule writes as `*end`.
    whole: HashMap<String, (usize, Treatment)>,
    ends: HashMap<String, (usize, Treatment)>,
}

impl SecretNames {
    fn add(&mut self, name: &str, treatment: &Treatment) {
        let name = name.to_lowercase();
        let number = self.whole.len() + self.ends.len();
        let (names, name) = match name.strip_prefix('*') {
            Some(end) => (&mut self.ends, end.to_string()),
            None => (&mut self.whole, name),
        };
        names.entry(name).or_insert((number, treatment.clone()));
    }

    /// Redaction, if the last name of the path is that of a secret; of several rules the first.
    fn of(&self, path: &str) -> Option<Treatment> {
        let name = path.rsplit('.').find(|name| *name != "*")?;
        let bare: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let ends = bare.char_indices().map(|(at, _)| &bare[at..]).chain([""]);
        let found = ends.filter_map(|end| self.ends.get(end)).chain(self.whole.get(&bare));
        found.min_by_key(|(number, _)| number).map(|(_, treatment)| treatment.clone())
    }
}

fn parse(RuleText { name, text }: &RuleText) -> Result<RulesFile> {
    toml::from_str(text).map_err(|e| Error::usage(format!("{name}: expected rules; {e}")))
}

/// Returns an error for a mark that may need escaping in a log, and for the actions `field` and `secret` in a rule that has
/// no group `key`.
fn checked(name: &str, rule: &str, treatment: Treatment, text: bool) -> Result<Treatment> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !treatment.mark.chars().all(plain) || treatment.mark.is_empty() {
        return Err(Error::usage(format!(
            "{name}: rule '{rule}': mark '{}': expected capital letters, digits and _",
            treatment.mark
        )));
    }
    if matches!(treatment.action, Action::Field | Action::Secret) && !(text && rule.contains("?<key>")) {
        return Err(Error::usage(format!(
            "{name}: rule '{rule}': the actions field and secret need a regex with a group key"
        )));
    }
    Ok(treatment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Rules> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Rules::load(Some(file.path()))
    }

    #[test]
    fn built_in_rules_know_the_common_fields() {
        let mut rules = Rules::load(None).unwrap();
        for (path, action) in [
            ("properties.userPrincipalName", Some(Action::User)),
            ("properties.userDisplayName", Some(Action::Name)),
            ("properties.deviceDetail.displayName", Some(Action::Host)),
            ("properties.appDisplayName", None),
            ("resources.*.accountId", Some(Action::Account)),
            ("eventName", Some(Action::Keep)),
        ] {
            assert_eq!(rules.field(path).map(|t| t.action), action, "{path}");
        }
    }

    #[test]
    fn secrets_are_known_by_name_however_it_is_written() {
        let mut rules = Rules::load(None).unwrap();
        let mut mark =
            |path: &str| rules.field(path).filter(|found| found.action == Action::Redact).map(|found| found.mark);
        for path in ["pw", "DB_Password", "spring.datasource.password", "a.*.passphrase.*", "adminPw"] {
            assert_eq!(mark(path).as_deref(), Some("PASSWORD"), "{path}");
        }
        for path in ["SecretKey", "aws_secret_access_key", "x-api-key", "secret.value"] {
            assert_eq!(mark(path).as_deref(), Some("SECRET"), "{path}");
        }
        for path in ["a.token", "X-Auth-Token"] {
            assert_eq!(mark(path).as_deref(), Some("TOKEN"), "{path}");
        }
        for path in ["session", "tokenIssuerType", "nextToken", "accessKey.status", "passwordLastSet", "bypass", "key"]
        {
            assert_eq!(mark(path), None, "{path}");
        }
    }

    #[test]
    fn every_pattern_of_the_program_compiles() {
        let rules = Rules::load(None).unwrap();
        for number in 0..rules.treatments.len() {
            rules.patterns.get(number).places("x");
        }
    }

    #[test]
    fn a_file_comes_first_or_alone() {
        let mut added = with("field = [{ path = 'identity', action = 'keep' }]").unwrap();
        assert_eq!(added.field("identity"), Some(Treatment::of(Action::Keep)));
        assert_eq!(added.field("a.userName").map(|t| t.action), Some(Action::User));
        let mut alone = with("builtin = false\nfield = [{ path = 'x.*.y', action = 'user' }]").unwrap();
        assert_eq!(alone.field("x.*.y").map(|t| t.action), Some(Action::User));
        assert_eq!(alone.field("a.userName"), None);
        assert_eq!(alone.patterns.matching("10.0.0.1 user=al").len(), 0);
    }

    /// Every rule of each kind, and a time that a rule-by-rule search could not keep.
    #[test]
    fn a_hundred_thousand_rules_are_loaded_and_searched_in_moments() {
        let mut text = String::from("builtin = false\n");
        for i in 0..50_000 {
            text += &format!("[[field]]\npath = 'app{i}.user'\naction = 'user'\n");
            text += &format!("[[field]]\npath = '*.host{i}.*'\naction = 'host'\n");
            text += &format!("[[text]]\nregex = 'employee {i}'\naction = 'user'\n");
        }
        text += &format!("[secrets]\nSECRET = {:?}\n", (0..50_000).map(|i| format!("*secret{i}")).collect::<Vec<_>>());
        let started = std::time::Instant::now();
        let mut rules = with(&text).unwrap();
        for i in 0..2000 {
            let mut action = |path: &str| rules.field(path).map(|found| found.action);
            assert_eq!(action(&format!("app{i}.user")), Some(Action::User));
            assert_eq!(action(&format!("a.HOST{i}.b")), Some(Action::Host));
            assert_eq!(action(&format!("a.mySecret{i}")), Some(Action::Redact));
            assert_eq!(action(&format!("a.b{i}")), None);
            let found = rules.patterns.matching(&format!("by employee {}", 10_000 + i));
            // The beginning of the number is the name of another one: 10, 100, 1000 and the like.
            let longest = rules.patterns.get(*found.last().unwrap());
            assert_eq!(longest.places(&format!("employee {}", 10_000 + i)).len(), 1);
        }
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }

    #[test]
    fn allowed_words_are_one_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# hosts of everybody\n\n Web01 \nBackup Operators\n\"quoted\\n\n").unwrap();
        let rules = Rules::load_allowing(None, Some(file.path())).unwrap();
        let mut allowed: Vec<_> = rules.allow.iter().map(String::as_str).collect();
        allowed.sort();
        assert_eq!(allowed, ["\"quoted\\n", "backup operators", "web01"]);
        assert!(rules.keep_words.contains("srv"), "with the built-in rules");
        assert!(
            Rules::load_allowing(None, Some(Path::new("/nowhere"))).err().unwrap().to_string().contains("/nowhere")
        );
    }

    #[test]
    fn what_is_no_rule_is_refused_and_named() {
        for (text, part) in [
            ("fields = []", "fields"),
            ("field = [{ path = 'a', action = 'hide' }]", "hide"),
            ("field = [{ path = 'a', action = 'user', colour = 1 }]", "colour"),
            ("field = [{ path = 'a', action = 'field' }]", "group key"),
            ("text = [{ regex = 'a', action = 'secret' }]", "group key"),
            ("secrets.'a b' = ['pw']", "capital letters"),
            ("text = [{ regex = '(', action = 'user' }]", "regular expression"),
            ("text = [{ regex = '\\w{5000}', action = 'user' }]", "regular expression"),
            ("text = [{ regex = 'a', action = 'redact', mark = 'a b' }]", "capital letters"),
            ("=", "rules"),
        ] {
            let error = with(text).err().unwrap_or_else(|| panic!("{text}: taken"));
            assert!(error.exit_code() == 2 && error.to_string().contains(part), "{error}");
        }
    }
}
