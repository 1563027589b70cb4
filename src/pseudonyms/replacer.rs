//! Computes the pseudonym of a value of a given kind, or the value of a pseudonym, as far as its form says it.

use super::address::AddressPseudonyms;
use super::hashed::{Layered, NameHash, NameHasher};
use super::identifiers as ids;
use super::key::SecretKey;
use super::numbered;
use super::opaque;
use super::people::People;
use super::permute::{Direction, Permuter};
use super::providers;
use super::rules::{Action, Rules, Treatment};
use super::sums;
use super::words::{Words, with_letters, written_like};
use std::collections::HashSet;

/// The beginning of every replaced secret.
const MARK: &str = "REDACTED_";

pub struct Replacer {
    key: SecretKey,
    pub(super) permuter: Permuter,
    addresses: AddressPseudonyms,
    /// Of pseudonyms that are to be undone, the number of those that cannot be.
    pub lost: u64,
    pub words: Words,
    pub people: People,
    pub(super) hasher: NameHasher,
    /// Domains that fields contain, in lower case. They distinguish a logon `X\y` from a path.
    pub(super) domains: Layered<()>,
    keep_accounts: HashSet<String>,
    keep_domains: HashSet<String>,
    allow: HashSet<String>,
    pub(super) not_names: HashSet<String>,
}

impl Replacer {
    pub fn new(key: SecretKey, rules: &Rules, direction: Direction) -> Self {
        Self {
            permuter: Permuter::new(key.clone(), direction),
            addresses: AddressPseudonyms::new(&key, direction),
            lost: 0,
            words: Words::new(key.clone(), rules.keep_words.union(&rules.allow).cloned().collect()),
            people: People::new(NameHasher::new(&key)),
            hasher: NameHasher::new(&key),
            domains: Layered::default(),
            keep_accounts: rules.keep_accounts.clone(),
            keep_domains: rules.keep_domains.clone(),
            allow: rules.allow.clone(),
            not_names: rules.not_names.clone(),
            key,
        }
    }

    /// Learns a domain, in lower case.
    pub fn learn_domain(&mut self, lower: &str) {
        self.restore_domain(self.hasher.of(lower));
    }

    pub fn restore_domain(&mut self, lower: NameHash) {
        self.domains.put_new(lower, ());
    }

    /// The hashes of the domains.
    pub fn domains(&self) -> impl Iterator<Item = NameHash> {
        self.domains.sorted().into_iter().map(|(hash, ())| hash)
    }

    /// From here on, what is learnt belongs to a record.
    pub fn close(&mut self) {
        self.words.close();
        self.people.close();
        self.domains.close();
    }

    /// Removes what a record added.
    pub fn forget(&mut self) {
        self.words.forget();
        self.people.forget();
        self.domains.forget();
    }

    /// The pseudonym of `text` as a value of the kind that `treatment` names, or `text` itself if such a value stays. `None`
    /// if `text` is not a value of this kind.
    pub fn apply(&mut self, treatment: &Treatment, text: &str) -> Option<String> {
        let bare = text.trim();
        if bare.is_empty() {
            return Some(text.to_string());
        }
        if self.allows(bare) && treatment.action != Action::Redact {
            return Some(text.to_string());
        }
        let image = match treatment.action {
            Action::Redact => self.redacted(bare, &treatment.mark),
            Action::Keep => bare.to_string(),
            Action::Name => self.name(bare),
            Action::User => self.user(bare),
            Action::Logon => self.logon(bare)?,
            Action::Session => self.session(bare),
            Action::Email => self.email(bare)?,
            Action::Host => self.host(bare),
            Action::Domain => self.domain(bare)?,
            Action::Ip => self.addresses.text(bare)?,
            Action::Mac => ids::mac(&self.permuter, bare)?,
            Action::Uuid => ids::uuid(&self.permuter, bare)?,
            Action::Sid => ids::sid(&self.permuter, bare)?,
            Action::Account => {
                ids::account(&self.permuter, bare).or_else(|| opaque::is_opaque(bare).then(|| self.id(bare)))?
            }
            Action::KeyId => ids::key_id(&self.permuter, bare)?,
            Action::Arn => self.arn(bare)?,
            Action::Token => self.permuter.alphanumeric("token", bare),
            Action::Place => self.place(bare),
            Action::Coordinate => self.coordinate(bare, bare, 0)?,
            Action::Id => self.id(bare),
            Action::Number => self.permuter.number("number", bare),
            Action::Phone => self.phone(bare)?,
            Action::Card => sums::card(&self.permuter, bare)?,
            Action::Iban => sums::iban(&self.permuter, bare)?,
            Action::Agent | Action::Cookie | Action::Text | Action::Field | Action::Secret | Action::Pairs => {
                return None;
            }
        };
        Some(text.replacen(bare, &image, 1))
    }

