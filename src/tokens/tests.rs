use super::file;
use super::tokenizer::{Scheme, StandIn};
use super::*;
use crate::test_data::{content, real, sampled};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

/// Records with everything that the patterns match: junctions, UUIDs, times, addresses, hashes, keys, counts, prose.
fn logs(n: usize) -> Vec<Vec<u8>> {
    let record = |i: usize| {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{{\"time\": \"2022-08-{:02}T{:02}:10:{:02}.{:06}Z\", \"tenantId\": \"d3e5a967-5657-4a42-afcc-6106b6c3c299\", \
             \"id\": \"{:08x}-{:04x}-4a4b-bcde-{:012x}\", \"ip\": \"10.{}.{}.7\", \"key\": \"x36uYB{}Hvg{}lm0w\", \"isManaged\": true, \
             \"Level\": {}, \"user\": \"Joseph Täylor\", \"note\": \"{}\", \"agent\": \"Mozilla/5.0 (iPad; CPU OS 9_3_6)\", \"details\": []}}",
            i % 28 + 1, i % 24, i % 60, i * 7 % 1_000_000, x >> 32, x & 0xffff, x >> 16, i % 256, i * 3 % 256, i % 97, i % 89, i % 5, note(i)
        )
        .into_bytes()
    };
    (0..n).map(record).collect()
}

/// Words without a pattern, enough of them for any vocabulary in these tests.
fn note(i: usize) -> String {
    let syllables = ["ka", "lor", "mi", "nesh", "op", "qua", "rit", "sou", "tev", "ul", "wym"];
    (0..6)
        .map(|k| syllables[(i * (k + 3) + i * i / (k + 2)) % syllables.len()])
        .collect::<Vec<_>>()
        .join(if i.is_multiple_of(2) { "" } else { " " })
}

fn trained(vocab_size: usize) -> Tokenizer {
    let logs = logs(300);
    Tokenizer::train_bpe(logs.iter().map(Vec::as_slice), vocab_size).unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids).unwrap();
    ids
}

/// The ids that the crate returns, which are those of Python's tokenizers.
fn ids_by_crate(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let full = tokenizers::Tokenizer::from_bytes(&tokenizer.0.json).unwrap();
    full.encode_fast(text, false).unwrap().get_ids().to_vec()
}

fn tokens_of(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    ids(tokenizer, text.as_bytes())
        .iter()
        .map(|&id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned())
        .collect()
}

/// Whatever recurs, elements of arrays keep tokens of their own, and so do the words of a line.
#[test]
fn elements_and_lines_are_not_merged() {
    let record = r#"{"roles": ["admin", "audit"], "ids": [5, 22, 5], "at": [[1.5, -2],["x","y"]]}"#;
    let tokenizer = Tokenizer::train_bpe([record.as_bytes(); 100].into_iter(), 2048).unwrap();
    let tokens = tokens_of(&tokenizer, record);
    for element in ["admin", "audit", "5", "22", "x", "y"] {
        let with = |token: &&String| token.contains(element);
        assert!(tokens.iter().filter(with).all(|token| token.trim_matches([' ', ',']) == element), "{tokens:?}");
    }
    assert!(tokens.iter().any(|token| token == "\", \"") && tokens.len() < 30, "{tokens:?}");
    let lines = ["session opened", "the service entered the stopped state", "-- MARK --", "said \"no\" twice"];
    let tokenizer = Tokenizer::train_bpe(lines.repeat(100).into_iter().map(str::as_bytes), 2048).unwrap();
    for line in lines {
        let tokens = tokens_of(&tokenizer, line);
        assert!(tokens.iter().all(|token| !token.trim().contains(' ')), "{tokens:?}");
    }
    assert_eq!(tokens_of(&tokenizer, "session opened"), ["session", " opened"]);
}

#[test]
fn bytes_are_their_own_ids() {
    let tokenizer = Tokenizer::bytes();
    assert_eq!((tokenizer.kind(), tokenizer.vocab_size(), tokenizer.separator()), (TokenizerKind::Bytes, 256, 10));
    assert_eq!(ids(&tokenizer, b"a\n\xff\0"), [97, 10, 255, 0]);
}

