//! The built-in log source: every record is consistent, and every attack has its defining property.

use crate::common::{logwright, real_logs, sampled_logs, text_of};
use logwright::synth::{Attack, DEFAULT_START, MAX_USERS, SignIn, SignIns, SynthSettings};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MINUTE: i64 = 60_000_000;

fn make(settings: SynthSettings, count: usize) -> Vec<SignIn> {
    SignIns::new(settings).expect("valid settings").take(count).collect()
}

fn parse(sign_in: &SignIn) -> Value {
    serde_json::from_str(&sign_in.json).unwrap_or_else(|e| panic!("{e}: {}", sign_in.json))
}

fn text<'a>(record: &'a Value, path: &str) -> &'a str {
    record.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {path} in {record}"))
}

fn number(record: &Value, path: &str) -> i64 {
    record.pointer(path).and_then(Value::as_i64).unwrap_or_else(|| panic!("no number at {path} in {record}"))
}

fn micros(time: &str) -> i64 {
    assert_eq!(time.len(), 27, "{time}");
    chrono::DateTime::parse_from_rfc3339(time).expect(time).timestamp_micros()
}

fn time(record: &Value) -> i64 {
    micros(text(record, "/time"))
}

fn failure(record: &Value) -> Option<&str> {
    record.pointer("/properties/status/failureReason").and_then(Value::as_str)
}

fn details(record: &Value) -> Option<&str> {
    record.pointer("/properties/status/additionalDetails").and_then(Value::as_str)
}

fn needs_mfa(record: &Value) -> bool {
    ["GitHub", "AWS", "Cisco VPN"].contains(&text(record, "/properties/appDisplayName"))
}

/// The fields that repeat or derive from one another within one record.
fn check_record(record: &Value) {
    assert_eq!(text(record, "/identity"), text(record, "/properties/userDisplayName"));
    assert_eq!(text(record, "/callerIpAddress"), text(record, "/properties/ipAddress"));
    text(record, "/callerIpAddress").parse::<std::net::Ipv4Addr>().expect("an address");
    let elapsed = micros(text(record, "/properties/createdDateTime")) - time(record);
    assert_eq!(elapsed, 1000 * number(record, "/properties/processingTimeInMilliseconds"));
    let code = number(record, "/properties/status/errorCode");
    assert_eq!(text(record, "/resultType"), code.to_string());
    assert_eq!(code != 0, failure(record).is_some(), "{record}");
    let name = text(record, "/identity").to_lowercase();
    let (first, last) = name.split_once(' ').expect("two names");
    assert!(text(record, "/properties/userPrincipalName").starts_with(&format!("{}{last}", &first[..1])));
    let at_risk = text(record, "/properties/riskState") == "atRisk";
    assert_eq!(at_risk, record.pointer("/properties/riskEventTypes/0").is_some(), "{record}");
    let device = &record["properties"]["deviceDetail"];
    let named = device.get("displayName").map(|name| name.as_str().expect("a text").to_string());
    let expected = (device["deviceId"] != "").then(|| format!("{}-LT", format!("{first}{last}").to_uppercase()));
    assert_eq!(named, expected, "{record}");
}

#[test]
fn every_record_is_consistent() {
    let records: Vec<Value> =
        make(SynthSettings { attacks: 0.1, ..SynthSettings::default() }, 5000).iter().map(parse).collect();
    records.iter().for_each(check_record);
    assert!(records.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])), "not in time order");
    assert!(time(&records[0]) >= DEFAULT_START);
}

/// Location and number of the network depend on the address alone, names and codes on one another.
#[test]
fn what_depends_on_one_key_is_the_same_each_time() {
    let records: Vec<Value> =
        make(SynthSettings { attacks: 0.1, ..SynthSettings::default() }, 5000).iter().map(parse).collect();
    let pairs = [
        ("/callerIpAddress", "/properties/location/city"),
        ("/callerIpAddress", "/properties/autonomousSystemNumber"),
        ("/properties/location/city", "/location"),
        ("/identity", "/properties/userPrincipalName"),
        ("/properties/userPrincipalName", "/identity"),
        ("/resultType", "/properties/status/failureReason"),
    ];
    for (key, value) in pairs {
        let mut seen = BTreeMap::new();
        for record in &records {
            let (key, value) = (record.pointer(key).cloned().unwrap_or_default(), record.pointer(value).cloned());
            let first = seen.entry(key.to_string()).or_insert_with(|| value.clone());
            assert_eq!(*first, value, "{key} in {record}");
        }
        assert!(seen.len() > 1, "{key} never varies");
    }
    let ids: BTreeSet<&str> = records.iter().map(|r| text(r, "/properties/id")).collect();
    assert_eq!(ids.len(), records.len(), "request ids repeat");
}

