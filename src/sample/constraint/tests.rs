use super::*;
use crate::Result;
use crate::tokens::Tokenizer;
use serde_json::{Value, json};
use std::sync::Arc;

fn compiler(tokenizer: &Tokenizer) -> GrammarCompiler {
    GrammarCompiler::new(tokenizer, tokenizer.vocab_size(), false).unwrap()
}

fn constraint(schema: Value) -> Result<Arc<Constraint>> {
    compiler(&Tokenizer::bytes()).schema(schema, "s.json", &Separators::default(), &[]).map(Arc::new)
}

/// How far the bytes are read, and whether the record may end there.
fn reads(constraint: &Arc<Constraint>, text: &str) -> (usize, bool) {
    let mut guide = constraint.guide();
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        let allowed = guide.allowed().unwrap();
        if allowed[byte as usize / 32] >> (byte % 32) & 1 == 0 {
            return (at, false);
        }
        guide.consume(byte.into(), &[byte]).unwrap();
    }
    let end = guide.allowed().unwrap()[0] >> b'\n' & 1 == 1;
    (text.len(), end && guide.confirm(text.as_bytes()).is_ok())
}

#[track_caller]
fn takes(constraint: &Arc<Constraint>, texts: &[&str]) {
    texts.iter().for_each(|text| assert_eq!(reads(constraint, text), (text.len(), true), "{text}"));
}

/// Each text is refused at the byte given.
#[track_caller]
fn refuses(constraint: &Arc<Constraint>, texts: &[(&str, usize)]) {
    texts.iter().for_each(|(text, at)| assert_eq!(reads(constraint, text), (*at, false), "{text}"));
}

