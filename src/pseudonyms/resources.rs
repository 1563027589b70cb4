//! Pseudonyms of names with several parts: `DOMAIN\\user`, the session of a role, and Amazon's names of resources.

use super::identifiers as ids;
use super::opaque;
use super::programs::is_program;
use super::replacer::{Replacer, by_runs};
use super::spelled;

impl Replacer {
    /// The pseudonym of `DOMAIN\user`, if some field contains the domain.
    pub(super) fn logon(&mut self, text: &str) -> Option<String> {
        let (domain, user) = text.split_once('\\')?;
        let lower = domain.to_lowercase();
        // A name in capitals before an account is one of Windows, if it is none of the registry's.
        let user = user.trim_start_matches('\\');
        let capitals = domain.len() > 2
            && domain.starts_with(char::is_alphabetic)
            && !domain.contains(char::is_lowercase)
            && !domain.starts_with("HK")
            && (!user.contains('.') || user.contains(char::is_lowercase));
        let is_domain = capitals || lower == "nt authority" || self.domains.contains(self.hasher.of(&lower));
        is_domain.then(|| self.user(text))
    }

    /// The pseudonym of the session name of a role. It names a person or an instance, or a program has generated it with a
    /// long number; a generated name stays.
    pub(super) fn session(&mut self, text: &str) -> String {
        let digits = text
            .split(|c: char| !c.is_ascii_hexdigit())
            .any(|run| run.len() > 7 && run.bytes().filter(u8::is_ascii_digit).count() > 3);
        let generated = digits && !text.contains('@') || is_program(text);
        match (generated, opaque::is_opaque(text)) {
            (true, true) => opaque::image(&self.permuter, text),
            (true, false) => text.to_string(),
            (false, _) => self.user(text),
        }
    }

    /// The pseudonym of an Amazon resource name: its account and the user, session or bucket that the resource names are
    /// replaced. Names of roles, functions and other resources are replaced only if fields of the corpus contain them.
    pub(super) fn arn(&mut self, text: &str) -> Option<String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts.as_slice() else { return None };
        let account = ids::account(&self.permuter, account).unwrap_or_else(|| account.to_string());
        let resource = match (*service, resource.split_once('/')) {
            ("iam" | "sts", Some((kind @ ("user" | "federated-user"), path))) => {
                let (folder, user) =
                    path.rsplit_once('/').map_or(("", path), |(_, user)| (&path[..path.len() - user.len()], user));
                format!("{kind}/{folder}{}", self.user(user))
            }
            ("sts", Some(("assumed-role", path))) => match path.split_once('/') {
                Some((role, session)) => format!("assumed-role/{role}/{}", self.session(session)),
                None => resource.to_string(),
            },
            ("s3", Some((bucket, path))) => {
                let folders = by_runs(path, |c| c != '/', |folder| self.folder(folder));
                format!("{}/{folders}", self.host(bucket))
            }
            ("s3", None) if !resource.contains('*') => self.host(resource),
            _ => by_runs(resource, |c| !matches!(c, '/' | ':'), |piece| self.piece(piece)),
        };
        Some(format!("arn:{partition}:{service}:{region}:{account}:{resource}"))
    }

    /// Whether a text of several words, all of which no person is called, names a program, a team or a company: `Okta Support`.
    pub fn names_a_thing(&self, text: &str) -> bool {
        let mut words = text.split([' ', ',', '(', ')']).filter(|word| !word.is_empty());
        text.contains(' ')
            && !text.contains(['@', '\\'])
            && words.all(|word| self.not_names.contains(&word.to_lowercase()))
    }

    /// The pseudonym of a folder or file that is called like an account; other names of files stay.
    fn folder(&mut self, name: &str) -> String {
        let lower = name.to_lowercase();
        match self.words.is_original(&lower) || !spelled::accounts(name).is_empty() {
            true => self.user(name),
            false => name.to_string(),
        }
    }

    /// The pseudonym of a piece of a resource's name: an identifier, a domain, or a name that fields of the corpus contain.
    fn piece(&mut self, piece: &str) -> String {
        if self.words.is_original(&piece.to_lowercase()) {
            return self.user(piece);
        }
        if let Some(image) = self.identifier(piece) {
            return image;
        }
        match opaque::is_opaque(piece) {
            true => opaque::image(&self.permuter, piece),
            false if piece.contains('.') => {
                self.email(piece).or_else(|| self.domain(piece)).unwrap_or_else(|| piece.to_string())
            }
            false => piece.to_string(),
        }
    }
}
