//! Who and what a record names: the users, addresses, hosts and hashes in its fields, for schemas that have places for them.
//!
//! The rules of pseudonyms say what a field holds. Addresses are found in any text, hashes by the name before them.

use super::fields::{END, FieldSurprisal, PREFIX};
use super::scorer::ScoredRecord;
use crate::finding::Entities;
use crate::pseudonyms::{Action, Rules};
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock};

/// The most entities of a kind, and the longest one in bytes: what is beyond is no name.
const MOST: usize = 32;
const LONGEST: usize = 256;
/// The longest text that is searched for addresses.
const SEARCHED: usize = 1 << 14;
/// What logs write where there is nobody.
const NOBODY: [&str; 10] = ["", "-", "--", "?", "*", "null", "(null)", "none", "n/a", "unknown"];
/// Hexadecimal digits of MD5, SHA-1, SHA-256, SHA-384 and SHA-512.
const HASH_DIGITS: [usize; 5] = [32, 40, 64, 96, 128];
/// Parts of the names that hashes have.
const HASH_NAMES: [&str; 6] = ["md5", "sha1", "sha256", "sha384", "sha512", "hash"];

/// The built-in rules, which remember the paths that they have seen.
fn rules() -> &'static Mutex<Rules> {
    static RULES: OnceLock<Mutex<Rules>> = OnceLock::new();
    RULES.get_or_init(|| Mutex::new(Rules::load(None).expect("the built-in rules are valid")))
}

/// What the fields of a record name: pseudonyms where they replace names, or with `in_clear` the names.
pub fn entities(measured: &ScoredRecord, in_clear: bool) -> Entities {
    let mut found = Entities::default();
    let is_field = |field: &&FieldSurprisal| field.path != END && field.path != PREFIX;
    for field in measured.parts.fields.iter().filter(is_field) {
        add_field(&field.path, &measured.value(field, in_clear), &mut found);
    }
    found
}

fn add_field(path: &str, value: &str, found: &mut Entities) {
    if NOBODY.iter().any(|nobody| value.eq_ignore_ascii_case(nobody)) {
        return;
    }
    // Words of a text may be `user=ann`, where the name stands in the value.
    let pair = value.split_once('=').filter(|(name, _)| is_word(path) && !name.is_empty());
    let (path, value) = match pair {
        Some((name, value)) => (name, value.trim_matches(|c| "\"',;".contains(c))),
        None => (path, value),
    };
    let treatment = rules().lock().expect("no holder of the rules panics").field(path);
    let action = treatment.map(|treatment| treatment.action);
    let list = match action {
        Some(Action::User) if is_group(path) => return,
        Some(Action::User | Action::Logon | Action::Session | Action::Email | Action::Name | Action::Sid) => {
            Some(&mut found.users)
        }
        Some(Action::Host | Action::Domain) => Some(&mut found.hosts),
        // Dotted numbers are versions there.
        Some(Action::Agent | Action::Redact | Action::Cookie) => return,
        _ => None,
    };
    // What stays as it is may be a version, or a hash.
    let ip = address(value).filter(|_| action != Some(Action::Keep));
    match (ip, list) {
        (Some(ip), _) => add(&mut found.ips, &ip.to_string()),
        (None, Some(list)) => add(list, value),
        (None, None) => {
            if action != Some(Action::Keep) {
                addresses(value).for_each(|ip| add(&mut found.ips, &ip.to_string()));
            }
            hashes(path, value).for_each(|hash| add(&mut found.hashes, hash));
        }
    }
}

/// Whether a field is a word of a text, which has a number and no name.
fn is_word(path: &str) -> bool {
    path.rsplit(['$', '.']).next().is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a name that says who owns something is of an organisation or of its goods.
fn is_group(path: &str) -> bool {
    let name = path.rsplit('.').find(|name| *name != "*").unwrap_or(path).to_ascii_lowercase();
    ["org", "repo", "business"].iter().any(|group| name.starts_with(group) || name.ends_with(group))
}

fn add(list: &mut Vec<String>, value: &str) {
    if list.len() < MOST && value.len() <= LONGEST && !list.iter().any(|known| known == value) {
        list.push(value.to_string());
    }
}

/// The address that a whole text is, alone or with a port or a zone.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.split_once(']')).map_or(text, |(address, _)| address);
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    let ip: IpAddr = bare
        .parse()
        .ok()
        .or_else(|| bare.rsplit_once(':').filter(|(ip, port)| is_port(port) && !ip.contains(':'))?.0.parse().ok())?;
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.parse::<u16>().is_ok()
}

