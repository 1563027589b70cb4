//! What tells a host or domain name in text from other names with dots: class and package names, versions, files, methods.

use std::ops::Range;

/// Ends that are domains and hardly ever anything else.
const GENERIC: [&str; 31] = [
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "biz",
    "dev",
    "cloud",
    "online",
    "site",
    "xyz",
    "arpa",
    "eu",
    "local",
    "lan",
    "internal",
    "intranet",
    "corp",
    "localdomain",
    "invalid",
    "intern",
    "aero",
    "museum",
    "shop",
    "store",
    "tech",
    "domain",
    "onion",
    "alt",
];
/// Ends that are also names of files, methods or fields: they count where an address stands, and below two labels.
const DOUBTFUL: [&str; 32] = [
    "app", "home", "test", "info", "io", "co", "me", "in", "is", "it", "sh", "py", "rs", "pl", "md", "so", "ps", "cc",
    "id", "name", "to", "at", "as", "by", "no", "be", "do", "my", "ms", "ai", "page", "link",
];
/// Ends of countries (ISO 3166-1).
const COUNTRIES: &str = "ac ad ae af ag al am ao aq ar au aw ax az ba bb bd bf bg bh bi bj bm bn bo br bs bt bw bz ca cd cf cg ch ci \
    ck cl cm cn cr cu cv cw cx cy cz de dj dk dm dz ec ee eg er es et fi fj fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gt gu gw \
    gy hk hn hr ht hu ie il im iq ir je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc me mg mh mk ml \
    mm mn mo mp mq mr mt mu mv mw mx mz na nc ne nf ng ni nl np nr nu nz om pa pe pf pg ph pk pm pn pr pt pw py qa re ro ru rw sa sb sc sd \
    se sg si sk sl sm sn sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws \
    ye yt za zm zw";
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
    GENERIC.contains(&lower.as_str()) || COUNTRIES.split(' ').any(|country| country.trim() == lower)
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