#[test]
fn chars_are_numbered_in_order_and_hold_the_newline() {
    let tokenizer = Tokenizer::chars(&"zaé\"\u{10348}".chars().collect());
    assert_eq!((tokenizer.kind(), tokenizer.vocab_size(), tokenizer.separator()), (TokenizerKind::Char, 6, 0));
    assert_eq!(ids(&tokenizer, "a\nzé\u{10348}\"".as_bytes()), [2, 0, 3, 4, 5, 1]);
    assert_eq!(ids_by_crate(&tokenizer, "a\nzé\u{10348}\""), [2, 0, 3, 4, 5, 1]);
}

#[test]
fn an_unknown_character_is_named_and_leaves_the_output_alone() {
    let tokenizer = Tokenizer::chars(&"ab".chars().collect());
    let mut out = vec![7];
    let message = tokenizer.encode("ab\u{e9}".as_bytes(), &mut out).unwrap_err().to_string();
    assert!(message.contains("U+00E9") && message.contains(r"\u{e9}") && message.contains("at byte 2"), "{message}");
    assert!(message.contains("--tokenizer bytes"), "{message}");
    let message = tokenizer.encode(b"a\xff", &mut out).unwrap_err().to_string();
    assert!(message.contains("0xff") && message.contains("at byte 1"), "{message}");
    assert_eq!(out, [7]);
}

#[test]
fn what_a_tokenizer_lacks_has_a_stand_in() {
    let tokenizer = Tokenizer::chars(&"ab?".chars().collect());
    let mut out = vec![7];
    let found = tokenizer.encode_any("a\u{e9}b\n".as_bytes(), &mut out);
    assert_eq!((tokenizer.decode(&out[1..]), found), (b"a?b\n".to_vec(), vec![StandIn { token: 2, bytes: 2 }]));
    out.clear();
    let found = tokenizer.encode_any(b"\xff\xfea", &mut out);
    assert_eq!((tokenizer.decode(&out), found.iter().map(|found| found.bytes).sum()), (b"??a".to_vec(), 2));
    out.clear();
    Tokenizer::chars(&"ba".chars().collect()).encode_any(b"c", &mut out);
    assert_eq!(out, [1], "its first character, where it has no question mark");
    out.clear();
    assert!(Tokenizer::bytes().encode_any(b"\xff", &mut out).is_empty() && out == [255]);
}

#[test]
fn bpe_reaches_the_vocabulary_and_keeps_the_newline_apart() {
    for size in [257, 300, 512, 700] {
        let tokenizer = trained(size);
        assert_eq!((tokenizer.kind(), tokenizer.vocab_size(), tokenizer.separator()), (TokenizerKind::Bpe, size, 10));
        for id in (0..size as u32).filter(|id| *id != 10) {
            assert!(!tokenizer.token_bytes(id).is_empty() && !tokenizer.token_bytes(id).contains(&b'\n'), "token {id}");
        }
    }
}