#[test]
fn any_object_is_json() {
    let json = Arc::new(compiler(&Tokenizer::bytes()).json(&Separators::default(), &[], None).unwrap());
    takes(
        &json,
        &["{}", r#"{"a": [1, {"b": null}, []], "c": -1.5e3, "é": "\u00e9\n\"", "d": true}"#, r#"{"a":[1,2]}"#],
    );
    refuses(&json, &[("[1]", 0), ("7", 0), (r#"{"a": 01}"#, 7), (r#"{"a": 1,}"#, 8), ("{\"a\": \"\t", 7), ("{\n", 1)]);
    // A valid beginning, but not the end of a record.
    assert_eq!(reads(&json, r#"{"a": [1"#), (8, false));
    assert_eq!(reads(&json, r#"{"a": 1e999}"#), (12, false), "no parser holds that number");
    assert_eq!(reads(&json, r#"{"a": 1, "a": 2}"#), (16, false), "readers disagree on a name that occurs twice");
    let digits = "1".repeat(40);
    assert!(reads(&json, &format!("{{\"a\": {digits}")).0 < 30, "no number runs on");
}

#[test]
fn a_number_without_bounds_ends_after_some_digits() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "number" } }, "required": ["a"] });
    let constraint = constraint(schema).unwrap();
    for begin in ["{\"a\": ", "{\"a\": -0."] {
        let text = format!("{begin}{}", "7".repeat(100));
        assert_eq!(reads(&constraint, &text), (begin.len() + 40 - begin.matches('0').count(), false), "{begin}");
    }
    takes(&constraint, &[r#"{"a": 12345678901234567890}"#]);
}

#[test]
fn separators_are_those_of_the_training_records() {
    let any = || json!({});
    let tokenizer = Tokenizer::bytes();
    let like = |item, key| {
        let separators = Separators::exactly(item, key).unwrap();
        let compiler = compiler(&tokenizer);
        let json = Arc::new(compiler.json(&separators, &[], None).unwrap());
        [Arc::new(compiler.schema(any(), "s.json", &separators, &[]).unwrap()), json]
    };
    let (python, compact) = (r#"{"a": 1, "b": 2}"#, r#"{"a":1,"b":2}"#);
    for constraint in like(", ", ": ") {
        takes(&constraint, &[python]);
        refuses(&constraint, &[(compact, 5)]);
    }
    for constraint in like(",", ":") {
        takes(&constraint, &[compact]);
        refuses(&constraint, &[(python, 5)]);
    }
    takes(&constraint(any()).unwrap(), &[python, compact]);
    for (item, key) in [(",", "="), ("", ":"), (".", ":"), (",\n", ":"), (",.*", ":")] {
        assert_eq!(Separators::exactly(item, key), None, "{item:?} {key:?}");
    }
}

#[test]
fn schemas_bite() {
    let event = constraint(json!({
        "type": "object",
        "properties": {
            "name": { "enum": ["a\"b", "Zürich", "x"] },
            "port": { "type": "integer", "minimum": 1, "maximum": 1024 },
            "id": { "type": "string", "pattern": "^[0-9a-f]{4}-[0-9]{2}$" },
            "tags": { "type": "array", "items": { "$ref": "#/$defs/tag" }, "minItems": 2, "maxItems": 3 },
        },
        "required": ["name", "tags"],
        "additionalProperties": false,
        "$defs": { "tag": { "type": "string", "maxLength": 2 } },
    }))
    .unwrap();
    takes(
        &event,
        &[
            r#"{"name": "a\"b", "tags": ["q", ""]}"#,
            r#"{"name": "Zürich", "port": 1024, "id": "00ff-12", "tags": ["é!", "b", "c"]}"#,
        ],
    );
    refuses(
        &event,
        &[
            (r#"{"tags": []}"#, 2),
            (r#"{"name": "y""#, 10),
            (r#"{"name": "x", "port": 1025"#, 25),
            (r#"{"name": "x", "port": 0"#, 22),
            (r#"{"name": "x", "id": "00fg"#, 24),
            (r#"{"name": "x", "tags": ["a"]"#, 26),
            (r#"{"name": "x", "tags": ["abc"#, 26),
            (r#"{"name": "x", "tags": ["a", "b"], "z": 1"#, 32),
        ],
    );
}

#[test]
fn names_in_disguise_do_not_end_a_record() {
    // The grammar lets these pass; a parser would find a string in `a`, or one member.
    let open = constraint(json!({ "properties": { "a": { "type": "integer" } } })).unwrap();
    let hidden = r#"{"b": 1, "\u0061": "x"}"#;
    assert_eq!(reads(&open, hidden), (hidden.len(), false));
    let pair = constraint(json!({ "minProperties": 2 })).unwrap();
    takes(&pair, &[r#"{"a": 1, "b": "x"}"#]);
    let twice = r#"{"b": 1, "b": 2}"#;
    assert_eq!(reads(&pair, twice), (twice.len(), false));
}

#[test]
fn a_free_beginning_ends_with_the_first_brace() {
    // Tokens that reach over the brace: a BPE learns ` {"` from such records.
    let record = r#"jtaylor {"a": 1}"#;
    let tokenizer = Tokenizer::train_bpe([record.as_bytes(); 50].into_iter(), 290).unwrap();
    let vocab = tokenizer.vocab_size() + 7;
    let schema = json!({ "properties": { "a": { "type": "integer" } }, "additionalProperties": false });
    let compiler = GrammarCompiler::new(&tokenizer, vocab, true).unwrap();
    let constraint = Arc::new(compiler.schema(schema, "s", &Separators::default(), &[]).unwrap());
    let over: Vec<u32> = (0..vocab as u32).filter(|&t| tokenizer.token_bytes(t).starts_with(b" {\"")).collect();
    assert!(!over.is_empty(), "the vocabulary has a token that reaches over the brace");
    let mut tokens = Vec::new();
    tokenizer.encode(record.as_bytes(), &mut tokens).unwrap();
    assert_eq!(constraint.guide().read_prompt(&tokens, &[], &tokenizer), Ok(()));
    let allowed = constraint.guide().allowed().unwrap();
    assert_eq!(allowed.len(), vocab.div_ceil(32));
    let is_allowed = |token: u32| allowed[token as usize / 32] >> (token % 32) & 1 == 1;
    assert!(over.iter().all(|&token| is_allowed(token)));
    assert!(is_allowed(b'j'.into()) && is_allowed(b'{'.into()) && !is_allowed(tokenizer.separator()));
    assert!((tokenizer.vocab_size()..vocab).all(|padding| !is_allowed(padding as u32)));
    let mut guide = constraint.guide();
    tokens.iter().for_each(|&token| guide.consume(token, tokenizer.token_bytes(token)).unwrap());
    let separator = tokenizer.separator();
    let end = guide.allowed().unwrap();
    assert_eq!(end.iter().map(|word| word.count_ones()).sum::<u32>(), 1, "only the end is left");
    assert_eq!(end[separator as usize / 32], 1 << (separator % 32));
    assert_eq!(guide.confirm(record.as_bytes()), Ok(()));
    let mut refused = Vec::new();
    tokenizer.encode(br#"jtaylor {"b"#, &mut refused).unwrap();
    assert!(constraint.guide().read_prompt(&refused, &[], &tokenizer).is_err_and(|read| read < 11));
}

#[test]
fn what_the_tokenizer_lacks_is_not_generated() {
    let characters = r#"{"abc: 1,}"#.chars().collect();
    let tokenizer = Tokenizer::chars(&characters);
    let schema = json!({
        "properties": { "a": { "enum": ["b", "é"] }, "é": { "type": "integer" } },
        "required": ["a"], "additionalProperties": false,
    });
    let constraint = |schema| compiler(&tokenizer).schema(schema, "s", &Separators::default(), &[]).map(|_| ());
    constraint(schema).unwrap();
    let none = json!({ "properties": { "a": { "enum": ["é"] } }, "required": ["a"] });
    assert!(constraint(none).is_err(), "nothing is left to write");
    // A start that the tokenizer cannot encode is an error too.
    let braceless = Tokenizer::chars(&"ab".chars().collect());
    assert!(compiler(&braceless).json(&Separators::default(), &[], None).is_err());
}

#[test]
fn a_dead_end_is_told() {
    // No digit 2: after "1" only 2 would do.
    let tokenizer = Tokenizer::chars(&r#"{"a: 1}"#.chars().collect());
    let schema = json!({ "properties": { "a": { "const": 12 } }, "required": ["a"] });
    let constraint = Arc::new(compiler(&tokenizer).schema(schema, "s", &Separators::default(), &[]).unwrap());
    let mut tokens = Vec::new();
    tokenizer.encode(br#"{"a": 1"#, &mut tokens).unwrap();
    let mut guide = constraint.guide();
    tokens.iter().for_each(|&token| guide.consume(token, tokenizer.token_bytes(token)).unwrap());
    assert_eq!(guide.allowed(), Err(DeadEnd::NoToken));
    assert_eq!(guide.allowed(), Err(DeadEnd::NoToken), "and stays so");
}

#[test]
fn what_can_be_satisfied_is_not_called_impossible() {
    let counts = constraint(json!({
        "properties": { "a": { "maxLength": 2.0, "minLength": 1.0 }, "b": { "minItems": 1.0, "maxItems": 1.0 } },
        "required": ["a", "b"], "minProperties": 2.0, "additionalProperties": false,
    }))
    .unwrap();
    takes(&counts, &[r#"{"a": "xy", "b": [1]}"#]);
    refuses(&counts, &[(r#"{"a": "xyz"#, 9), (r#"{"a": ""#, 7)]);
}

#[test]
fn patterns_and_formats_mean_what_the_standard_says() {
    let event = constraint(json!({
        "properties": {
            "day": { "type": "string", "format": "date", "maxLength": 10 },
            "time": { "type": "string", "format": "time" },
            "host": { "type": "string", "format": "hostname" },
            "code": { "type": "string", "pattern": "^\\d\\s$" },
        },
        "additionalProperties": false,
    }))
    .unwrap();
    takes(&event, &[r#"{"day": "2020-02-29", "time": "23:59:59Z", "host": "a-b.example.org", "code": "7 "}"#]);
    refuses(
        &event,
        &[
            (r#"{"day": "2021-02-29"#, 18),
            (r#"{"time": "23:59:60"#, 16),
            (r#"{"host": "xn--"#, 13),
            ("{\"code\": \"\u{661}", 10),
        ],
    );
}

#[test]
fn mistakes_in_schemas_are_named() {
    let is_refused = |schema: Value, parts: &[&str]| {
        let message = constraint(schema).map(|_| ()).expect_err(parts[0]).to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "expected '{part}' in: {message}"));
        assert!(message.starts_with("s.json: ") && !message.contains("verbose"), "{message}");
    };
    is_refused(json!([1]), &["JSON Schema", "a list"]);
    is_refused(json!("object"), &["JSON Schema", "a string"]);
    is_refused(json!(false), &["nothing fits"]);
    is_refused(json!({ "type": "array" }), &["object", "array"]);
    is_refused(json!({ "type": ["string", "null"] }), &["object", "string"]);
    is_refused(json!({ "properties": 7 }), &["no grammar for the schema", "properties must be an object"]);
    is_refused(json!({ "type": 7 }), &["\"type\"", "a number"]);
    is_refused(json!({ "anyOf": [{ "type": "array" }, { "type": "null" }] }), &["no record fits"]);
    is_refused(json!({ "properties": { "a/b": { "not": {} } } }), &["/properties/a~1b/not", "\"not\""]);
    is_refused(
        json!({ "properties": { "a": { "items": { "uniqueItems": true } } } }),
        &["/properties/a/items/uniqueItems"],
    );
    is_refused(json!({ "properties": { "a": { "format": "stardate" } } }), &["/properties/a/format", "stardate"]);
    is_refused(json!({ "properties": { "a": { "pattern": "(?=x)" } } }), &["/properties/a/pattern"]);
    is_refused(json!({ "properties": { "a": { "type": "text" } } }), &["/properties/a/type", "text"]);
    is_refused(json!({ "properties": { "a": { "$ref": "#/$defs/b" } } }), &["/properties/a/$ref"]);
    is_refused(json!({ "properties": { "a": { "$ref": "http://x.org/s" } } }), &["/properties/a/$ref"]);
    is_refused(
        json!({ "properties": { "a": { "oneOf": [{ "minLength": 1 }, { "maxLength": 3 }] } } }),
        &["/properties/a/oneOf"],
    );
    is_refused(json!({ "properties": { "a": {} }, "minProperties": 2 }), &["/minProperties", "required"]);
    is_refused(json!({ "properties": { "a": false }, "required": ["a"] }), &["no record fits"]);
    is_refused(
        json!({ "properties": { "a": { "minimum": 3, "maximum": 2, "type": "integer" } }, "required": ["a"] }),
        &["no record fits"],
    );
    // Not that nothing fits it.
    is_refused(
        json!({ "patternProperties": { "a*": {}, "aaa*": {} } }),
        &["no grammar for the schema", "not disjoint"],
    );
    is_refused(
        json!({ "properties": { "a": { "pattern": "\\bx" } } }),
        &["/properties/a/pattern", "does not mean the same"],
    );
    is_refused(json!({ "properties": { "a": { "const": 9007199254740993u64 } } }), &["/properties/a/const", "2^53"]);
    is_refused(json!({ "properties": { "a": { "minimum": 1u64 << 60 } } }), &["/properties/a/minimum", "2^53"]);
}
