//! Identifiers that programs make up: instance, request, session and device ids, serial numbers, fingerprints. Their pseudonyms
//! have the same form: digits stay digits, letters letters of their case, hexadecimal digits hexadecimal, and a prefix that names the
//! kind (`vpc-`, `sess_`) stays.

use super::identifiers as ids;
use super::permute::Permuter;
use std::ops::Range;

/// Whether the text looks like an identifier and not like a word, a name, a small number, a version or a time. Fields whose names
/// say that they hold identifiers are full of the other kinds, too.
pub fn is_opaque(text: &str) -> bool {
    let text = text.trim_start_matches(['<', '_', '-', '~', '{']).trim_end_matches(['>', '=', '}']);
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '=' | '+' | '~' | ';' | '|' | '$' | ' ' | '\\')
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if text.starts_with("0x") || !text.chars().all(plain) || digits == 0 || text.len() < 5 || text.len() > 200 {
        return false;
    }
    // A path is none, and neither is nothing at all.
    if text.matches('\\').count() > 1 || text.bytes().all(|b| b == b'0') {
        return false;
    }
    if digits == text.len() {
        return digits > 6;
    }
    // The name of a session follows its role.
    if text.split_once(':').is_some_and(|(head, name)| head.len() > 11 && !name.bytes().any(|b| b.is_ascii_digit())) {
        return false;
    }
    let runs = runs(text);
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    // A few words of which one has a number, versions and times are no identifiers.
    let words = text
        .split([' ', '-', '_', '.', ':', '/'])
        .filter(|word| word.len() > 3 && word.bytes().all(|b| b.is_ascii_alphabetic()));
    if words.count() > 1 && digits < 6 {
        return false;
    }
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let prefixed = letters <= 8 && digits >= 4;
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'-' | b' ')) && digits + letters >= 8;
    !is_number && !text.contains("://") && (runs > 3 || prefixed || hex && runs > 1)
}

/// Whether the text is an identifier wherever it stands: long, and letters and digits mixed as no word has them.
pub fn is_surely_opaque(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit()) && text.len() >= 16;
    let mixed = text.len() >= 16
        && digits >= 3
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_uppercase());
    // TLS_RSA_WITH_AES_128_GCM_SHA256: words and small numbers.
    let plain = |part: &str| {
        let digits = part.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        digits.len() < 5 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if text.contains('_') && text.split('_').all(plain) {
        return false;
    }
    let long = text.len() >= 16 && digits >= 4 && runs(text) > 7;
    digits > 0 && digits < text.len() && (long || hex && runs(text) > 3 || mixed && runs(text) > 4)
}

/// The words of letters, digits and `_` that surely are identifiers.
pub fn in_text(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| inner(**byte)).count();
        let word = at..at + length;
        if (16..=64).contains(&length) && is_surely_opaque(&text[word.clone()]) {
            found.push(word);
        }
        at += length + 1;
    }
    found
}

/// Whether a UUID is a part of the text.
pub fn holds_uuid(text: &str) -> bool {
    text.match_indices('-').any(|(at, _)| {
        at >= 8
            && text.get(at - 8..at + 28).is_some_and(|part| {
                part.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                    && part.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
            })
    })
}

/// The number of runs of digits and of letters.
fn runs(text: &str) -> usize {
    let kind = |b: u8| if b.is_ascii_digit() { 1 } else { 2 * u8::from(b.is_ascii_alphabetic()) };
    let mut last = 0;
    let mut count = 0;
    for kind in text.bytes().map(kind) {
        count += usize::from(kind != last && kind != 0);
        last = kind;
    }
    count
}

/// The pseudonym of an identifier: of each of its runs of digits and letters that is no word.
pub fn image(permuter: &Permuter, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out += &rest[..start];
        rest = &rest[start..];
        if let Some(image) = rest.get(..36).and_then(|head| ids::uuid(permuter, head)) {
            out += &image;
            rest = &rest[36..];
            continue;
        }
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, more) = rest.split_at(length);
        out += &run_image(permuter, run, text);
        rest = more;
    }
    out + rest
}

