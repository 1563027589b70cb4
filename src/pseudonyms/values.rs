//! The places of a value whose field has a rule: the value as a whole, or the parts of a list, an address with a name, or what is
//! encoded.

use super::encoded::{self, Encoding};
use super::opaque;
use super::parts;
use super::people::Person;
use super::programs::is_program;
use super::rules::{Action, Treatment};
use std::ops::Range;

/// A place that may be replaced.
pub enum Spot {
    Value {
        place: Range<usize>,
        treatment: Treatment,
        /// The value, without the escapes of JSON strings around it.
        text: String,
        /// The number of JSON strings, one in the other, that the value stands in.
        quoted: usize,
        /// How the value is written, if it is encoded.
        encoding: Option<Encoding>,
        /// Whether it was only found because it is a known name.
        is_known: bool,
    },
    /// A run that decodes to a text with spots of its own.
    Encoded { place: Range<usize>, encoding: Encoding, text: String, spots: Vec<Spot>, quoted: usize },
}

impl Spot {
    pub fn place(&self) -> &Range<usize> {
        match self {
            Spot::Value { place, .. } | Spot::Encoded { place, .. } => place,
        }
    }

    pub fn is_known(&self) -> bool {
        match self {
            Spot::Value { is_known, .. } => *is_known,
            Spot::Encoded { spots, .. } => spots.iter().all(Spot::is_known),
        }
    }

    /// A known name.
    pub fn known(text: &str, place: Range<usize>, treatment: Treatment) -> Self {
        let value = text[place.clone()].to_string();
        Spot::Value { place, treatment, text: value, quoted: 0, encoding: None, is_known: true }
    }

    pub fn plain(text: &str, place: Range<usize>, treatment: Treatment) -> Self {
        let value = text[place.clone()].to_string();
        let encoding = encoding_of(&treatment, &value);
        let (encoding, text) = encoding.map_or((None, value), |(encoding, text)| (Some(encoding), text));
        Spot::Value { place, treatment, text, quoted: 0, encoding, is_known: false }
    }

    /// The spot in a text of which its own text is a JSON string.
    pub fn inside(mut self, part: &parts::RecordPart) -> Self {
        match &mut self {
            Spot::Value { place, quoted, .. } | Spot::Encoded { place, quoted, .. } => {
                *place = part.change("", "", place.clone(), "").place;
                *quoted += usize::from(part.is_string && part.field.is_some());
            }
        }
        self
    }
}

/// How a value of this kind is encoded, and what it says, if it is.
fn encoding_of(treatment: &Treatment, value: &str) -> Option<(Encoding, String)> {
    let named = matches!(
        treatment.action,
        Action::User | Action::Name | Action::Host | Action::Email | Action::Domain | Action::Phone | Action::Logon
    );
    let found = named.then(|| encoded::decoded(value)).flatten()?;
    // A word of letters may be base64 by chance.
    let surely = !matches!(found.0, Encoding::Base64 { padded: false, .. }) || found.1.is_ascii() && value.len() > 15;
    surely.then_some(found)
}

