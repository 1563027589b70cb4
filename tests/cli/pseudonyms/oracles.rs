//! Two oracles that know no rule: what a field names as identity or secret is readable nowhere in the output, in no encoding; and
//! what stands where no identity can stand does not change.

use super::labels::stands_in;
use super::{pseudonyms, rewritten};
use crate::common::{sampled_logs, text_of};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of fields, in lower case and without separators, that hold an identity or a secret in every format.
const IDENTITIES: [&str; 34] = [
    "username",
    "userprincipalname",
    "targetusername",
    "subjectusername",
    "acct",
    "suser",
    "duser",
    "usrname",
    "computer",
    "hostname",
    "computername",
    "workstationname",
    "shost",
    "dhost",
    "identhostname",
    "targetdomainname",
    "password",
    "xapikey",
    "givenname",
    "familyname",
    "firstname",
    "lastname",
    "identity",
    "userdisplayname",
    "principalemail",
    "secretaccesskey",
    "sourceipaddress",
    "calleripaddress",
    "ipaddress",
    "servernbcomputername",
    "initiatedby",
    "callername",
    "contactname",
    "xoriginaluser",
];
/// Names of fields that hold none.
const OTHERS: [&str; 22] = [
    "level",
    "severity",
    "stream",
    "verb",
    "method",
    "methodname",
    "@type",
    "apiversion",
    "kind",
    "eventname",
    "eventsource",
    "logger",
    "loggername",
    "stage",
    "channel",
    "awsregion",
    "eventtype",
    "category",
    "operationname",
    "decision",
    "logontype",
    "proto",
];
/// Values that are the same everywhere, and parts of names that are common words.
const COMMON: [&str; 16] = [
    "system",
    "root",
    "admin",
    "administrator",
    "guest",
    "anonymous",
    "unknown",
    "anonymous logon",
    "hidden",
    "local",
    "test",
    "user",
    "host",
    "service",
    "network",
    "attack",
];

fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '@').flat_map(char::to_lowercase).collect()
}

/// Calls `visit` with the name and the text of every string of a record, also of objects {Name, Value}, and of `key=value`.
fn strings(record: &str, visit: &mut impl FnMut(&str, &str)) {
    match serde_json::from_str::<Value>(record) {
        Ok(value) => walk("", &value, visit),
        Err(_) => {
            let pairs = regex_free_pairs(record);
            pairs.iter().for_each(|(name, text)| visit(name, text));
        }
    }
}

fn walk(name: &str, value: &Value, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Object(members) => {
            let member = |wanted: &[&str]| wanted.iter().find_map(|name| members.get(*name)).and_then(Value::as_str);
            let field = member(&["@Name", "Name", "name"]);
            let text = member(&["#text", "Value", "value"]);
            if let (Some(field), Some(text)) = (field, text) {
                visit(field, text);
                return;
            }
            members.iter().for_each(|(name, value)| walk(name, value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(name, value, visit)),
        Value::String(text) => visit(name, text),
        _ => {}
    }
}

/// The pairs `key=value` and `key="value"` of a line.
fn regex_free_pairs(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('=') {
        let key = line[..at].rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        let rest = &line[at + 1..];
        let value = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split([' ', '\t', '\'', ',', ';']).next(),
        };
        found.push((key.to_string(), value.unwrap_or("").to_string()));
    }
    found
}

/// The text, and everything in it that is encoded in URL escapes, base64 or hexadecimal digits.
fn readable(text: &str) -> String {
    let mut out = text.to_string() + "\n" + &percent(text);
    for run in text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))) {
        let hex = run.len() > 7 && run.len() % 2 == 0 && run.bytes().all(|b| b.is_ascii_hexdigit());
        if hex {
            let bytes = (0..run.len()).step_by(2).filter_map(|at| u8::from_str_radix(&run[at..at + 2], 16).ok());
            out += &format!("\n{}", String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()));
        }
        if run.len() > 7 {
            let bytes = base64(run);
            out += &format!("\n{}", String::from_utf8_lossy(&bytes));
            out +=
                &format!("\n{}", String::from_utf8_lossy(&bytes.into_iter().filter(|b| *b > 0).collect::<Vec<u8>>()));
        }
    }
    out
}

