//! What tells a host or domain name in text from other names with dots: class and package names, versions, files, methods.

use std::ops::Range;

/// Ends of domains, of the net and of networks of one's own, that are hardly ever anything else.
pub const COMMON_ENDS: [&str; 17] = [
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "biz",
    "xyz",
    "arpa",
    "local",
    "lan",
    "internal",
    "intranet",
    "corp",
    "localdomain",
    "invalid",
];
/// Rarer ones.
const RARE_ENDS: [&str; 6] = ["eu", "intern", "aero", "museum", "onion", "alt"];
/// Ends that are also names of files, methods or fields: they count where an address stands, and below two labels.
const DOUBTFUL: [&str; 40] = [
    "dev", "cloud", "online", "site", "tech", "store", "shop", "domain", "app", "home", "test", "info", "io", "co",
    "me", "in", "is", "it", "sh", "py", "rs", "pl", "md", "so", "ps", "cc", "id", "name", "to", "at", "as", "by", "no",
    "be", "do", "my", "ms", "ai", "page", "link",
];
/// Ends of countries (ISO 3166-1): for every first letter, the second ones.
const COUNTRIES: [&str; 26] = [
    "cdefglmoqruwxz",
    "abdfghijmnorstwz",
    "adfghiklmnruvwxyz",
    "ejkmz",
    "cegrst",
    "ijkmor",
    "adefghilmnpqrtuwy",
    "knrtu",
    "elmqr",
    "emop",
    "eghimnprwyz",
    "abcikrstuvy",
    "aceghklmnopqrtuvwxz",
    "acefgilpruz",
    "m",
    "aefghkmnrtwy",
    "a",
    "eouw",
    "abcdegiklmnrstuvxyz",
    "cdfghjklmnrtvwz",
    "agksyz",
    "aceginu",
    "fs",
    "",
    "et",
    "amw",
];
/// Beginnings of package names.
const PACKAGES: [&str; 26] = [
    "com",
    "org",
    "net",
    "io",
    "edu",
    "gov",
    "java",
    "javax",
    "jakarta",
    "sun",
    "kotlin",
    "kotlinx",
    "scala",
    "android",
    "androidx",
    "akka",
    "system",
    "microsoft",
    "google",
    "self",
    "this",
    "std",
    "os",
    "k8s",
    "kube",
    "node",
];

/// Whether the dotted name at `place` is that of a host or domain.
pub fn is_name(text: &str, place: &Range<usize>) -> bool {
    let name = text[place.clone()].trim_end_matches('.');
    let labels: Vec<&str> = name.split('.').collect();
    let (Some(first), Some(last)) = (labels.first(), labels.last()) else { return false };
    let after = &text[place.end..];
    let goes_on = after.starts_with(['_', '(', '$', '\\'])
        && !after.starts_with("\\\\")
        && !after.starts_with("\\n")
        && !after.starts_with("\\\"")
        || after.starts_with(['.', '-', ':'])
            && after[1..].starts_with(|c: char| c.is_alphabetic() || c == '_' || c == ':')
        || after.starts_with(char::is_alphanumeric);
    // A single backslash stands before the name of a file.
    let before = &text[..place.start];
    if goes_on
        || before.ends_with(['$', '~'])
        || before.ends_with('\\') && !before.ends_with("\\\\")
        || before.ends_with("\\\\") && before.trim_end_matches('\\').ends_with(char::is_alphanumeric)
    {
        return false;
    }
    let addressed = before.ends_with("//")
        || before.ends_with('@')
        || before.strip_suffix("\\\\").is_some_and(|path| !path.ends_with(|c: char| c.is_alphanumeric() || c == ':'));
    let lower = last.to_lowercase();
    let short = labels.iter().filter(|label| label.chars().count() == 1).count();
    let package = PACKAGES.contains(&first.to_lowercase().as_str());
    if !addressed && (package || short > 1) || first.is_empty() {
        return false;
    }
    // Names of programs for DOS end in COM, and those of classes begin with capitals.
    let shouted = last.chars().any(|c| c.is_uppercase());
    if shouted
        && (labels.len() < 3
            && !matches!(lower.as_str(), "local" | "lan" | "internal" | "corp" | "intranet")
            && !addressed
            || name.chars().any(char::is_lowercase) && !addressed)
    {
        return shouted
            && name.chars().filter(|c| c.is_lowercase()).count() == 0
            && lower.len() == 2
            && first.contains('-');
    }
    if DOUBTFUL.contains(&lower.as_str()) {
        return addressed || labels.len() > 2 || first.contains('-') && first.len() > 6;
    }
    COMMON_ENDS.iter().chain(&RARE_ENDS).any(|end| *end == lower) || is_country(&lower)
}

fn is_country(lower: &str) -> bool {
    let &[first @ b'a'..=b'z', second] = lower.as_bytes() else { return false };
    COUNTRIES[usize::from(first - b'a')].as_bytes().contains(&second)
}

/// The names with dots that end in letters, in text.
pub fn dotted(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80;
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(dot) = bytes[at..].iter().position(|byte| *byte == b'.').map(|dot| at + dot) {
        let start = dot - bytes[at..dot].iter().rev().take_while(|byte| part(**byte)).count();
        let mut end = dot + bytes[dot..].iter().take_while(|byte| part(**byte)).count();
        at = end;
        // A sentence may end behind the name.
        while end > start && matches!(bytes[end - 1], b'.' | b'-' | b'_') {
            end -= 1;
        }
        let begins = bytes[start..end].iter().take_while(|byte| matches!(byte, b'.' | b'-')).count();
        let name = start + begins..end;
        let last = text[name.clone()].rsplit('.').next().unwrap_or("");
        if name.len() > last.len() && (2..=12).contains(&last.len()) && last.bytes().all(|b| b.is_ascii_alphabetic()) {
            found.push(name);
        }
    }
    found
}

/// Whether a word is part of the name of a package, as in `com.example.Main`.
pub fn is_in_package(text: &str, place: &Range<usize>) -> bool {
    let before = &text[..place.start];
    let start = before.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))).map_or(0, |at| at + 1);
    let Some(start) = text.get(start..place.start).map(|_| start) else { return false };
    let root = before[start..].split('.').next().unwrap_or("");
    before[start..].contains('.') && PACKAGES[..11].contains(&root) && text[place.end..].starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_classes_and_files() {
        let found = |text: &str| {
            let start = text.find('<').unwrap();
            let text = text.replacen('<', "", 1);
            let end = start + text[start..].find('>').unwrap();
            is_name(&text.replacen('>', "", 1), &(start..end))
        };
        for text in [
            "<a.example.com>",
            "to <kivimaki-paperi.fi>/IN",
            "<HQ.KOENIGSTAHL.DE>",
            "<DRAKENS.LOCAL>",
            "@<OKANAGAN-ORCHARDS.CA>",
            "https://<x.io>/a",
            "<dc1.ad.quillota-fruta.cl>:88",
            "<brouwerij.be.eu>",
        ] {
            assert!(found(text), "{text}");
        }
        for text in [
            "<java.io>.File",
            "<com.lumikello.net>.Ssh",
            "<c.q.l.core.net>.X",
            "<CHCP.COM>",
            r"C:\Temp\<eicar.com> x",
            "<google.cloud>.audit.Log",
            "<main.py>",
            "<users.id>,",
            "<System.Net>",
            "<foo.sh>",
            "<os.name>",
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