#[test]
fn records_have_the_promised_length_and_everyday_failures_their_rates() {
    let records = make(SynthSettings { attacks: 0.0, ..SynthSettings::default() }, 20_000);
    let mean = records.iter().map(|r| r.json.len()).sum::<usize>() as f64 / 20_000.0;
    assert!((500.0..=650.0).contains(&mean), "mean length {mean}");
    let records: Vec<Value> = records.iter().map(parse).collect();
    let count = |code: &str| records.iter().filter(|r| text(r, "/resultType") == code).count();
    assert!((250..600).contains(&count("50126")), "wrong passwords: {}", count("50126"));
    assert!((5..100).contains(&count("50055")), "expired passwords: {}", count("50055"));
    assert!((10..150).contains(&count("500121")), "failed second factors: {}", count("500121"));
    let demanded = records.iter().filter(|r| needs_mfa(r) && failure(r).is_none());
    assert!(demanded.into_iter().all(|r| details(r).is_some()), "a second factor was skipped");
}

#[test]
fn the_share_of_attacks_is_the_one_asked_for() {
    for (share, seed) in [(0.02, 1), (0.02, 2), (0.1, 3), (0.5, 4)] {
        let count = 20_000;
        let records = make(SynthSettings { seed, attacks: share, ..SynthSettings::default() }, count);
        let attacked = records.iter().filter(|r| r.attack.is_some()).count() as f64;
        // Four standard deviations of the binomial distribution; the share varies less, because episodes are balanced.
        let allowed = 4.0 * (count as f64 * share * (1.0 - share)).sqrt();
        assert!(
            (attacked - count as f64 * share).abs() < allowed,
            "seed {seed}: {attacked} of {count}, asked for {share}"
        );
    }
    assert!(
        make(SynthSettings { attacks: 0.0, ..SynthSettings::default() }, 20_000).iter().all(|r| r.attack.is_none())
    );
}

/// The records with their position, by episode.
fn episodes(kind: Attack) -> (Vec<Value>, BTreeMap<u64, Vec<usize>>) {
    let made = make(SynthSettings { attacks: 0.05, ..SynthSettings::default() }, 20_000);
    let mut episodes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (i, sign_in) in made.iter().enumerate() {
        assert_eq!(sign_in.attack.is_some(), sign_in.episode.is_some());
        if sign_in.attack == Some(kind) {
            episodes.entry(sign_in.episode.expect("just checked")).or_default().push(i);
        }
    }
    assert!(episodes.len() >= 10, "only {} episodes of {kind:?}", episodes.len());
    (made.iter().map(parse).collect(), episodes)
}

#[test]
fn a_password_spray_tries_many_users_from_one_address() {
    let (records, episodes) = episodes(Attack::PasswordSpray);
    let mut broken_in = 0;
    for (episode, at) in &episodes {
        let users: BTreeSet<&str> = at.iter().map(|&i| text(&records[i], "/identity")).collect();
        let addresses: BTreeSet<&str> = at.iter().map(|&i| text(&records[i], "/callerIpAddress")).collect();
        let wrong = at.iter().filter(|&&i| text(&records[i], "/resultType") == "50126").count();
        assert_eq!((users.len(), addresses.len()), (at.len(), 1), "episode {episode}");
        assert!(wrong + 1 >= at.len() && at.len() >= 5, "episode {episode}: {wrong} of {}", at.len());
        broken_in += at.len() - wrong;
    }
    assert!(broken_in > 0 && broken_in < episodes.len(), "{broken_in} successes in {} episodes", episodes.len());
}

#[test]
fn impossible_travel_follows_a_sign_in_far_away_within_minutes() {
    let (records, episodes) = episodes(Attack::ImpossibleTravel);
    for (episode, at) in &episodes {
        let first = &records[at[0]];
        let before = records[..at[0]].iter().rev().take_while(|r| time(r) > time(first) - 15 * MINUTE);
        let elsewhere = before.into_iter().any(|r| {
            text(r, "/identity") == text(first, "/identity")
                && text(r, "/location") != text(first, "/location")
                && text(r, "/resultType") == "0"
        });
        assert!(elsewhere, "episode {episode}: {first}");
        assert!(at.iter().all(|&i| text(&records[i], "/resultType") == "0"), "episode {episode}");
    }
}