fn percent(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or("").as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                out.extend(&piece.as_bytes()[2..]);
            }
            None => out.extend(format!("%{piece}").bytes()),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for digit in text.chars().filter_map(|c| digits.find(c)) {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// What the fields of the records name as identity or secret: whole values of four or more characters, and accounts without domain.
fn identities(records: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for record in records {
        strings(record, &mut |name, text| {
            if !IDENTITIES.contains(&bare(name).as_str()) {
                return;
            }
            let local = text.split(['@', '\\']).next_back().unwrap_or(text);
            for part in [text, local.split('@').next().unwrap_or(local)] {
                let part = part.trim().trim_end_matches('$').to_lowercase();
                let address = part.starts_with("127.") || part.starts_with("::1") || part.starts_with("169.254.");
                let telling = part.chars().filter(|c| c.is_alphanumeric()).count() > 3;
                if telling
                    && !address
                    && !COMMON.contains(&part.as_str())
                    && !part.starts_with("nt ")
                    && !part.contains('%')
                {
                    found.insert(part);
                }
            }
        });
    }
    found
}

/// Runs both oracles over the records as one corpus. `stays` lists identities that belong to providers or to every machine.
fn holds(name: &str, text: &str, stays: &[&str]) {
    let records: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut all = pseudonyms(records.iter().copied(), 3);
    let images: Vec<String> = records.iter().map(|record| rewritten(&mut all, record)).collect();
    let output = readable(&images.join("\n")).to_lowercase();
    let left: Vec<String> = identities(&records)
        .into_iter()
        .filter(|word| !stays.iter().any(|stay| word.contains(stay)) && stands_in(word, &output))
        .collect();
    assert!(left.is_empty(), "{name}: readable in the output: {left:?}");
    for (record, image) in records.iter().zip(&images) {
        let mut values = (Vec::new(), Vec::new());
        let keep = |values: &mut Vec<String>, name: &str, text: &str| {
            if OTHERS.contains(&bare(name).as_str()) {
                values.push(format!("{name}: {text}"));
            }
        };
        strings(record, &mut |name, text| keep(&mut values.0, name, text));
        strings(image, &mut |name, text| keep(&mut values.1, name, text));
        assert_eq!(values.0, values.1, "{name}");
    }
}

/// Inputs in which fields name identities.
const NAMED: [&str; 14] = [
    "07docker/c-json.log",
    "14evtx/list.jsonl",
    "16k8s/audit.log",
    "17auditd/user_login.log",
    "26cef/cef.log",
    "26cef/leef1.log",
    "32pairs/evtx.jsonl",
    "32pairs/headers.jsonl",
    "32pairs/quoted.log",
    "33enc/basic.jsonl",
    "33enc/percent.jsonl",
    "35claims/ldap.jsonl",
    "35claims/sub.jsonl",
    "36windows-cloud/records.jsonl",
];

fn field(path: &str) -> String {
    text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field").join(path))
}

#[test]
fn inputs_as_people_have_them_leak_nothing_and_keep_the_rest() {
    for path in NAMED {
        holds(path, &field(path), &[]);
    }
}

/// Words of all these inputs that name somebody or something of the invented company.
#[test]
fn no_name_of_the_invented_company_is_readable() {
    let names = [
        "mkowalczyk",
        "kowalczyk",
        "ipemberton",
        "pemberton",
        "quigley",
        "brackenfield-widgets",
        "bracken.lan",
        "pine-ws-1",
        "trout-lamp-88",
        "heron-gate-21",
        "mkarta",
        "81.2.69.5",
        "81.2.69.7",
        "mtarn",
        "mira.tarn",
        "210987654321",
        "fs07",
        "10.41.2.3",
        "10-41-2-3",
        "2a02:8108",
        "ottoline",
        "workstation7",
        "mira-pc",
        "laptop-mtarn",
    ];
    for path in NAMED.into_iter().chain(["10cri/levels.log"]) {
        let text = field(path);
        let mut all = pseudonyms(text.lines(), 4);
        let images: Vec<String> = text.lines().map(|line| rewritten(&mut all, line)).collect();
        let output = readable(&images.join("\n")).to_lowercase();
        let left: Vec<&&str> = names.iter().filter(|name| stands_in(name, &output)).collect();
        assert!(left.is_empty(), "{path}: {left:?} in\n{}", images.join("\n"));
    }
}

#[test]
fn lines_without_identities_do_not_change() {
    for path in ["28hosts/app.log", "28hosts/go.log", "31mix/app.log", "31mix/other.jsonl", "34java/app.log"] {
        let text = field(path);
        let mut all = pseudonyms(text.lines(), 5);
        for line in text.lines() {
            assert_eq!(rewritten(&mut all, line), line, "{path}");
        }
    }
    // One file's words never change another's.
    let both = field("31mix/app.log") + &field("31mix/other.jsonl");
    let mut all = pseudonyms(both.lines(), 5);
    for line in both.lines() {
        assert_eq!(rewritten(&mut all, line), line);
    }
}

#[test]
fn sampled_logs_leak_nothing_and_keep_the_rest() {
    for (name, stays) in [
        ("azure_ad.jsonl.gz", &["microsoft", "attack range"][..]),
        ("cloudtrail.jsonl.gz", &["amazonaws.com", "aws internal", "-role", "awsservicerole"]),
        ("windows.jsonl.gz", &["window manager", "font driver", "nt authority", "dwm-", "umfd-"]),
    ] {
        holds(name, &text_of(&sampled_logs(name)), stays);
    }
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_logs_leak_nothing_and_keep_the_rest() {
    let folder: PathBuf = crate::common::real_logs("");
    for name in ["azure-ad/azure_ad.jsonl", "cloudtrail/cloudtrail.jsonl.gz"] {
        if folder.join(name).exists() {
            let text: String =
                text_of(&folder.join(name)).lines().take(5000).map(|line| line.to_string() + "\n").collect();
            holds(
                name,
                &text,
                &["microsoft", "attack range", "amazonaws.com", "aws internal", "-role", "awsservicerole"],
            );
        }
    }
}
