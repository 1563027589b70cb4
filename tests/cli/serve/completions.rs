//! `POST /v1/completions` and `GET /v1/models`: records are those of `logwright generate`, whoever else is asking.

use super::{Answered, Served, until};
use crate::common::{SMALL, logwright, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// A model that has seen short records of three users, with the user as a prefix. It is made once.
fn home() -> &'static Path {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = HOME.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let user = |i: usize| ["al", "bo", "cy"][i % 3];
        let record = |i: usize| format!("{{\"u\":\"{}\",\"code\":{},\"m\":\"é{}\"}}\n", user(i), i * 7 % 5, i * 11 % 4);
        fs::write(home.path().join("corpus"), (0..300).map(record).collect::<String>()).unwrap();
        run(home.path(), "prepare corpus --out data --tokenizer bytes --prefix-field user=u").has(0, &[]);
        run(home.path(), &format!("train --data data --out run {SMALL} --steps 250 --learning-rate 1e-2")).has(0, &[]);
        home
    });
    made.path()
}

/// The texts that `generate` prints.
#[track_caller]
fn generated(flags: &[&str]) -> Vec<String> {
    let flags = [&["generate", "--model", "run", "--format", "jsonl"], flags].concat();
    let output = logwright().args(flags).current_dir(home()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    let texts: Vec<String> = text.lines().map(line).collect();
    assert!(!texts.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    texts
}

#[track_caller]
fn ask(served: &Served, body: &Value) -> Answered {
    served.ask("POST", "/v1/completions", &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// The texts of the choices, which come in their order.
#[track_caller]
fn texts(answer: &Answered) -> Vec<String> {
    let answer = answer.has(200, &[]).json();
    let choices = answer["choices"].as_array().unwrap();
    assert!(choices.iter().zip(0..).all(|(choice, index): (_, u64)| choice["index"] == index));
    choices.iter().map(|choice| choice["text"].as_str().unwrap().to_string()).collect()
}

/// The objects of a streamed answer.
#[track_caller]
fn events(answer: &Answered) -> Vec<Value> {
    assert_eq!(answer.has(200, &[]).headers["content-type"], "text/event-stream");
    let text = answer.text.strip_suffix("data: [DONE]\n\n").expect("an end");
    let event = |event: &str| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
    text.split_terminator("\n\n").map(event).collect()
}

/// The texts of a streamed answer with `n` records, each joined from its pieces.
fn joined(events: &[Value], n: usize) -> Vec<String> {
    let mut texts = vec![String::new(); n];
    for choice in events.iter().flat_map(|event| event["choices"].as_array().unwrap()) {
        texts[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    texts
}

#[test]
fn a_seed_gives_the_records_of_generate_whoever_else_asks() {
    let served = Served::start(home(), "--parallel 3");
    // A prompt of `generate` is shown with its record, so it is echoed here.
    let asked = [
        (json!({ "n": 6, "seed": 3, "temperature": 0.8 }), vec!["-n", "6", "--seed", "3"]),
        (
            json!({ "n": 4, "seed": 4, "temperature": 0.8, "where": { "user": "bo" }, "max_tokens": 60 }),
            vec!["-n", "4", "--seed", "4", "--where", "user=bo", "--max-tokens", "60"],
        ),
        (
            json!({ "n": 3, "seed": 5, "temperature": 1, "top_k": 9, "top_p": 0.9, "response_format": { "type": "learned" } }),
            vec![
                "-n",
                "3",
                "--seed",
                "5",
                "--temperature",
                "1",
                "--top-k",
                "9",
                "--top-p",
                "0.9",
                "--schema",
                "learned",
            ],
        ),
        (
            json!({ "n": 2, "seed": 6, "temperature": 0.8, "prompt": "al {\"u\":\"al\",\"co", "echo": true, "max_tokens": 12 }),
            vec!["-n", "2", "--seed", "6", "--prompt", "al {\"u\":\"al\",\"co", "--max-tokens", "12"],
        ),
        (
            json!({ "n": 2, "seed": 7, "temperature": 0, "response_format": { "type": "json_object" } }),
            vec!["-n", "2", "--seed", "7", "--temperature", "0", "--json"],
        ),
    ];
    let expected: Vec<Vec<String>> = asked.iter().map(|(_, flags)| generated(flags)).collect();
    let line = fs::read_to_string(home().join("corpus")).unwrap().lines().next().unwrap().to_string();
    let finding = served.score("", &line).text;
    std::thread::scope(|scope| {
        for ((body, _), expected) in asked.iter().zip(&expected) {
            let (served, line, finding) = (&served, &line, &finding);
            scope.spawn(move || {
                assert_eq!(&texts(&ask(served, body)), expected, "{body}");
                let mut body = body.clone();
                body["stream"] = true.into();
                assert_eq!(&joined(&events(&ask(served, &body)), expected.len()), expected, "{body}");
                assert_eq!(&served.score("", line).text, finding, "scoring between the steps");
            });
        }
    });
    // Without a seed it is a random one, which is told.
    let [first, second] = [(); 2].map(|_| ask(&served, &json!({ "n": 8, "max_tokens": 40 })).json());
    assert_ne!(first["choices"], second["choices"]);
    let again = ask(&served, &json!({ "n": 8, "max_tokens": 40, "seed": first["seed"] })).json();
    assert_eq!(again["choices"], first["choices"]);
    assert!(served.metric("logwright_generated_tokens_total") > 500.0);
    assert!(!served.messages().contains("code"), "contents in {}", served.messages());
}

#[test]
fn stop_echo_and_log_probabilities() {
    let served = Served::start(home(), "");
    let prompt = "bo {\"u\":\"bo\",\"code\":";
    // Without the prefix.
    let shown = &prompt[3..];
    let asked = json!({ "prompt": prompt, "seed": 2, "temperature": 0, "max_tokens": 60 });
    let with = |members: Value| {
        let mut body = asked.clone();
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        ask(&served, &body).has(200, &[]).json()
    };
    let plain = with(json!({}));
    let text = plain["choices"][0]["text"].as_str().unwrap();
    assert!(text.ends_with('}') && plain["choices"][0]["finish_reason"] == "stop", "{plain}");
    let drawn = text.len() as u64 + 1;
    let usage = json!({ "prompt_tokens": prompt.len(), "completion_tokens": drawn, "total_tokens": prompt.len() as u64 + drawn });
    assert_eq!(
        (&plain["usage"], &plain["object"], &plain["model"]),
        (&usage, &"text_completion".into(), &"run".into())
    );
    let stopped = with(json!({ "stop": ["\"m\"", "zz"] }));
    assert_eq!(stopped["choices"][0]["text"], text[..text.find("\"m\"").unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let cut = with(json!({ "max_tokens": 3 }));
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
        (&"length".into(), &3.into())
    );
    let measured = with(json!({ "logprobs": 2 }));
    assert_eq!(measured["choices"][0]["text"], text, "log probabilities change nothing");
    let whole = with(json!({ "logprobs": 2, "echo": true }));
    assert_eq!(whole["choices"][0]["text"], format!("{shown}{text}"));
    // The same measured as a prompt alone: nothing is drawn.
    let told = with(json!({ "prompt": format!("{prompt}{text}"), "max_tokens": 0, "echo": true, "logprobs": 0 }));
    let numbers = |answer: &Value| -> Vec<f64> {
        let all = answer["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap();
        all.iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let (measured_ones, whole_ones, told_ones) = (numbers(&measured), numbers(&whole), numbers(&told));
    assert_eq!((whole_ones.len(), told_ones.len()), (shown.len() + text.len(), whole_ones.len()));
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 && *a <= 0.0);
    assert!(near(&whole_ones, &told_ones) && near(&measured_ones, &whole_ones[shown.len()..]), "{told}");
    let logprobs = &whole["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"][0], "{");
    assert_eq!(
        (&logprobs["text_offset"][1], logprobs["top_logprobs"][0].as_object().unwrap().len() >= 2),
        (&1.into(), true)
    );
}

#[test]
fn pieces_come_as_they_are_written() {
    let served = Served::start(home(), "");
    let body = json!({ "n": 2, "seed": 1, "stream": true, "stream_options": { "include_usage": true }, "logprobs": 0, "max_tokens": 60 });
    let events = events(&ask(&served, &body));
    // How many tokens are joined depends on the machine; records are not.
    assert!(events.len() >= 3, "{events:?}");
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let (usage, pieces) = events.split_last().unwrap();
    assert!(usage["choices"] == json!([]) && usage["usage"]["completion_tokens"].as_u64().unwrap() > 20, "{usage}");
    assert!(pieces.iter().all(|piece| piece["usage"] == Value::Null && piece["object"] == "text_completion"));
    let choices = || pieces.iter().flat_map(|event| event["choices"].as_array().unwrap());
    assert_eq!(choices().filter(|choice| choice["finish_reason"].is_string()).count(), 2);
    let second = choices().filter(|choice| choice["index"] == 1);
    let tokens: usize = second.map(|choice| choice["logprobs"]["tokens"].as_array().unwrap().len()).sum();
    assert_eq!(tokens, joined(&events, 2)[1].len(), "each byte is a token of some piece");
    // The first piece is there long before the last.
    let body = json!({ "n": 900, "stream": true }).to_string();
    let mut open = served.open("POST", "/v1/completions", &[("content-length", &body.len().to_string())]);
    open.write_all(body.as_bytes()).unwrap();
    let mut begun = Vec::new();
    while !String::from_utf8_lossy(&begun).contains("data: {") {
        let mut more = [0; 512];
        let count = open.read(&mut more).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&begun));
        begun.extend_from_slice(&more[..count]);
    }
    assert_eq!(served.metric("logwright_active_requests"), 1.0);
}

#[test]
fn a_schema_of_the_request_binds_its_records() {
    let served = Served::start(home(), "");
    let schema = json!({
        "type": "object", "properties": { "u": { "enum": ["zoe"] }, "code": { "type": "integer", "minimum": 6, "maximum": 8 } },
        "required": ["u", "code"], "additionalProperties": false
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "record", "schema": schema } });
    for text in texts(&ask(&served, &json!({ "n": 3, "seed": 1, "response_format": format, "max_tokens": 80 }))) {
        let record: Value = serde_json::from_str(&text).unwrap();
        assert!(record["u"] == "zoe" && (6..=8).contains(&record["code"].as_u64().unwrap()), "{text}");
    }
    let wrong = json!({ "type": "json_schema", "json_schema": { "schema": { "type": "nothing" } } });
    let refused = ask(&served, &json!({ "response_format": wrong }));
    assert_eq!(refused.has(400, &["response_format.json_schema.schema"]).json()["error"]["param"], "response_format");
}

#[test]
fn what_cannot_be_answered_is_refused_by_name() {
    let served = Served::start(home(), "");
    for (body, status, param, words) in [
        (json!({ "model": "gpt-5" }), 404, "model", "\"run\""),
        (json!({ "n": 0 }), 400, "n", "found 0"),
        (json!({ "best_of": 5 }), 400, "best_of", "not supported"),
        (json!({ "prompt": "a\nb" }), 400, "prompt", "newline"),
        (json!({ "prompt": "al {]", "response_format": { "type": "json_object" } }), 400, "prompt", "accepts"),
        (json!({ "where": { "colour": "red" } }), 400, "where", "where colour="),
        (json!({ "from": "2026-01-01" }), 400, "from", "no prefix of the model is a day"),
    ] {
        let error = ask(&served, &body).has(status, &[]).json()["error"].clone();
        assert_eq!((&error["param"], &error["type"]), (&param.into(), &"invalid_request_error".into()), "{body}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains("--where") && !message.contains("--from"), "{message}");
    }
    served.ask("POST", "/v1/completions", &[], b"{").has(400, &["no JSON"]);
    served.get("/v1/completions").has(405, &[]);
    let models = served.get("/v1/models").has(200, &[]).json();
    let about = &models["data"][0];
    assert_eq!((&models["object"], &about["id"], &about["object"]), (&"list".into(), &"run".into(), &"model".into()));
    assert_eq!(about["logwright"]["conditions"], json!([{ "name": "user" }]));
    assert_eq!((&about["logwright"]["form"], &about["logwright"]["vocab"]), (&"prefixed_json".into(), &256.into()));
    assert_eq!(
        (&about["logwright"]["has_learned_schema"], &about["logwright"]["threshold"]),
        (&true.into(), &Value::Null)
    );
}

#[test]
fn records_of_a_client_that_leaves_are_given_up() {
    let served = Served::start(home(), "--parallel 2");
    for stream in [true, false] {
        let body = json!({ "n": 1000, "stream": stream }).to_string();
        let before = served.metric("logwright_generated_tokens_total");
        let mut left = served.open("POST", "/v1/completions", &[("content-length", &body.len().to_string())]);
        left.write_all(body.as_bytes()).unwrap();
        until("tokens are drawn", || served.metric("logwright_generated_tokens_total") > before + 20.0);
        drop(left);
        until("the request is over", || served.metric("logwright_active_requests") == 0.0);
        let drawn = || served.metric("logwright_generated_tokens_total");
        // The step that was under way.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = drawn();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(drawn(), now, "nothing is drawn for it");
        assert!(now - before < 20_000.0, "its records were given up: {now}");
    }
    assert_eq!(texts(&ask(&served, &json!({ "n": 3, "max_tokens": 30 }))).len(), 3, "others are answered");
}

#[test]
#[ignore = "needs python3 with the openai package; run with --ignored, PYTHON names another interpreter"]
fn the_openai_client_is_at_home() {
    fs::write(home().join("tokens"), "secret-of-the-test-0123456789\n").unwrap();
    let served = Served::start(home(), "--token-file tokens");
    let expected = json!(generated(&["-n", "3", "--seed", "11"])).to_string();
    let python = std::env::var("PYTHON").unwrap_or("python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/drive_openai.py");
    let url = format!("http://{}/v1", served.address);
    let output =
        Command::new(python).arg(script).args([&url, "secret-of-the-test-0123456789", &expected]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}
