//! Accounts that are spelled as a given name and another name: `maria.okafor`, `siobhan_obrien-walsh`. The given name tells them from
//! files, methods and members, wherever they stand.

use super::lexicon::{Given, given};
use std::ops::Range;

/// Ends of files and names of members, after which no name is looked for.
const ENDS: [&str; 66] = [
    "txt", "pdf", "doc", "docx", "xls", "xlsx", "xlsm", "ppt", "pptx", "csv", "log", "json", "xml", "html", "htm",
    "php", "jsp", "asp", "aspx", "css", "png", "jpg", "jpeg", "gif", "zip", "tar", "exe", "dll", "bat", "cmd", "conf",
    "cfg", "ini", "com", "net", "org", "local", "lan", "sql", "bak", "tmp", "old", "pst", "vbs", "jar", "war", "yml",
    "yaml", "key", "pem", "crt", "cer", "service", "socket", "target", "timer", "name", "type", "size", "path", "user",
    "host", "test", "info", "eml", "msg",
];

/// The given name and the other name of an account in lower case, in its order.
pub fn spelled_out(lower: &str) -> Option<(&str, &str)> {
    let (first, second) = lower.split_once(['.', '_'])?;
    let is_word = |word: &str| word.chars().count() > 2 && word.chars().all(|c| c.is_alphabetic() || c == '-');
    let says = |word: &str| given(word) == Some(Given::Surely);
    (is_word(first) && is_word(second) && (says(first) || says(second))).then_some((first, second))
}

/// The places of such accounts in text, which begin with the given name.
pub fn accounts(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') || **byte >= 0x80;
    let (mut found, mut from) = (Vec::new(), 0);
    for sign in memchr::memchr2_iter(b'.', b'_', bytes) {
        if sign < from {
            continue;
        }
        let start = sign - bytes[from..sign].iter().rev().take_while(inside).count();
        let end = sign + bytes[sign..].iter().take_while(inside).count();
        from = end;
        let word = text[start..end].trim_end_matches(['.', '-', '_']);
        let goes_on = matches!(bytes.get(end), Some(b'(' | b'$' | b'{' | b'@'));
        if !goes_on && !text[..start].ends_with(['$', '%', '@']) && is_account(word) {
            found.push(start..start + word.len());
        }
    }
    found
}

fn is_account(word: &str) -> bool {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if !stem.contains(['.', '_']) || stem.contains(char::is_uppercase) {
        return false;
    }
    let end = stem.rsplit(['.', '_']).next().unwrap_or("");
    let first = stem.split(['.', '_']).next().unwrap_or("");
    spelled_out(stem).is_some() && given(first) == Some(Given::Surely) && first.len() > 3 && !ENDS.contains(&end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_from_files_and_members() {
        let found = |text: &'static str| accounts(text).into_iter().map(|place| &text[place]).collect::<Vec<_>>();
        assert_eq!(
            found("/home/siobhan_obrien-walsh/x, joaquim.pinto2: maria.okafor."),
            ["siobhan_obrien-walsh", "joaquim.pinto2", "maria.okafor"]
        );
        assert_eq!(
            found("maria.pdf aaron.connect() max.size self.name kube_system Maria.Okafor a.b maria.de.x $aaron.cole"),
            [""; 0]
        );
    }

    #[test]
    fn either_part_may_be_the_given_name() {
        assert_eq!(spelled_out("maria.okafor"), Some(("maria", "okafor")));
        assert_eq!(spelled_out("okafor_maria"), Some(("okafor", "maria")));
        for account in ["web.master", "maria", "m.okafor", "maria.okafor.ext"] {
            assert_eq!(spelled_out(account), None, "{account}");
        }
    }
}