/// The spots of a value whose field has a rule: the value, or the parts of a list.
pub fn of_value(text: &str, treatment: &Treatment) -> Vec<Spot> {
    let bare = text.trim();
    let whole =
        |action: Action| vec![Spot::plain(text, 0..text.len(), Treatment { action, mark: treatment.mark.clone() })];
    match treatment.action {
        Action::Redact => return secret(text, treatment),
        Action::Cookie => return cookie(text),
        Action::Keep | Action::Arn | Action::Coordinate => return whole(treatment.action),
        Action::Id | Action::User if bare.len() == 36 && opaque::holds_uuid(bare) => return whole(Action::Uuid),
        Action::Id if is_named_session(bare) => return whole(Action::User),
        Action::Id if !opaque::is_opaque(bare) => return session(text, bare),
        Action::User if bare.contains('|') && bare.rsplit('|').next().is_some_and(opaque::is_opaque) => {
            return whole(Action::Id);
        }
        Action::User | Action::Name if !is_account(bare) => return Vec::new(),
        _ => {}
    }
    if bare.starts_with('{') && bare.ends_with('}') && bare.contains('"') {
        return Vec::new();
    }
    if treatment.action == Action::Id
        && let Some((kind, id)) = bare.trim_end_matches(['=', '\\']).split_once('=')
    {
        // The method of a fingerprint stands before it.
        let start = text.find(bare).unwrap_or(0) + kind.len() + 1;
        return vec![Spot::plain(text, start..start + id.len(), treatment.clone())];
    }
    if matches!(treatment.action, Action::User | Action::Name)
        && let Some(spots) = with_account(text, bare)
    {
        return spots;
    }
    if treatment.action == Action::Name && bare.contains(' ') {
        // A remark may follow a name.
        let end = bare.find(" (").filter(|at| bare[*at..].is_ascii()).unwrap_or(bare.len());
        let start = text.find(bare).unwrap_or(0);
        return if is_name(&bare[..end]) {
            vec![Spot::plain(text, start..start + end, treatment.clone())]
        } else {
            Vec::new()
        };
    }
    if treatment.action == Action::User && bare.len() > 36 && opaque::holds_uuid(bare) {
        return vec![Spot::plain(text, 0..text.len(), Treatment::of(Action::Id))];
    }
    if bare.starts_with(['[', '"', '{']) && bare.len() > 1 {
        return strings(text).into_iter().map(|place| Spot::plain(text, place, treatment.clone())).collect();
    }
    if let Some(open) = text.find('<').filter(|open| text[*open..].contains('@') && text.trim_end().ends_with('>')) {
        let name = text[..open].trim_matches([' ', '"', '\'']);
        let address = open + 1..text.trim_end().len() - 1;
        let mut spots = vec![Spot::plain(text, address, Treatment::of(Action::Email))];
        if !name.is_empty() {
            let start = text.find(name).unwrap_or(0);
            spots.push(Spot::plain(text, start..start + name.len(), Treatment::of(Action::Name)));
        }
        return spots;
    }
    if treatment.action == Action::User && bare.contains('/') && bare.len() > 4 && !bare.contains(['@', '\\', ' ']) {
        // An owner and a repository, or an account and its realm.
        return pieces(text, '/').into_iter().map(|place| Spot::plain(text, place, treatment.clone())).collect();
    }
    let separated =
        [';', ',', '|'].into_iter().find(|sign| bare.contains(*sign) && listed(bare, *sign, treatment.action));
    match separated {
        Some(sign) => pieces(text, sign).into_iter().map(|place| Spot::plain(text, place, treatment.clone())).collect(),
        None => whole(treatment.action),
    }
}

/// The spots of a name and of the account behind it: `Ximena Ortega (xortega)`.
fn with_account(text: &str, bare: &str) -> Option<Vec<Spot>> {
    let (name, account) = bare.strip_suffix(')')?.split_once(" (")?;
    Person::from_name(name)?;
    let spells = spells(account, name);
    let start = text.find(bare)?;
    let place = start + name.len() + 2..start + bare.len() - 1;
    spells.then(|| {
        vec![
            Spot::plain(text, start..start + name.len(), Treatment::of(Action::Name)),
            Spot::plain(text, place, Treatment::of(Action::User)),
        ]
    })
}

/// Whether an account ends or begins with a word of a name, with little else. A letter beyond ASCII may have become any letter.
fn spells(account: &str, name: &str) -> bool {
    let stem = account.trim_end_matches(|c: char| c.is_ascii_digit()).to_lowercase();
    let letters: Vec<char> = stem.chars().collect();
    let alike = |word: &[char], part: &[char]| word.iter().zip(part).all(|(a, b)| a == b || !a.is_ascii());
    let words = name.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() > 2);
    words.map(|word| word.to_lowercase().chars().collect::<Vec<char>>()).any(|word| {
        let fits = word.len() < letters.len() && letters.len() <= word.len() + 12;
        fits && (alike(&word, &letters[letters.len() - word.len()..]) || alike(&word, &letters))
    })
}

