//! Tests of a profile as a whole: what it says about the records it has learnt, and about others.

use super::node::{MOST_PATHS, Node};
use super::*;
use crate::test_data::{content, real, sampled};
use serde_json::{Value, json};

fn of<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Profile {
    let mut profile = Profile::default();
    records.into_iter().for_each(|record| profile.observe(record));
    profile
}

/// Forty records of a small service.
fn service() -> Vec<String> {
    let record = |i: u64| {
        let extra = if i.is_multiple_of(4) { r#""extra": {"b": 1}, "# } else { "" };
        let kind = ["login", "logout"][i as usize % 2];
        let noise = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            r#"{{"id": "{noise:016x}", "kind": "{kind}", {extra}"code": {i}, "ip": "10.0.0.{i}", "tags": ["x"], "empty": []}}"#
        )
    };
    (0..40).map(record).collect()
}

fn faults(profile: &Profile, record: &str) -> Vec<(String, Fault)> {
    profile.check(record.as_bytes()).into_iter().map(|violation| (violation.path, violation.fault)).collect()
}

#[test]
fn a_learnt_record_has_no_fault() {
    let records = service();
    let profile = of(records.iter().map(String::as_bytes));
    for record in &records {
        assert_eq!(faults(&profile, record), []);
    }
    assert_eq!(profile.records(), 40);
}

#[test]
fn each_fault_is_named_with_its_path() {
    let records = service();
    let profile = of(records.iter().map(String::as_bytes));
    let good = &records[0];
    for (from, to, path, fault) in [
        ("\"code\"", "\"kode\": 1, \"code\"", "kode", Fault::UnknownPath),
        ("{\"b\": 1}", "{\"b\": 1, \"c\": 2}", "extra.c", Fault::UnknownPath),
        ("\"empty\": []", "\"empty\": [1]", "empty.*", Fault::UnknownPath),
        ("\"code\": 0", "\"code\": \"0\"", "code", Fault::WrongType),
        ("\"code\": 0", "\"code\": 0.5", "code", Fault::WrongType),
        ("[\"x\"]", "[\"x\", null]", "tags.*", Fault::WrongType),
        ("[\"x\"]", "{}", "tags", Fault::WrongType),
        ("login", "LOGIN", "kind", Fault::UnknownValue),
        ("[\"x\"]", "[\"y\"]", "tags.*", Fault::UnknownValue),
        ("10.0.0.0", "10.0.0.256", "ip", Fault::Pattern),
        ("\"id\": \"9", "\"id\": \"9f", "id", Fault::Pattern),
        ("\"ip\": \"10.0.0.0\", ", "", "ip", Fault::Missing),
        ("\"kind\": \"login\", ", "\"kind\": \"login\", \"kind\": \"login\", ", "kind", Fault::DoubledKey),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(&bad, good, "{from}");
        assert_eq!(faults(&profile, &bad), [(path.to_string(), fault)], "{bad}");
    }
    let swapped = good.replace("\"tags\": [\"x\"], \"empty\": []", "\"empty\": [], \"tags\": [\"x\"]");
    assert_eq!(faults(&profile, &swapped), [("tags".to_string(), Fault::KeyOrder)]);
    assert_eq!(faults(&profile, "no record"), [(String::new(), Fault::NotJson)]);
}

#[test]
fn keys_that_come_in_any_order_have_none() {
    let profile = of([&b"{\"a\":1,\"b\":1,\"c\":1}"[..], b"{\"b\":1,\"a\":1}"]);
    assert_eq!(
        faults(&profile, "{\"b\":1,\"c\":1,\"a\":1}"),
        [("a".to_string(), Fault::KeyOrder)],
        "c was always last"
    );
    assert_eq!(faults(&profile, "{\"b\":1,\"a\":1,\"c\":1}"), []);
    let late = of([&b"{\"b\":1,\"c\":1}"[..], b"{\"a\":1,\"b\":1}"]);
    let schema = late.to_json_schema();
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn the_schema_says_what_was_learnt() {
    let records = service();
    let schema = of(records.iter().map(String::as_bytes)).to_json_schema();
    let expected = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "id": { "type": "string", "pattern": "^[0-9a-f]{16}$" },
            "kind": { "enum": ["login", "logout"] },
            "extra": {
                "type": "object",
                "properties": { "b": { "type": "integer", "minimum": 0, "x-written": "(0|[1-9][0-9]{0,2})" } },
                "required": [],
                "additionalProperties": false
            },
            "code": { "type": "integer", "minimum": 0, "x-written": "(0|[1-9][0-9]{0,3})" },
            "ip": { "type": "string", "pattern": schema["properties"]["ip"]["pattern"] },
            "tags": { "type": "array", "minItems": 1, "maxItems": 1, "items": { "const": "x" } },
            "empty": { "type": "array", "minItems": 0, "maxItems": 0 },
        },
        "required": ["id", "kind", "code", "ip", "tags", "empty"],
        "additionalProperties": false
    });
    assert_eq!(schema, expected);
    assert_eq!(schema.to_string(), expected.to_string(), "in this order");
    assert!(schema["properties"]["ip"]["pattern"].as_str().unwrap().starts_with("^((25[0-5]"));
}

#[test]
fn several_types_stand_side_by_side() {
    let schema = of([&b"{\"a\":null}"[..], b"{\"a\":1.5}", b"{\"a\":{}}", b"{\"a\":true}"]).to_json_schema();
    let kinds = schema["properties"]["a"]["anyOf"].as_array().unwrap();
    assert_eq!(
        kinds.iter().map(|kind| kind["type"].as_str().unwrap()).collect::<Vec<_>>(),
        ["null", "boolean", "number", "object"]
    );
}

