//! `pseudonyms --undo`: what was permuted comes back byte for byte, and the rest is counted.

use crate::common::{logwright, real_logs, run, sampled_logs, text_of};
use logwright::pseudonyms::{Change, Pseudonymizer, Rules, SecretKey};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

/// The classes whose values are permuted as a whole.
const PERMUTED: [&str; 8] = ["ip", "mac", "uuid", "sid", "account", "key-id", "token", "id"];

fn rules() -> Rules {
    Rules::load(None).unwrap()
}

fn image(all: &mut Pseudonymizer, record: &[u8]) -> (Vec<u8>, Vec<Change>) {
    let (changes, mut out) = (all.changes(record), Vec::new());
    all.rewrite(record, &mut out);
    (out, changes)
}

fn taught<'a>(mut all: Pseudonymizer, records: impl Iterator<Item = &'a [u8]>) -> Pseudonymizer {
    records.for_each(|record| all.learn(record));
    all.finalize();
    all
}

/// An IPv4 address without zeros in front of its numbers.
fn without_zeros(address: &str) -> String {
    let octets: Option<Vec<u8>> = address.split('.').map(|octet| octet.parse().ok()).collect();
    let plain = |octets: Vec<u8>| octets.iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    octets.map_or(address.to_string(), plain)
}

/// Replaces names in the records and undoes it; counts the values of permuted classes, and those that do not come back.
fn there_and_back(records: &[&[u8]]) -> (usize, Vec<String>) {
    let key = || SecretKey::new(&[3; 32]);
    let mut replace = taught(Pseudonymizer::new(key(), rules()), records.iter().copied());
    let images: Vec<(Vec<u8>, Vec<Change>)> = records.iter().map(|record| image(&mut replace, record)).collect();
    let mut undo = taught(Pseudonymizer::undoing(key(), rules()), images.iter().map(|(image, _)| &image[..]));
    let (mut count, mut lost) = (0, Vec::new());
    for (record, (image, changes)) in records.iter().zip(&images) {
        let undone = undo.changes(image);
        let mut shift = 0isize;
        for change in changes {
            let start = change.place.start.wrapping_add_signed(shift);
            let place = start..start + change.text.len();
            shift += change.text.len() as isize - change.place.len() as isize;
            if !PERMUTED.contains(&change.class) {
                continue;
            }
            count += 1;
            let original = String::from_utf8_lossy(&record[change.place.clone()]).into_owned();
            // Zeros in front of the numbers of an address are not in its pseudonym.
            let expected = if change.class == "ip" { without_zeros(&original) } else { original.clone() };
            if !undone.iter().any(|back| back.place == place && back.text == expected) {
                lost.push(format!("{} {original} -> {}", change.class, change.text));
            }
        }
    }
    (count, lost)
}

fn comes_back(logs: &Path, least: usize) {
    let text = text_of(logs);
    let records: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    let (count, lost) = there_and_back(&records);
    assert!(count >= least, "{}: {count}", logs.display());
    assert_eq!(lost, [""; 0], "{}: {} of {count}", logs.display(), lost.len());
}