    fn undoes(&self) -> bool {
        self.permuter.direction == Direction::Undo
    }

    /// A pseudonym that does not say what it stands for.
    fn lose(&mut self, text: &str) -> String {
        self.lost += 1;
        text.to_string()
    }

    /// The pseudonym of one coordinate of the place in `pair`. No two places move to the same place.
    pub fn coordinate(&mut self, text: &str, pair: &str, axis: u8) -> Option<String> {
        let key = self.key.clone();
        ids::coordinate(&key, text, pair, axis, 0)?;
        if self.undoes() {
            return Some(self.lose(text));
        }
        let parts: Vec<&str> = pair.split('|').collect();
        let moved = self.words.claim(&format!("@{pair}"), |attempt| {
            let part =
                |(at, part): (usize, &&str)| ids::coordinate(&key, part, pair, at as u8, attempt).unwrap_or_default();
            parts.iter().enumerate().map(part).collect::<Vec<_>>().join("|")
        });
        moved.split('|').nth(usize::from(axis)).map(str::to_string)
    }

    /// The pseudonym of a JSON number that is an account or another identifier: a number with the same number of digits.
    pub fn number(&self, text: &str) -> Option<String> {
        let whole = !self.allows(text) && text.len() > 2 && text.bytes().all(|b| b.is_ascii_digit());
        whole.then(|| ids::account(&self.permuter, text).unwrap_or_else(|| self.permuter.number("number", text)))
    }

    /// What replaces a number that is a secret.
    pub fn redacted_number(&self) -> Option<String> {
        (!self.undoes()).then(|| "0".to_string())
    }

    /// Whether the user has listed this text among those that stay.
    fn allows(&self, text: &str) -> bool {
        !self.allow.is_empty() && self.allow.contains(&text.to_lowercase())
    }

    pub fn keeps_account(&self, text: &str) -> bool {
        self.keep_accounts.contains(&text.to_lowercase()) || self.allows(text)
    }

    pub fn keeps_domain(&self, text: &str) -> bool {
        let lower = text.trim_end_matches('.').to_lowercase();
        let ends = lower.match_indices('.').map(|(at, _)| &lower[at + 1..]);
        std::iter::once(lower.as_str()).chain(ends).any(|end| self.keep_domains.contains(end))
    }