#[test]
fn mfa_fatigue_is_a_burst_of_denials_at_night_and_then_a_success() {
    let offsets: BTreeMap<&str, i64> =
        [("NO", 1), ("FR", 1), ("US", -6), ("JP", 9), ("KR", 9), ("PE", -5), ("AU", 8)].into();
    let (records, episodes) = episodes(Attack::MfaFatigue);
    // The home of a user is the country of most of the user's sign-ins.
    let home = |user: &str| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        records
            .iter()
            .filter(|r| text(r, "/identity") == user)
            .for_each(|r| *counts.entry(text(r, "/location")).or_default() += 1);
        counts.into_iter().max_by_key(|&(_, count)| count).expect("a user signs in").0
    };
    for (episode, at) in episodes.iter().filter(|(_, at)| *at.last().expect("no episode is empty") + 50 < records.len())
    {
        let (&last, denied) = at.split_last().expect("no episode is empty");
        assert!(denied.len() >= 4, "episode {episode}");
        assert!(denied.iter().all(|&i| text(&records[i], "/resultType") == "500121"), "episode {episode}");
        assert!(denied.iter().all(|&i| details(&records[i]).expect("details").starts_with("MFA denied")));
        assert_eq!(details(&records[last]), Some("MFA completed in Azure AD"), "episode {episode}");
        let hour =
            (time(&records[last]) / (60 * MINUTE) + offsets[home(text(&records[last], "/identity"))]).rem_euclid(24);
        assert!((0..6).contains(&hour), "episode {episode}: {hour} o'clock at home");
        assert!(time(&records[last]) - time(&records[at[0]]) < 15 * MINUTE, "episode {episode} is no burst");
    }
}

#[test]
fn token_replay_has_the_device_of_another_session_and_no_second_factor() {
    let (records, episodes) = episodes(Attack::TokenReplay);
    for (episode, at) in &episodes {
        for record in at.iter().map(|&i| &records[i]) {
            let id = text(record, "/properties/deviceDetail/deviceId");
            assert!(!id.is_empty() && needs_mfa(record) && details(record).is_none(), "episode {episode}: {record}");
            // This is the owner's session, not another replay of the same token, which lacks a required second factor.
            let own = |r: &&Value| {
                text(r, "/properties/deviceDetail/deviceId") == id && (!needs_mfa(r) || details(r).is_some())
            };
            let before = records[..at[0]].iter().rev().find(own);
            let before = before.unwrap_or_else(|| panic!("episode {episode}: device {id} was never seen before"));
            for path in ["/callerIpAddress", "/properties/deviceDetail/browser"] {
                assert_ne!(text(before, path), text(record, path), "episode {episode}");
            }
            assert_eq!(text(before, "/identity"), text(record, "/identity"));
        }
    }
}

/// Appends the path and the value of every leaf of a record.
fn leaves(record: &Value, path: &str, into: &mut Vec<(String, String)>) {
    match record {
        Value::Object(members) => members.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), into)),
        Value::Array(elements) => elements.iter().for_each(|value| leaves(value, &format!("{path}/*"), into)),
        value => into.push((path.to_string(), value.to_string())),
    }
}

/// The share of the attack records with a value that no normal record has, at a path with fewer than 100 values.
fn betrayed(made: &[SignIn]) -> f64 {
    let (mut all, mut normal) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
    let mut attacks = vec![];
    for sign_in in made {
        let mut found = vec![];
        leaves(&parse(sign_in), "", &mut found);
        for (path, value) in &found {
            all.entry(path.clone()).or_default().insert(value.clone());
        }
        match sign_in.attack {
            Some(_) => attacks.push(found),
            None => normal.extend(found),
        }
    }
    let few: BTreeSet<&String> = all.iter().filter(|(_, values)| values.len() < 100).map(|(path, _)| path).collect();
    for path in ["/location", "/properties/autonomousSystemNumber", "/properties/deviceDetail/browser"] {
        assert!(few.contains(&path.to_string()), "{path} has 100 values or more");
    }
    let new = |found: &&Vec<(String, String)>| found.iter().any(|leaf| few.contains(&leaf.0) && !normal.contains(leaf));
    attacks.iter().filter(new).count() as f64 / attacks.len() as f64
}

#[test]
fn few_attacks_have_a_value_of_their_own() {
    let settings = |seed| SynthSettings { seed, attacks: 0.05, ..SynthSettings::default() };
    let shares: Vec<f64> = (1..=8).map(|seed| betrayed(&make(settings(seed), 5000))).collect();
    println!("{shares:.3?}");
    assert!(shares.iter().all(|&share| share > 0.0 && share <= 1.0 / 3.0), "{shares:.3?}");
}