/// The addresses in a text. What follows a slash or a letter is a version (`Chrome/120.0.0.0`), and `a::b` a name in a program.
fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let text = if text.len() <= SEARCHED { text } else { "" };
    let begins = move |at: usize| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"/_-.:".contains(c))
    };
    let starts = text.char_indices().filter(move |&(at, c)| is_part(c) && begins(at)).map(|(at, _)| at);
    starts.filter_map(move |at| {
        let rest = &text[at..];
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let ends = rest[length..].chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let token = rest[..length].trim_end_matches(['.', ':']);
        let is_likely = token.matches('.').count() == 3 || token.matches(':').count() > 2;
        if ends && is_likely { address(token) } else { None }
    })
}

/// The hashes in a value: all of it below a name that says so, or behind a name in it (`SHA256=...`, `sha256:...`).
fn hashes<'a>(path: &str, value: &'a str) -> impl Iterator<Item = &'a str> {
    let names = |text: &str| {
        let text = text.to_ascii_lowercase();
        HASH_NAMES.iter().any(|name| text.contains(name))
    };
    let by_path = names(path.rsplit('.').find(|name| *name != "*").unwrap_or(path));
    value.split([',', ';', ' ']).filter_map(move |part| {
        let named = part.split_once(['=', ':']).filter(|(name, _)| names(name)).map(|(_, hash)| hash);
        let hash = named.or(by_path.then_some(part))?;
        let is_hash = HASH_DIGITS.contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then_some(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&str, &str)]) -> [String; 4] {
        let mut found = Entities::default();
        fields.iter().for_each(|(path, value)| add_field(path, value, &mut found));
        [found.users, found.ips, found.hosts, found.hashes].map(|list| list.join(" "))
    }

    #[test]
    fn fields_say_by_their_names_who_is_in_them() {
        let fields = [
            ("userPrincipalName", "ann@corp.example"),
            ("userName", "ann"),
            ("a.userName", "ann"),
            ("host.name", "web-1"),
            ("client", "192.0.2.7"),
            ("userIdentity.sourceIPAddress", "2001:db8::7"),
            ("Hashes", "SHA256=AB34567890123456789012345678901234567890123456789012345678901234,IMPHASH=x"),
            ("file.md5", "d41d8cd98f00b204e9800998ecf8427e"),
            ("trace", "d41d8cd98f00b204e9800998ecf8427e"),
            ("user", "-"),
            ("agent.version", "10.0.0.9"),
            ("org", "corp"),
        ];
        let [users, ips, hosts, hashes] = found(&fields);
        assert_eq!((&users[..], &ips[..], &hosts[..]), ("ann@corp.example ann", "192.0.2.7 2001:db8::7", "web-1"));
        assert_eq!(
            hashes,
            "AB34567890123456789012345678901234567890123456789012345678901234 d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn addresses_are_found_in_text_and_versions_are_none() {
        let text = "Failed from 192.0.2.1 port 22, [2001:db8:0:1::9]:443, ::ffff:198.51.100.4, and (10.0.0.1:80).";
        assert_eq!(found(&[("message", text)])[1], "192.0.2.1 2001:db8:0:1::9 198.51.100.4 10.0.0.1");
        let none = "Chrome/120.0.0.0 v1.2.3.4 1.2.3.4.5 10:20:30 std::be::c 1.2.3 999.1.1.1 0.0.0.0 a-1.2.3.4 1.2.3.4x";
        assert_eq!(found(&[("message", none), ("userAgent", "x 1.2.3.4")])[1], "");
    }

    #[test]
    fn words_of_a_text_may_name_themselves() {
        let words = [("$3", "user=ann,"), ("message.4", "user=bob"), ("$5", "rhost=192.0.2.9"), ("x.y", "user=carl")];
        let [users, ips, ..] = found(&words);
        assert_eq!((&users[..], &ips[..]), ("ann bob", "192.0.2.9"));
    }
}