#[test]
fn records_without_json_are_counted_only() {
    let profile = of([&b"plain"[..], b"", b"{\"a\":", b"[1]", b"\xff"]);
    assert_eq!(profile.records(), 0);
    assert_eq!(profile.root, Node::default());
    assert_eq!(profile.to_json_schema()["type"], "object");
}

#[test]
fn memory_is_bounded_by_opening_objects() {
    let wide: Vec<String> = (0..40)
        .map(|i| {
            let members: Vec<String> = (0..300).map(|j| format!("\"k{}\":{{\"v{}\":1}}", i * 300 + j, i)).collect();
            format!("{{\"m\":{{{}}},\"n{i}\":1}}", members.join(","))
        })
        .collect();
    let profile = of(wide.iter().map(String::as_bytes));
    assert!(profile.budget.paths <= MOST_PATHS);
    assert_eq!(faults(&profile, r#"{"m":{"unheard of":{}}, "n1":1}"#), [], "an open object takes any name");
    assert!(profile.to_json_schema()["properties"]["m"].get("additionalProperties").is_none());
    let many: Vec<String> = (0..5000).map(|i| format!("{{\"k{}\":{{\"v{i}\":1}}}}", i % 200)).collect();
    assert_eq!(of(many.iter().map(String::as_bytes)).budget.paths, MOST_PATHS);
}

#[test]
fn separators_are_those_of_most_records() {
    let spaced = of([&b"{\"a\": 1, \"b\": 2}"[..], b"{\"a\": 1, \"b\": 2}", b"{\"a\":1,\"b\":2}"]);
    assert_eq!(spaced.separators(), (", ".to_string(), ": ".to_string()));
    assert_eq!(of([&b"{\"a\":1,\"b\":2}"[..]]).separators(), (",".to_string(), ":".to_string()));
}

#[test]
fn numbers_are_bounded_as_far_as_they_can_be() {
    let schema = |numbers: &[&str]| {
        let records: Vec<String> = (0..40).map(|i| format!("{{\"n\":{}}}", numbers[i % numbers.len()])).collect();
        of(records.iter().map(String::as_bytes)).to_json_schema()["properties"]["n"].clone()
    };
    let huge = "7|18446744073709551615";
    assert_eq!(schema(&["7", "18446744073709551615"])["x-written"], json!("(18446744073709551615|7)"), "{huge}");
    assert_eq!(schema(&["7", "18446744073709551615"])["type"], "integer");
    assert_eq!(schema(&["0.5", "-5.1e-09"]), json!({ "enum": [-5.1e-9, 0.5], "x-written": "(-5\\.1e-09|0\\.5)" }));
    assert_eq!(schema(&["0.50", "1.0"]), json!({ "enum": [0.5, 1.0], "x-written": "(0\\.50|1\\.0)" }));
    assert_eq!(schema(&["1e999", "2"])["type"], "number", "no value of a schema");
}

#[test]
fn records_of_any_depth_make_a_schema_that_is_read_again() {
    let deep: Vec<String> = (1..127).map(|n| "{\"a\":[".repeat(n / 2) + "1" + &"]}".repeat(n / 2)).collect();
    let objects = "{\"b\":".repeat(126) + "1" + &"}".repeat(126);
    let profile = of(deep.iter().chain([&objects]).map(String::as_bytes));
    let text = json!({ "schema": [profile.to_json_schema()] }).to_string();
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{} bytes", text.len());
    assert_eq!(faults(&profile, &objects), []);
    assert_eq!(faults(&profile, &deep[60]), []);
}

#[test]
fn what_came_until_the_end_may_come_again() {
    // A new name, value and shape in the last records: none of them closes.
    let old = |i: u64| format!("{{\"a\":\"x\",\"s\":\"n{i}\"}}");
    let records: Vec<String> =
        (0..60).map(old).chain((0..9).map(|i| format!("{{\"a\":\"y\",\"s\":\"n{}-\",\"k{i}\":1}}", i % 3))).collect();
    let profile = of(records.iter().map(String::as_bytes));
    assert_eq!(faults(&profile, "{\"a\":\"z\",\"s\":\"n/1/2\",\"k77\":1}"), []);
    let settled = of(records[..60].iter().map(String::as_bytes));
    let found = faults(&settled, "{\"a\":\"z\",\"s\":\"n/1/2\",\"k77\":1}");
    let expected = [("a", Fault::UnknownValue), ("s", Fault::Pattern), ("k77", Fault::UnknownPath)];
    assert_eq!(found, expected.map(|(path, fault)| (path.to_string(), fault)));
}

#[test]
fn random_paths_are_found_in_depth() {
    let profile = of(service().iter().map(String::as_bytes));
    assert_eq!(profile.random_paths(), ["id", "ip"]);
}

#[test]
fn sampled_records_keep_their_own_profile() {
    records_keep_their_own_profile(&content(&sampled("azure_ad.jsonl.gz")));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_records_keep_their_own_profile() {
    records_keep_their_own_profile(&content(&real("azure-ad/azure_ad.jsonl")));
}

/// None has a fault against its own profile, and the schema is of bounded size.
fn records_keep_their_own_profile(text: &[u8]) {
    let records = || text.split(|&byte| byte == b'\n').filter(|record| !record.is_empty());
    let profile = of(records());
    assert!(records().all(|record| profile.check(record).is_empty()));
    let random = profile.random_paths();
    assert!(
        ["time", "properties.id", "properties.uniqueTokenIdentifier"].iter().all(|p| random.iter().any(|r| r == p))
    );
    assert!(!random.iter().any(|path| path == "tenantId" || path == "identity"), "{random:?}");
    let Value::Object(schema) = profile.to_json_schema() else { panic!("an object") };
    assert_eq!(schema["properties"]["tenantId"].get("const").map(Value::is_string), Some(true));
}