fn run_image(permuter: &Permuter, run: &str, whole: &str) -> String {
    // What kind of identifier it is, and in which version or region: IKEv2, eu-west-1.
    let letters = run.bytes().take_while(u8::is_ascii_alphabetic).count();
    let kind = letters >= 3 && run.len() - letters < 4 && run.bytes().skip(letters).all(|b| b.is_ascii_digit());
    if whole.len() > run.len() + 5 && (kind || run.len() == 1) {
        return run.to_string();
    }
    if run.bytes().all(|b| b.is_ascii_digit()) {
        // As for the number in a JSON record.
        return ids::account(permuter, run).unwrap_or_else(|| permuter.number("number", run));
    }
    let any = |of: fn(&u8) -> bool| run.as_bytes().iter().any(of);
    let one_case = !(any(u8::is_ascii_lowercase) && any(u8::is_ascii_uppercase));
    let hex = one_case && run.bytes().all(|b| b.is_ascii_hexdigit());
    let fingerprint = run.len() == 2 && hex && whole.len() > 11;
    let word = one_case || run[1..].bytes().all(|b| b.is_ascii_lowercase());
    if !any(u8::is_ascii_digit) && !fingerprint && word && run.len() < 24 {
        return run.to_string();
    }
    match hex && (run.len() >= 6 || fingerprint) {
        true => permuter.hexadecimal_by_class("id", run),
        false => permuter.alphanumeric("id", run),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::SecretKey;
    use super::super::permute::Direction;
    use super::*;

    #[test]
    fn identifiers_are_told_from_words_and_versions() {
        for text in [
            "vpc-02e1c7d94fb80a36e",
            "00u8xw2m4VqZkHn0T357",
            "sess_01HYD8W6K3Q2",
            "E-30771",
            "04:9b:e1:77:0c:aa:53:1f",
            "48117203",
            "1gkq7t3mf2hj9xw",
            "8C2E:1D4F:3B5A07:4E9C61:65B8D0A2",
            "_5f30b1d92c7e",
            "C02XK1ZQJGH6",
        ] {
            assert!(is_opaque(text), "{text}");
        }
        for text in [
            "unknown",
            "web-client",
            "1.2.3.4",
            "4624",
            "Edge 120",
            "my-app-2",
            "",
            "48117",
            "http://a/1234567",
            "REQUEST-942-APPLICATION",
        ] {
            assert!(!is_opaque(text), "{text}");
        }
        assert!(is_surely_opaque("0oa9k2d7XqLvTzB3m357") && is_surely_opaque("5d1f0a98a5b1c40f3c7e22aa"));
        assert!(!is_surely_opaque("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(in_text("volume \"vol-0c7d9f41ab23e8865\" x"), vec![Range { start: 12, end: 29 }]);
        assert!(!is_opaque(r"C:\Users\sra\ID 19902691234567890.jpg") && !is_opaque("0000000000000000"));
        assert!(!is_surely_opaque("Certificate2Collection12") && !is_surely_opaque("HikariPoolConnection12"));
    }

    #[test]
    fn the_form_stays() {
        let permuter = Permuter::new(SecretKey::new(&[3; 32]), Direction::Replace);
        let image = |text: &str| image(&permuter, text);
        let vpc = image("vpc-02e1c7d94fb80a36e");
        assert!(
            vpc.starts_with("vpc-")
                && vpc[4..].bytes().all(|b| b.is_ascii_hexdigit())
                && vpc != "vpc-02e1c7d94fb80a36e"
        );
        let okta = image("00u8xw2m4VqZkHn0T357");
        assert!(okta.len() == 20 && okta.as_bytes()[9].is_ascii_uppercase(), "{okta}");
        assert_ne!(image("48117203"), "48117203");
        assert_eq!(image("48117203"), permuter.number("number", "48117203"));
    }
}