#[test]
fn everything_that_is_permuted_in_the_sampled_logs_comes_back() {
    comes_back(&sampled_logs("azure_ad.jsonl.gz"), 900);
    comes_back(&sampled_logs("cloudtrail.jsonl.gz"), 200);
    ["windows", "stratus"].iter().for_each(|name| comes_back(&sampled_logs(&format!("{name}.jsonl.gz")), 1));
    comes_back(&sampled_logs("apache.log.gz"), 30);
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn everything_that_is_permuted_in_the_real_logs_comes_back() {
    comes_back(&real_logs("azure-ad/azure_ad.jsonl"), 3000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_identifier_comes_back(
        four: std::net::Ipv4Addr, six: std::net::Ipv6Addr, uuid: u128, device in 0u64..1 << 48, domain: [u32; 3],
        relative in 1000u32.., account in "[0-9]{12}", id in "AKIA[A-Z0-9]{16}", token in "[A-Za-z0-9+/]{43}",
    ) {
        let hex = format!("{uuid:032x}");
        let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let mac = (0..6).map(|at| format!("{:02x}", device >> (8 * at) & 255)).collect::<Vec<_>>().join(":");
        let [a, b, c] = domain;
        let sid = format!("S-1-5-21-{a}-{b}-{c}-{relative}");
        let line = format!("from {four} and {six} id {uuid} mac {mac} sid {sid} key {id} SHA256:{token} end");
        let json = format!(r#"{{"accountId":"{account}","m":"{account} from {four}","resourceId":"{uuid}"}}"#);
        let (_, lost) = there_and_back(&[line.as_bytes(), json.as_bytes()]);
        prop_assert_eq!(lost, Vec::<String>::new());
    }
}

const RECORDS: &str = concat!(
    r#"{"identity":"Nadia Brandt","user_name":"nbrandt","ip":"83.149.9.216","id":"b9c2fa41-96fd-46c9-b9d8-8844e7751c73","password":"x","latitude":17.5}"#,
    "\nplain line of nbrandt from 10.1.2.3 on fin-0815.acme.local\r\n\n",
    r#"{"host":"ip-10-0-1-14","account_id":"123837392027","m":"123837392027, \u00e9 \"83.149.9.216\""}"#,
);

fn prepared() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let all = RECORDS.lines().filter(|line| !line.is_empty()).map(|line| line.to_string() + "\n").collect::<String>();
    fs::write(home.path().join("in.jsonl"), all.repeat(40)).unwrap();
    let prepare = "prepare in.jsonl --out data --tokenizer bytes --quiet --pseudonymise --key-file key --bad-records keep \
                   --write-records out.jsonl";
    run(home.path(), prepare).has(0, &[]);
    home
}

fn lines(home: &Path, name: &str) -> Vec<String> {
    fs::read_to_string(home.join(name)).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn undo_prints_what_stands_behind_pseudonyms_and_counts_the_rest() {
    let home = prepared();
    let said = run(home.path(), "pseudonyms --undo --key-file key --of data out.jsonl");
    said.has(0, &["values turned back, by class", "ip 120", "uuid 40", "account 80", "left as they are", "secret 40"]);
    assert!(!said.err.contains("was not checked"), "{}", said.err);
    let (before, image) = (lines(home.path(), "in.jsonl"), lines(home.path(), "out.jsonl"));
    for ((before, image), undone) in before.iter().zip(&image).zip(said.out.lines()) {
        for value in
            ["83.149.9.216", "b9c2fa41-96fd-46c9-b9d8-8844e7751c73", "10.1.2.3", "ip-10-0-1-14", "123837392027"]
        {
            assert_eq!(before.contains(value), undone.contains(value), "{undone}");
            assert!(!image.contains(value), "{image}");
        }
        // Names and secrets do not come back, and nothing else is touched.
        assert!(!undone.contains("brandt") && !undone.contains("Nadia") && !undone.contains("fin-0815"), "{undone}");
        assert_eq!(before.matches(',').count(), undone.matches(',').count());
    }
    assert_eq!(said.out.lines().count(), before.len());
    let free = run(home.path(), "pseudonyms --undo --key-file key out.jsonl");
    free.has(0, &["was not checked", "--of FOLDER"]);
    assert_eq!(free.out, said.out);
}

#[test]
fn standard_input_is_undone_byte_for_byte() {
    let home = prepared();
    let text = b"a line\r\n\n\xff\xfe no text 127.0.0.1\nthe last without an end";
    let mut child = logwright()
        .args(["pseudonyms", "--undo", "--key-file", "key", "--quiet"])
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, text);
}

#[test]
fn a_wrong_key_is_told_where_the_folder_is_known() {
    let home = prepared();
    fs::write(home.path().join("other"), "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(home.path().join("other"), fs::Permissions::from_mode(0o600)).unwrap();
    let undo = |flags: &str| run(home.path(), &format!("pseudonyms {flags}"));
    undo("--undo --key-file other --of data out.jsonl").has(2, &["--key-file other", "another key"]);
    undo("--undo --key-file nowhere out.jsonl").has(2, &["nowhere", "no such file"]);
    undo("--key-file key out.jsonl").has(2, &["--undo"]);
    undo("--undo --key-file key --of data --rules x out.jsonl").has(2, &["--rules"]);
    undo("--undo --key-file key missing.jsonl").has(1, &["missing.jsonl"]);
    run(home.path(), "prepare out.jsonl --out clear --tokenizer bytes --bad-records keep --quiet").has(0, &[]);
    undo("--undo --key-file key --of clear out.jsonl").has(2, &["--of clear", "omit --of"]);
    let other = undo("--undo --key-file other out.jsonl");
    other.has(0, &["was not checked"]);
    assert!(!other.out.contains("b9c2fa41-96fd-46c9-b9d8-8844e7751c73"));
}