#[test]
fn an_intruder_is_never_in_a_network_of_the_victim() {
    let made = make(SynthSettings { attacks: 0.05, ..SynthSettings::default() }, 20_000);
    let records: Vec<Value> = made.iter().map(parse).collect();
    let key = |r: &Value| (text(r, "/identity").to_string(), number(r, "/properties/autonomousSystemNumber"));
    let of = |attack: bool| made.iter().zip(&records).filter(move |(sign_in, _)| sign_in.attack.is_some() == attack);
    let usual: BTreeSet<_> = of(false).map(|(_, record)| key(record)).collect();
    let targeted = of(true).filter(|(sign_in, _)| sign_in.attack != Some(Attack::PasswordSpray));
    for (sign_in, record) in targeted {
        assert!(!usual.contains(&key(record)), "{:?}: {record}", sign_in.attack);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_ever() {
    let checksum = |seed: u64| {
        let text: String =
            make(SynthSettings { seed, ..SynthSettings::default() }, 1000).into_iter().map(|r| r.json + "\n").collect();
        crc32fast::hash(text.as_bytes())
    };
    assert_eq!(checksum(1), checksum(1));
    assert_ne!(checksum(1), checksum(2));
    assert_eq!(
        checksum(1),
        STORED,
        "the records of seed 1 have changed, so that published corpora could no longer be reproduced"
    );
}

/// CRC-32 of the first 1,000 records of seed 1, each with its newline.
const STORED: u32 = 3_864_684_965;

#[test]
fn smallest_and_largest_organisations_work() {
    for users in [10, MAX_USERS] {
        let records = make(SynthSettings { users, attacks: 0.3, ..SynthSettings::default() }, 5000);
        let kinds: BTreeSet<Attack> = records.iter().filter_map(|r| r.attack).collect();
        assert_eq!((records.len(), kinds.len()), (5000, 4), "{users} users");
        records.iter().map(parse).for_each(|r| check_record(&r));
    }
}

#[test]
fn wrong_settings_are_wrong_use() {
    let label = |name: &str| SynthSettings { label_field: Some(name.into()), ..SynthSettings::default() };
    let wrong = [
        (SynthSettings { attacks: 0.6, ..SynthSettings::default() }, "0 to 0.5"),
        (SynthSettings { attacks: f64::NAN, ..SynthSettings::default() }, "NaN"),
        (SynthSettings { users: 9, ..SynthSettings::default() }, "10 to 2000"),
        (SynthSettings { start: -1, ..SynthSettings::default() }, "1970"),
        (label("a b"), "\"a b\""),
        (label("time"), "already"),
    ];
    for (settings, words) in wrong {
        let Err(error) = SignIns::new(settings.clone()) else { panic!("accepted {settings:?}") };
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_command_prints_the_records_and_the_labels_file_agrees() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let labels = folder.path().join("labels.jsonl");
    let output = logwright()
        .args(["synth", "-n", "2000", "--seed", "7", "--attacks", "0.1", "--label-field", "attack", "--labels"])
        .arg(&labels)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let settings =
        SynthSettings { seed: 7, attacks: 0.1, label_field: Some("attack".into()), ..SynthSettings::default() };
    let expected = make(settings, 2000);
    let labels = std::fs::read_to_string(labels).expect("the labels file");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!((lines.lines().count(), labels.lines().count()), (2000, 2000));
    for (i, ((line, label), sign_in)) in lines.lines().zip(labels.lines()).zip(&expected).enumerate() {
        assert_eq!(line, sign_in.json);
        assert!(line.starts_with("{\"attack\": "), "{line}");
        let label: Value = serde_json::from_str(label).expect(label);
        let attack = sign_in.attack.map(Attack::name);
        assert_eq!(label, serde_json::json!({"record": i + 1, "attack": attack, "episode": sign_in.episode}));
        assert_eq!(parse(sign_in)["attack"], label["attack"]);
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_bad_flags_are_wrong_use() {
    use std::process::Stdio;
    let mut child = logwright()
        .args(["synth", "-n", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for arguments in
        [&["-n", "5", "--attacks", "2"], &["-n", "5", "--start", "yesterday"], &["-n", "5", "--users", "3"]]
    {
        let output = logwright().arg("synth").args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

/// Collects the paths of all keys of a record, such as "/properties/status/errorCode".
fn paths(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{prefix}/{key}");
        paths(value, &path, into);
        into.insert(path);
    }
}

fn every_key_stands_where_it_stands_in(logs: &Path) {
    let real = text_of(logs);
    let (mut known, mut made) = (BTreeSet::new(), BTreeSet::new());
    real.lines().for_each(|line| paths(&serde_json::from_str(line).expect(line), "", &mut known));
    let records = make(SynthSettings { attacks: 0.1, ..SynthSettings::default() }, 2000);
    records.iter().for_each(|record| paths(&parse(record), "", &mut made));
    assert!(made.len() > 20, "{made:?}");
    assert!(made.is_subset(&known), "{:?}", made.difference(&known));
    let spacing = |line: &str| line.replace("\": ", "").replace("\", ", "").matches("\":").count();
    assert!(real.lines().chain(records.iter().map(|r| r.json.as_str())).all(|line| spacing(line) == 0));
}

#[test]
fn every_key_stands_where_the_sampled_log_has_it() {
    every_key_stands_where_it_stands_in(&sampled_logs("azure_ad.jsonl.gz"));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn every_key_stands_where_the_real_log_has_it() {
    every_key_stands_where_it_stands_in(&real_logs("azure-ad/azure_ad.jsonl"));
}