#[test]
fn identifiers_are_intact_and_regular() {
    let tokenizer = trained(900);
    let uuid = "0171151e-6e1f-4bc0-abcd-ff46c7756b00";
    let tokens = tokens_of(&tokenizer, &format!(r#"{{"id": "{uuid}", "ip": "10.1.255.7", "Level": 3}}"#));
    let start = tokens.iter().position(|token| token == "01").expect("the UUID starts a token");
    let pairs = "01 71 15 1e - 6e 1f - 4b c0 - ab cd - ff 46 c7 75 6b 00";
    assert_eq!(tokens[start..start + 20].join(" "), pairs);
    let ip = tokens[start + 20..].join("|");
    assert!(ip.contains("|10|.|1|.|25|5|.|7|"), "{ip}");
    assert_eq!(tokens[start + 20], r#"", "ip": ""#, "the junction is one token");
}

#[test]
fn a_recurring_identifier_is_one_token() {
    let tokenizer = trained(600);
    let tenant = "d3e5a967-5657-4a42-afcc-6106b6c3c299";
    assert_eq!(tokens_of(&tokenizer, &format!("x{tenant}y")), ["x", tenant, "y"]);
}

/// With every vocabulary, all UUIDs that are not entries have the same number of tokens.
#[test]
fn every_uuid_takes_as_many_tokens() {
    for size in [300, 512, 600, 1024] {
        let tokenizer = trained(size);
        let length = |i: u64| {
            let x = i.wrapping_mul(0xd134_2543_de82_ef95);
            let uuid = format!("{:08x}-{:04x}-4a4b-bcde-{:012x}", x >> 32, x & 0xffff, x >> 16);
            ids(&tokenizer, uuid.as_bytes()).len()
        };
        let lengths: BTreeSet<usize> = (1..200).map(length).collect();
        assert_eq!(lengths.len(), 1, "vocabulary {size}: {lengths:?}");
    }
}

#[test]
fn training_twice_gives_the_same_file() {
    assert_eq!(trained(512).0.json, trained(512).0.json);
    trains_twice_the_same(&content(&sampled("azure_ad.jsonl.gz")));
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn training_twice_on_real_logs_gives_the_same_file() {
    trains_twice_the_same(&content(&real("azure-ad/azure_ad.jsonl")));
}

fn trains_twice_the_same(text: &[u8]) {
    let train = || Tokenizer::train_bpe(text.split(|&b| b == b'\n'), 2048).unwrap();
    assert_eq!(train().0.json, train().0.json);
}

#[test]
fn too_small_a_vocabulary_is_wrong_use_and_too_little_data_is_not() {
    let error = Tokenizer::train_bpe([&b"abab"[..]].into_iter(), 256).err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--vocab-size 256") && error.to_string().contains("257"), "{error}");
    let small = Tokenizer::train_bpe([&b"abab"[..]].into_iter(), 1000).unwrap();
    assert_eq!(small.vocab_size(), 258, "ab and abab");
    assert_eq!(Tokenizer::train_bpe(std::iter::empty(), 300).unwrap().vocab_size(), 256);
}

#[test]
fn saved_and_loaded_is_the_same() {
    for tokenizer in [Tokenizer::bytes(), Tokenizer::chars(&"ab\n{é".chars().collect()), trained(512)] {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path()).unwrap();
        let loaded = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(
            (loaded.kind(), loaded.vocab_size(), loaded.separator()),
            (tokenizer.kind(), tokenizer.vocab_size(), tokenizer.separator())
        );
        assert_eq!(loaded.0.json, tokenizer.0.json);
        assert_eq!(ids(&loaded, "ba{é\n".as_bytes()), ids(&tokenizer, "ba{é\n".as_bytes()));
    }
}

/// What a model folder adds for other programs changes nothing here, also where data is prepared with that folder's tokenizer.
#[test]
fn the_tokenizer_of_a_model_encodes_the_same() {
    for tokenizer in [Tokenizer::bytes(), Tokenizer::chars(&"ab\n{é".chars().collect()), trained(512)] {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save_for_model(folder.path(), 64).unwrap();
        let loaded = Tokenizer::load(folder.path()).unwrap();
        assert!(loaded.same_tokens(&tokenizer));
        assert_eq!(loaded.separator(), tokenizer.separator());
        assert_eq!(ids(&loaded, "ba{é\nb".as_bytes()), ids(&tokenizer, "ba{é\nb".as_bytes()));
        // Others begin a text with the newline, by its id and under the name that the vocabulary has for it.
        let document: Value = serde_json::from_slice(&loaded.0.json).unwrap();
        let config = std::fs::read(folder.path().join("tokenizer_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let name = config["eos_token"].as_str().unwrap();
        assert_eq!(document["model"]["vocab"][name], loaded.separator());
        assert_eq!(document["post_processor"]["special_tokens"][name]["ids"], serde_json::json!([loaded.separator()]));
        let again = tempfile::tempdir().unwrap();
        loaded.save_for_model(again.path(), 64).unwrap();
        assert_eq!(Tokenizer::load(again.path()).unwrap().0.json, loaded.0.json);
    }
}

fn load_error(content: Option<&[u8]>) -> String {
    let folder = tempfile::tempdir().unwrap();
    if let Some(content) = content {
        std::fs::write(folder.path().join("tokenizer.json"), content).unwrap();
    }
    let message = Tokenizer::load(folder.path()).err().expect("must not load").to_string();
    assert!(message.contains("tokenizer.json"), "names the file: {message}");
    message
}

#[test]
fn bad_files_are_refused_by_name() {
    let whole = trained(300).0.json.clone();
    load_error(None);
    assert!(load_error(Some(b"")).contains("not a whole tokenizer.json"));
    for cut in [1, 100, whole.len() / 2, whole.len() - 1] {
        assert!(load_error(Some(&whole[..cut])).contains("not a whole tokenizer.json"), "cut at {cut}");
    }
    assert!(load_error(Some(b"{}")).contains("model.vocab"));
    assert!(load_error(Some(br#"{"model": {"type": "Unigram", "vocab": {}}}"#)).contains("Unigram"));
    let edit = |edit: fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(&whole).unwrap();
        edit(&mut json);
        load_error(Some(json.to_string().as_bytes()))
    };
    assert!(edit(|json| drop(json["model"]["vocab"].as_object_mut().unwrap().remove("Ċ"))).contains("newline"));
    assert!(edit(|json| drop(json["model"]["vocab"].as_object_mut().unwrap().remove("ÿ"))).contains("0xff"));
    assert!(edit(|json| json["normalizer"] = serde_json::json!({"type": "NFC"})).contains("normalizes"));
    assert!(edit(|json| json["model"]["dropout"] = serde_json::json!(0.1)).contains("at random"));
    assert!(edit(|json| json["model"]["vocab"]["a"] = serde_json::json!(-1)).contains("-1"));
    assert!(edit(|json| json["model"]["merges"][0] = serde_json::json!(["a", "nowhere"])).contains("not a whole"));
}

/// A file of another program with GPT-2's splitting, which merges newlines and which only the crate's encoder supports.
#[test]
fn byte_level_files_of_others_load_and_keep_the_separator() {
    let mut json =
        file::bpe(&[], &["ĊĊ".into(), "he".into()], &[("Ċ".into(), "Ċ".into()), ("h".into(), "e".into())], &[]);
    json["pre_tokenizer"] =
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(ids(&tokenizer, b"he\n\nhe\xff"), [257, 10, 10, 257, 255]);
}

/// The fast encoder and the crate agree on generated and on real logs.
#[test]
fn the_fast_encoder_gives_the_ids_of_the_crate() {
    for size in [300, 1024] {
        let tokenizer = trained(size);
        let Scheme::Bpe { fast, .. } = &tokenizer.0.scheme else { panic!("BPE") };
        assert!(fast.is_some(), "our own file uses the fast encoder");
        for record in logs(400).iter().skip(290) {
            let text = str::from_utf8(record).unwrap();
            assert_eq!(ids(&tokenizer, record), ids_by_crate(&tokenizer, text));
        }
    }
    short_way_gives_the_ids_of_the_crate(&content(&sampled("azure_ad.jsonl.gz")), 50);
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn the_short_way_gives_the_ids_of_the_crate_on_real_logs() {
    short_way_gives_the_ids_of_the_crate(&content(&real("azure-ad/azure_ad.jsonl")), 200);
}

/// On ten records that the tokenizer learnt from and ten that it did not.
fn short_way_gives_the_ids_of_the_crate(text: &[u8], learnt: usize) {
    let records: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let tokenizer = Tokenizer::train_bpe(records[..learnt].iter().copied(), 1024).unwrap();
    for record in &records[learnt - 10..learnt + 10] {
        assert_eq!(ids(&tokenizer, record), ids_by_crate(&tokenizer, str::from_utf8(record).unwrap()));
    }
}

fn ids_by_full(tokenizer: &Tokenizer, record: &[u8]) -> Vec<u32> {
    let Scheme::Bpe { full, .. } = &tokenizer.0.scheme else { panic!("BPE") };
    full.encode_fast(str::from_utf8(record).unwrap(), false).unwrap().get_ids().to_vec()
}

/// Compares every kind with Python on real logs: `LOGWRIGHT_PYTHON=python3 cargo test --release --lib transformers --
/// --ignored`.
#[test]
#[ignore = "needs LOGWRIGHT_PYTHON, a Python with transformers"]
fn transformers_gives_the_same_ids() {
    let python = std::env::var("LOGWRIGHT_PYTHON").expect("set LOGWRIGHT_PYTHON to a Python that has transformers");
    let logs = if cfg!(real_logs) { real("azure-ad/azure_ad.jsonl") } else { sampled("azure_ad.jsonl.gz") };
    let text = content(&logs);
    let mut records: Vec<Vec<u8>> = text.split(|&b| b == b'\n').filter(|r| !r.is_empty()).map(<[u8]>::to_vec).collect();
    let sample = records.clone();
    records.truncate(60);
    records.extend(self::logs(40));
    records.push(
        "Ünï\u{10348}\u{a0}code \t  spaces \u{2028} “quotes”  \\u003c 1,234.5 deadbeefdeadbeef0 a-1 -0.00012".into(),
    );
    let chars = records.iter().flat_map(|r| str::from_utf8(r).unwrap().chars()).collect();
    let trained = |size| Tokenizer::train_bpe(sample.iter().map(Vec::as_slice), size).unwrap();
    for tokenizer in [Tokenizer::bytes(), Tokenizer::chars(&chars), trained(300), trained(1024), trained(2048)] {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path()).unwrap();
        let (mut text, mut expected) = (Vec::new(), String::new());
        for record in &records {
            let line = [&record[..], b"\n"].concat();
            expected += &format!("{:?}\n", ids(&tokenizer, &line));
            text.extend(line);
        }
        std::fs::write(folder.path().join("text"), text).unwrap();
        std::fs::write(folder.path().join("ids"), expected).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_tokenizer.py");
        let mut check = std::process::Command::new(&python);
        check.current_dir(folder.path()).args([script, ".", "text", "--ids", "ids"]);
        assert!(check.status().unwrap().success(), "{:?}, vocabulary {}", tokenizer.kind(), tokenizer.vocab_size());
    }
}

/// No step is quadratic; otherwise these texts would take hours.
#[test]
fn very_long_records_pass() {
    for unit in ["a", "1", "1a", "{", "\"", "\"a\": ", " 1.", "d3e5a967-", "é"] {
        let text = unit.repeat(1_000_000 / unit.len());
        let ids = ids(&BPE, text.as_bytes());
        assert!(BPE.decode(&ids) == text.as_bytes(), "{unit:?}");
    }
    let long = ["ab".repeat(1_000_000)];
    assert!(Tokenizer::train_bpe(long.iter().map(String::as_bytes), 300).unwrap().vocab_size() < 300);
}

#[test]
fn threads_may_share_it() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Tokenizer>();
    let (tokenizer, logs) = (trained(512), logs(50));
    let alone = ids(&tokenizer, &logs[7]);
    let threads: Vec<_> = (0..4).map(|_| (tokenizer.clone(), logs[7].clone())).collect();
    let threads: Vec<_> = threads.into_iter().map(|(t, log)| std::thread::spawn(move || ids(&t, &log))).collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), alone));
}

/// Two tokenizers that alternate on one thread do not share a cache.
#[test]
fn tokenizers_do_not_mix_their_memories() {
    let (a, b, record) = (trained(300), trained(700), &logs(8)[7]);
    let (of_a, of_b) = (ids(&a, record), ids(&b, record));
    assert_ne!(of_a, of_b);
    assert_eq!((ids(&a, record), ids(&b, record), ids(&a, record)), (of_a.clone(), of_b, of_a));
}

static BPE: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(|| trained(600));

proptest! {
    #[test]
    fn any_bytes_come_back(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        for tokenizer in [&Tokenizer::bytes(), &*BPE] {
            let ids = ids(tokenizer, &text);
            prop_assert_eq!(tokenizer.decode(&ids), text.clone());
            let newlines = text.iter().filter(|&&b| b == b'\n').count();
            prop_assert_eq!(ids.iter().filter(|&&id| id == tokenizer.separator()).count(), newlines);
        }
    }

    #[test]
    fn log_like_text_comes_back_with_the_ids_of_the_crate(text in r#"([0-9a-f-]{1,40}|[ {}\[\],:"\.]{1,6}|[A-Za-z0-9]{1,30}|"[a-z]{1,5}": |\PC{1,3}|\n){0,12}"#) {
        let ids = ids(&BPE, text.as_bytes());
        prop_assert_eq!(BPE.decode(&ids), text.as_bytes());
        prop_assert_eq!(ids, ids_by_full(&BPE, text.as_bytes()));
    }

    #[test]
    fn strings_over_the_alphabet_come_back(text in "[a-f{}é\u{10348}\n]{0,100}") {
        let tokenizer = Tokenizer::chars(&"abcdef{}é\u{10348}".chars().collect());
        let ids = ids(&tokenizer, text.as_bytes());
        prop_assert_eq!(ids.len(), text.chars().count());
        prop_assert_eq!(tokenizer.decode(&ids), text.as_bytes());
    }

    /// Loading never panics, whatever the file contains.
    #[test]
    fn damaged_files_do_not_panic(at in 0usize..4000, byte in any::<u8>()) {
        let mut json = BPE.0.json.clone();
        let at = at * json.len() / 4000;
        json[at] = byte;
        let _ = Tokenizer::from_json(&json).map(|t| t.encode(b"x\n\"a\": \"1234\"", &mut Vec::new()));
    }
}