/// The spots of an identifier and a name after a colon: the role of a cloud and the name of a session.
fn session(text: &str, bare: &str) -> Vec<Spot> {
    if let Some(spots) = message(text, bare) {
        return spots;
    }
    let Some((id, name)) = bare.split_once(':').filter(|(id, name)| opaque::is_opaque(id) && !name.is_empty()) else {
        return Vec::new();
    };
    let start = text.len() - text.trim_start().len();
    let name = start + id.len() + 1..start + id.len() + 1 + name.len();
    vec![
        Spot::plain(text, start..start + id.len(), Treatment::of(Action::Id)),
        Spot::plain(text, name, Treatment::of(Action::Session)),
    ]
}

/// Whether the text is the session of a user: `jdelacroix-0f1c8d5b3a7e92d64`.
fn is_named_session(text: &str) -> bool {
    // What identifiers of resources begin with is no user.
    const KINDS: [&str; 12] = [
        "subnet", "eipalloc", "eipassoc", "rtbassoc", "attach", "assoc", "aclassoc", "import", "export", "fleet",
        "snap", "instance",
    ];
    let is_kind = |name: &str| name.rsplit('-').next().is_some_and(|last| KINDS.contains(&last));
    text.rsplit_once('-').filter(|(name, _)| !is_kind(name)).is_some_and(|(name, number)| {
        number.len() == 17
            && number.starts_with('0')
            && number.bytes().all(|b| b.is_ascii_hexdigit())
            && name.len() > 4
            && name.chars().all(|c| c.is_alphabetic() || matches!(c, '.' | '-' | '_'))
    })
}

/// The spot of the identifier of a message: `<5f0e1ac7b9d2@10.1.2.3>`.
fn message(text: &str, bare: &str) -> Option<Vec<Spot>> {
    let inner = bare.trim_start_matches('<').trim_end_matches('>');
    let (id, host) = inner.split_once('@')?;
    let is_host = host.len() > 2 && !host.contains(['@', ' ', ';', ',']);
    let is_id = !id.contains([' ', ':']) && id.bytes().filter(u8::is_ascii_digit).count() > 2 && id.len() > 9;
    let start = text.find(inner).filter(|_| is_host && is_id)?;
    Some(vec![Spot::plain(text, start..start + inner.len(), Treatment::of(Action::Email))])
}

/// Whether several words are a name: after a capital, small letters begin no word but those that belong to names.
fn is_name(text: &str) -> bool {
    const PARTICLES: [&str; 28] = [
        "von", "van", "der", "den", "de", "la", "le", "del", "della", "di", "da", "dos", "das", "du", "bin", "binti",
        "ibn", "al", "el", "ten", "ter", "te", "zu", "af", "av", "y", "e", "vd",
    ];
    let small = |word: &str| {
        word.starts_with(char::is_lowercase) && !PARTICLES.contains(&word) && !word.contains(['@', '\\', '\''])
    };
    !text.starts_with(char::is_uppercase) || !text.split(' ').any(small)
}

/// Words of sentences about users.
const FUNCTION_WORDS: [&str; 24] = [
    "via", "from", "with", "to", "on", "in", "at", "and", "or", "is", "was", "has", "account", "not", "found", "id",
    "login", "the", "this", "for", "by", "of", "name", "who",
];

/// Whether the text may be an account or a name, not a path, a small number or the name of a program.
fn is_account(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let written = text.starts_with(['[', '"', '{']);
    let subject = text.contains(':') && !text.contains('@') && !text.starts_with("system:") && !written;
    let path = text.matches('/').count() > 1 || text.starts_with('/');
    let directory = text.contains('=') && !text.contains('%');
    !(digits && text.len() < 6 || FUNCTION_WORDS.contains(&text) || subject || path || directory || is_program(text))
}