    fn redacted(&mut self, text: &str, mark: &str) -> String {
        if self.undoes() {
            return if text.contains(MARK) { self.lose(text) } else { text.to_string() };
        }
        let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'') && text.len() > 1 && text.ends_with(*c));
        let inner = quote.map_or(text, |_| &text[1..text.len() - 1]);
        if inner.starts_with(MARK)
            || inner.chars().all(|c| c == '*')
            || self.keep_accounts.contains(&inner.to_lowercase())
        {
            return text.to_string();
        }
        let quote = quote.map(String::from).unwrap_or_default();
        format!("{quote}{MARK}{mark}{quote}")
    }

    /// The pseudonym of a text whose format shows that it is an identifier and not a name.
    pub(super) fn identifier(&mut self, text: &str) -> Option<String> {
        let found = self
            .addresses
            .text(text)
            .or_else(|| ids::uuid(&self.permuter, text))
            .or_else(|| ids::sid(&self.permuter, text));
        let found = found.or_else(|| ids::key_id(&self.permuter, text)).or_else(|| ids::account(&self.permuter, text));
        found.or_else(|| self.arn(text))
    }

    /// The pseudonym of an identifier: by its format if it has one, else of the same form.
    fn id(&mut self, text: &str) -> String {
        let found = self.identifier(text).or_else(|| ids::mac(&self.permuter, text)).or_else(|| self.email(text));
        found.unwrap_or_else(|| opaque::image(&self.permuter, text))
    }

    /// The pseudonym of a telephone number: the first two digits, which may be those of a country, stay.
    fn phone(&self, text: &str) -> Option<String> {
        let digits: Vec<(usize, char)> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).collect();
        let (second, _) = digits.get(1).filter(|_| digits.len() > 5)?;
        let (head, rest) = text.split_at(second + 1);
        Some(head.to_string() + &self.permuter.alphanumeric("phone", rest))
    }

    fn name(&mut self, text: &str) -> String {
        if self.keeps_account(text) {
            return text.to_string();
        }
        if let Some(image) = self.identifier(text) {
            return image;
        }
        if text.contains(['@', '\\']) || !text.contains(char::is_whitespace) {
            return self.user(text);
        }
        if self.names_a_thing(text) {
            return text.to_string();
        }
        by_runs(text, char::is_alphanumeric, |run| match TITLES.contains(&run.to_lowercase().as_str()) {
            true => run.to_string(),
            false => self.segments(run),
        })
    }

    pub(super) fn user(&mut self, text: &str) -> String {
        if self.keeps_account(text) {
            return text.to_string();
        }
        if let Some(image) = self.identifier(text).or_else(|| self.email(text)) {
            return image;
        }
        if let Some(at) = text.find(" (") {
            // A remark follows.
            return self.user(&text[..at]) + &text[at..];
        }
        if self.names_a_thing(text) || text.contains('.') && self.keeps_domain(text) {
            return text.to_string();
        }
        if let Some((domain, user)) = text.split_once('\\') {
            let domain = if self.keeps_account(domain) { domain.to_string() } else { self.host(domain) };
            // In text inside of text, backslashes are doubled.
            let bare = user.trim_start_matches('\\');
            return format!("{domain}\\{}{}", &user[..user.len() - bare.len()], self.user(bare));
        }
        if let Some(subject) = text.strip_prefix("system:") {
            // Kubernetes: its own accounts are the same everywhere, but for those of nodes.
            return match subject.strip_prefix("node:") {
                Some(node) => format!("system:node:{}", self.host(node)),
                None => text.to_string(),
            };
        }
        if let Some(machine) = text.strip_suffix('$') {
            return self.host(machine) + "$";
        }
        self.label(text)
    }

    pub(super) fn email(&mut self, text: &str) -> Option<String> {
        let (local, domain) =
            text.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty())?;
        if domain.contains(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')) {
            return None;
        }
        let local = if self.keeps_account(local) { local.to_string() } else { self.label(local) };
        Some(format!("{local}@{}", self.host(domain)))
    }

    /// The pseudonym of a host: a name, a full name or an address, with or without a port or a service (`WSMAN/web01`).
    pub(super) fn host(&mut self, text: &str) -> String {
        if self.keeps_account(text) {
            return text.to_string();
        }
        if let Some(image) = self.addresses.text(text) {
            return image;
        }
        if let Some(at) = ["’s ", "'s "].iter().find_map(|owns| text.find(owns)) {
            // A person's device: Aaron’s iPhone.
            return self.name(&text[..at]) + &text[at..];
        }
        if let Some(at) = text.find(" (") {
            // A version or a remark follows.
            return self.host(&text[..at]) + &text[at..];
        }
        if let Some((service, host)) = text.split_once('/') {
            return format!("{service}/{}", self.host(host));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            return format!("{}:{port}", self.host(host));
        }
        self.domain(text).unwrap_or_else(|| self.label(text))
    }

    /// The pseudonym of a domain or full host name, label by label; a generic end such as `.com` stays.
    pub(super) fn domain(&mut self, text: &str) -> Option<String> {
        let labels: Vec<&str> = text.split('.').collect();
        if labels.len() == 1 && providers::is_generic(&text.to_lowercase()) {
            return Some(text.to_string());
        }
        if let Some(image) = self.tenant(&labels) {
            return Some(image);
        }
        if self.keeps_account(text) || self.keeps_domain(text) {
            // A provider's domain may contain a customer's address, or the name of a customer's bucket or account.
            let provider =
                (0..labels.len()).rev().find(|at| self.keep_domains.contains(&labels[*at..].join(".").to_lowercase()));
            let image = |(at, label): (usize, &&str)| match self.words.is_original(&label.to_lowercase()) {
                true if provider.is_none_or(|provider| at < provider) => self.user(label),
                _ => self.dashed_address(label).unwrap_or_else(|| label.to_string()),
            };
            return Some(labels.iter().enumerate().map(image).collect::<Vec<_>>().join("."));
        }
        let name = |label: &str| label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
        if !labels.iter().all(|label| name(label)) || text.is_empty() {
            return None;
        }
        let real = labels.iter().rposition(|label| !label.is_empty())?;
        let lower = labels[real].to_lowercase();
        let says_nothing = providers::is_generic(&lower);
        let mut end = if says_nothing && real > 0 { real } else { real + 1 };
        if end == real && lower.len() == 2 && real > 1 && providers::is_second_end(labels[real - 1]) {
            end -= 1;
        }
        if let Some(reversed) = text.to_lowercase().strip_suffix(".in-addr.arpa") {
            let turn = |text: &str| text.split('.').rev().collect::<Vec<_>>().join(".");
            if let Some(image) = self.addresses.text(&turn(reversed)) {
                return Some(format!("{}{}", turn(&image), &text[reversed.len()..]));
            }
        }
        let mut image = |(at, label): (usize, &&str)| match at < end && !label.starts_with('_') {
            true => self.label(label),
            false => label.to_string(),
        };
        Some(labels.iter().enumerate().map(&mut image).collect::<Vec<_>>().join("."))
    }

    /// The pseudonym of a customer's name below a provider's domain: `acme.okta.com`, `acme-my.sharepoint.com`.
    fn tenant(&mut self, labels: &[&str]) -> Option<String> {
        let end = providers::tenants_end(labels)?;
        let image = |label: &&str| match providers::is_service(label) {
            true => label.to_string(),
            false => match label.strip_suffix("-my").or_else(|| label.strip_suffix("-admin")) {
                Some(tenant) => self.label(tenant) + &label[tenant.len()..],
                None => self.label(label),
            },
        };
        let images: Vec<String> = labels[..end].iter().map(image).collect();
        Some(images.iter().map(String::as_str).chain(labels[end..].iter().copied()).collect::<Vec<_>>().join("."))
    }

    /// The pseudonym of a place: words of three or more letters are replaced; shorter ones are codes of states and the like.
    fn place(&mut self, text: &str) -> String {
        if self.keeps_account(text) {
            return text.to_string();
        }
        by_runs(text, char::is_alphabetic, |run| match run.chars().count() {
            0..3 => run.to_string(),
            _ if self.undoes() => self.lose(run),
            _ => self.words.word(run),
        })
    }

    /// The pseudonym of a label: the name of an account or a host, or one level of a domain. No two labels share a
    /// pseudonym.
    pub fn label(&mut self, text: &str) -> String {
        let lower = text.to_lowercase();
        if self.words.keeps(&lower) || !lower.contains(char::is_alphanumeric) {
            return text.to_string();
        }
        if let Some(image) = ids::uuid(&self.permuter, text).or_else(|| self.number(text)) {
            return image;
        }
        let address = self.dashed_address(text);
        if self.undoes() {
            return address.unwrap_or_else(|| self.undone(text));
        }
        let composed = match address.or_else(|| self.people.spelling(text, &mut self.words)) {
            Some(spelled) => spelled,
            None => by_runs(text, char::is_alphanumeric, |run| self.run(run)),
        };
        let composed = if composed == text { self.of_kept_words(text) } else { composed };
        let wanted = composed.to_lowercase();
        let claimed = self.words.claim(&lower, |attempt| with_letters(&wanted, attempt));
        composed + &written_like(text, claimed.strip_prefix(&wanted).unwrap_or(""))
    }

    /// The pseudonym of a label of which all words stay: its numbers change, or without a number its words do.
    fn of_kept_words(&mut self, text: &str) -> String {
        match numbered::shifted(&self.key, text, self.undoes()) {
            Some(image) => image,
            None if text.contains(['-', '_', '.']) && self.undoes() => self.lose(text),
            None if text.contains(['-', '_', '.']) => self.words.of_kept(text),
            None => text.to_string(),
        }
    }

    /// The pseudonym of a label that contains an IPv4 address with dashes: ip-10-0-1-14, a23-47-31-208. Only the address is
    /// replaced.
    fn dashed_address(&self, text: &str) -> Option<String> {
        let at = dashed_address(text)?;
        let image = self.addresses.text(&text[at.clone()].replace('-', "."))?.replace('.', "-");
        Some(format!("{}{image}{}", &text[..at.start], &text[at.end..]))
    }

    /// The label whose pseudonym this is, if no part of it is a word.
    fn undone(&mut self, text: &str) -> String {
        let before = self.lost;
        let label = by_runs(text, char::is_alphanumeric, |run| match self.words.keeps(&run.to_lowercase()) {
            true => run.to_string(),
            false => self.segments(run),
        });
        // Half a label is nobody's name.
        let is_whole = self.lost == before;
        self.lost = self.lost.min(before + 1);
        match is_whole {
            true if label == text => self.of_kept_words(text),
            true => label,
            false => text.to_string(),
        }
    }

    /// The pseudonym of a run of letters and digits in a label.
    fn run(&mut self, run: &str) -> String {
        if self.words.keeps(&run.to_lowercase()) {
            return run.to_string();
        }
        match self.people.spelling(run, &mut self.words) {
            Some(spelled) => spelled,
            None => self.segments(run),
        }
    }

    /// Replaces letters as words and numbers of three or more digits as numbers. A run that changes often between the two is
    /// random and is permuted as a whole.
    fn segments(&mut self, run: &str) -> String {
        let changes =
            run.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        if changes > 2 && run.is_ascii() {
            return self.permuter.alphanumeric("mixed", run);
        }
        if self.undoes() && run.contains(|c: char| !c.is_ascii_digit()) {
            return self.lose(run);
        }
        let words = by_runs(run, |c| !c.is_ascii_digit(), |letters| self.words.word(letters));
        by_runs(
            &words,
            |c| c.is_ascii_digit(),
            |digits| match digits.len() {
                0..3 => digits.to_string(),
                _ => self.permuter.alphanumeric("digits", digits),
            },
        )
    }
}

const TITLES: [&str; 9] = ["mr", "mrs", "ms", "dr", "prof", "sir", "jr", "sr", "phd"];

/// `text` with every run of characters for which `inside` holds replaced by its `image`.
pub(super) fn by_runs(text: &str, inside: impl Fn(char) -> bool, mut image: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&inside) {
        let length = rest[start..].find(|c| !inside(c)).unwrap_or(rest.len() - start);
        out += &rest[..start];
        out += &image(&rest[start..start + length]);
        rest = &rest[start + length..];
    }
    out + rest
}

/// The place of an IPv4 address with dashes in a label; it must begin with the first digit of the label.
fn dashed_address(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let length = text[start..].find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(text.len() - start);
    let found = text[start..start + length].trim_end_matches('-');
    let octets: Vec<&str> = found.split('-').take(4).collect();
    let valid = octets.len() == 4 && octets.iter().all(|octet| octet.len() < 4 && octet.parse::<u8>().is_ok());
    let end = start + octets.join("-").len();
    valid.then_some(start..end)
}