/// The spots of a secret: what follows the scheme of a header (`Bearer x`), or all of it.
fn secret(text: &str, treatment: &Treatment) -> Vec<Spot> {
    // The working directory is called PWD.
    if text.starts_with('/') && treatment.mark == "PASSWORD" {
        return Vec::new();
    }
    const SCHEMES: [&str; 9] =
        ["ssws", "basic", "bearer", "negotiate", "ntlm", "digest", "token", "apikey", "aws4-hmac-sha256"];
    let bare = text.trim();
    let is_scheme = |word: &str| SCHEMES.contains(&word.to_lowercase().as_str());
    // CloudTrail writes a sentence in the stead of a secret.
    let is_hidden = bare.contains(' ') && ["hidden", "redacted", "masked"].iter().any(|word| bare.contains(word));
    if is_scheme(bare) || is_hidden {
        return Vec::new();
    }
    let start = text.len() - text.trim_start().len();
    if let Some((scheme, _)) =
        bare.split_once(' ').filter(|(scheme, rest)| is_scheme(scheme) && !rest.trim().is_empty())
    {
        return vec![Spot::plain(text, start + scheme.len() + 1..text.trim_end().len(), treatment.clone())];
    }
    vec![Spot::plain(text, 0..text.len(), treatment.clone())]
}

/// The spots of a cookie: secrets, or the user that a client of remote desktops sends as its cookie.
fn cookie(text: &str) -> Vec<Spot> {
    let is_word =
        text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'.' | b'_' | b'-' | b'$')) && text.len() < 21;
    let is_user = is_word || text.contains('-') && text.len() < 16 && !text.contains('=');
    match is_user {
        true => vec![Spot::plain(text, 0..text.len(), Treatment::of(Action::User))],
        false => {
            let token = Treatment { action: Action::Redact, mark: "TOKEN".into() };
            match cookies(text) {
                Some(places) => places.into_iter().map(|place| Spot::plain(text, place, token.clone())).collect(),
                None => secret(text, &token),
            }
        }
    }
}

/// The values of cookies that open a session: of names that say so, and long ones. `None` if the text is no list of cookies.
fn cookies(text: &str) -> Option<Vec<Range<usize>>> {
    const NAMES: [&str; 9] = ["sess", "sid", "tok", "auth", "jwt", "csrf", "xsrf", "key", "id"];
    let mut at = 0;
    let (mut found, mut any) = (Vec::new(), false);
    for cookie in text.split_inclusive(';') {
        let bare = cookie.trim_end_matches(';');
        let named = |sign: &usize| *sign > 0 && !bare[..*sign].trim().contains(' ') && bare.len() > sign + 1;
        if let Some(sign) = bare.find('=').filter(named) {
            any = true;
            let (name, value) = (bare[..sign].trim().to_lowercase(), bare[sign + 1..].trim());
            let long = value.len() >= 8 && value.bytes().any(|b| b.is_ascii_digit());
            let opens = long || NAMES.iter().any(|part| name.contains(part));
            found.extend(opens.then(|| at + sign + 1..at + bare.trim_end().len()));
        }
        at += cookie.len();
    }
    any.then_some(found)
}

/// Whether the text is a list with this separator, not a name with a comma (`Cole, Aaron`).
fn listed(text: &str, sign: char, action: Action) -> bool {
    let plain = |piece: &str| !piece.trim().contains(' ') && !piece.is_empty();
    match action {
        Action::Name if sign == ',' => false,
        _ => text.split(sign).filter(|piece| !piece.is_empty()).all(|piece| plain(piece.trim())),
    }
}

fn pieces(text: &str, sign: char) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut found = Vec::new();
    for piece in text.split(sign) {
        let start = at + piece.len() - piece.trim_start().len();
        let length = piece.trim().len();
        if length > 0 {
            found.push(start..start + length);
        }
        at += piece.len() + sign.len_utf8();
    }
    found
}

/// The contents of the quoted strings in a text; escaped quotes inside of quotes count as well.
fn strings(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('"').map(|open| at + open + 1) {
        let Some(length) = text[open..].find('"') else { break };
        let inner = text[open..open + length].trim_end_matches('\\');
        let blank = inner.trim().is_empty() || inner.contains(['[', '{', '\n']);
        if blank {
            at = open;
            continue;
        }
        found.push(open..open + inner.len());
        at = open + length + 1;
    }
    if found.is_empty() {
        let bare = text.trim_matches(['[', ']', '"', ' ', '\n', '\r', '\\']);
        let start = text.find(bare).unwrap_or(0);
        found.extend((!bare.is_empty()).then(|| start..start + bare.len()));
    }
    found
}
