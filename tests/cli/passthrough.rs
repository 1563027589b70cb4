//! `logwright score --passthrough`: one line out for each line in, as the programs want it that write to another one and count its
//! answers; and `--output ecs|ocsf`. Each contract is that of the program's documentation; rsyslog and kcat are tried themselves.

use crate::common::{Lines, Said, logwright, run};
use crate::key_file;
use crate::score::{lines, own, start};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASS: &str = "score --model run --passthrough --threads 1";

fn records(home: &Path, count: usize) -> Vec<String> {
    let text = fs::read_to_string(home.join("corpus.jsonl")).unwrap();
    text.lines().take(count).map(str::to_string).collect()
}

/// Gives the program a whole input.
fn given(home: &Path, line: &str, input: &[u8]) -> Said {
    let mut child = start(home, line);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let said = Said::from(child.wait_with_output().unwrap());
    // A program that refuses its arguments reads nothing.
    let _ = writer.join().unwrap();
    said
}

#[test]
fn every_line_has_one_answer_in_its_place() {
    let home = own();
    let records = records(home.path(), 3);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
    let wrapper = format!("{{\"Records\":[{},{}]}}", records[0], records[1]);
    let odd: Vec<Vec<u8>> = vec![
        records[0].clone().into_bytes(),
        Vec::new(),
        b" \t\r".to_vec(),
        long.into_bytes(),
        b"\xff\xfe no UTF-8".to_vec(),
        b"\0\0".to_vec(),
        [b"\0", records[1].as_bytes()].concat(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"a,b,c".to_vec(),
        b"{\"index\":{\"_index\":\"a\"}}".to_vec(),
        wrapper.into_bytes(),
        format!("{}\r", records[2]).into_bytes(),
        b"no line end".to_vec(),
    ];
    let said = given(home.path(), &format!("{PASS} --max-record-bytes 4000"), &odd.join(&b'\n'));
    said.has(0, &[]);
    assert_eq!(said.err, "", "some programs take the lines of stderr for answers");
    let answers = lines(&said);
    assert_eq!(answers.len(), odd.len());
    for (number, answer) in (1..).zip(&answers) {
        assert_eq!(answer["record"], number, "{answer}");
        let is_record = [1, 7, 12, 13].contains(&number);
        assert_eq!(answer.get("error").is_none(), is_record, "{answer}");
    }
    let error = |at: usize| answers[at - 1]["error"].as_str().unwrap();
    assert!(error(2).contains("line 2, column 1: the line is empty") && error(6).contains("line 6"), "{}", error(6));
    assert!(error(4).contains("--max-record-bytes") && error(11).contains("_bulk"), "{} {}", error(4), error(11));
    // What is a record gets the score that it has in a file.
    fs::write(home.path().join("good.jsonl"), records.join("\n")).unwrap();
    let alone = lines(&run(home.path(), "score --model run good.jsonl --threads 1"));
    for (alone, at) in alone.iter().zip([1, 7, 13]) {
        assert_eq!([&alone["score"], &alone["fields"]], [&answers[at - 1]["score"], &answers[at - 1]["fields"]]);
    }
}

#[test]
fn an_answer_does_not_wait_for_more_lines() {
    let home = own();
    let records = records(home.path(), 3);
    let mut child = start(home.path(), PASS);
    let (mut stdin, answers) = (child.stdin.take().unwrap(), Lines::of(&mut child));
    let mut say = |text: &str| {
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    };
    // As a caller does that writes the next line only behind the answer. What looks like the header of a table is no exception.
    for (number, line) in (1..).zip(["time,user,host", "", records[0].as_str(), "[", records[1].as_str()]) {
        say(&format!("{line}\n"));
        assert_eq!(answers.next()["record"], number);
    }
    say(&records[2][..50]);
    say(&format!("{}\nx\n", &records[2][50..]));
    assert_eq!([answers.next(), answers.next()].map(|line| line.get("error").is_some()), [false, true]);
    drop(stdin);
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "the end of the input is no failure");
}

#[test]
fn what_does_not_answer_every_line_is_refused_with_what_to_do() {
    let home = own();
    for (flags, parts) in [
        ("--alerts-per-day 10", ["--alerts-per-day", "second process"]),
        ("--group-by identity", ["--group-by", "leave it out"]),
        ("--explain", ["--explain", "without --passthrough"]),
        ("--only-anomalies --threshold 1", ["--only-anomalies", "\"anomaly\":true"]),
        ("corpus.jsonl --follow", ["--follow", "tail -F"]),
        ("--calibrate corpus.jsonl", ["--calibrate", "a command of its own"]),
        ("--record-start ^x", ["--record-start", "leave it out"]),
        ("corpus.jsonl corpus.jsonl", ["several inputs", "name one input"]),
        ("--format csv", ["--format csv", "jsonl, cef or text"]),
        ("--under a..b", ["--under", "$!.logwright"]),
    ] {
        given(home.path(), &format!("{PASS} {flags}"), b"").has(2, &parts);
    }
    run(home.path(), "score --model run corpus.jsonl --under a").has(2, &["--passthrough"]);
    run(home.path(), "score --model run corpus.jsonl --output ecs --explain").has(2, &["--explain"]);
    // The remedies: a pipe instead of --follow, one line for a record, one input.
    let piped =
        "head -n 2 corpus.jsonl | \"$LOGWRIGHT\" score --model run --passthrough --record-start '' --format jsonl";
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("LOGWRIGHT", env!("CARGO_BIN_EXE_logwright")).current_dir(home.path());
        Said::from(command.output().unwrap())
    };
    assert_eq!(lines(&shell(piped)).len(), 2);
    assert_eq!(lines(&run(home.path(), &format!("{PASS} corpus.jsonl"))).len(), 300);
}

#[test]
fn a_calibration_for_sessions_is_refused_and_its_remedies_work() {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.05 --group-by identity").has(0, &[]);
    let record = records(home.path(), 1).remove(0);
    given(home.path(), PASS, record.as_bytes()).has(2, &["calibration.json is for sessions", "--no-calibration"]);
    assert_eq!(lines(&given(home.path(), &format!("{PASS} --no-calibration"), record.as_bytes())).len(), 1);
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.05").has(0, &[]);
    let said = given(home.path(), PASS, record.as_bytes());
    assert!(said.has(0, &[]).out.contains("p_value"), "{}", said.out);
}

/// rsyslog's mmexternal (plugins/mmexternal): the program has no environment, both its streams are one pipe, each message is a line
/// and each answer a line with an object, whose member `$!` is merged into the message.
#[test]
fn the_contract_of_mmexternal() {
    let home = own();
    let (mut answers, both) = std::io::pipe().unwrap();
    let mut command = logwright();
    command.args(PASS.split(' ')).args(["--under", "$!.logwright"]).current_dir(home.path()).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(both.try_clone().unwrap()).stderr(both).spawn().unwrap();
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n no record\n", records(home.path(), 1)[0]).as_bytes()).unwrap();
    drop(stdin);
    let mut text = String::new();
    answers.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| answer.as_object().unwrap().len() == 1), "{text}");
    assert!(answers[0].pointer("/$!/logwright/score").is_some() && answers[1].pointer("/$!/logwright/error").is_some());
}

/// Fluentd's exec_filter writes a chunk of lines at once and parses each line that comes back (lib/fluent/plugin/out_exec_filter.rb);
/// Redpanda Connect's subprocess writes one line, waits for one, and marks the message as failed if it comes from stderr.
#[test]
fn the_contracts_of_exec_filter_and_subprocess() {
    let home = own();
    let records = records(home.path(), 40);
    let chunk = given(home.path(), &format!("{PASS} --keep identity"), (records.join("\n") + "\n").as_bytes());
    let answers = lines(&chunk);
    for (answer, record) in answers.iter().zip(&records) {
        let record: Value = serde_json::from_str(record).unwrap();
        assert_eq!(answer["kept"]["identity"], record["identity"], "the answer carries what it is of");
    }
    assert_eq!((answers.len(), chunk.err.as_str()), (40, ""));
    let mut child = start(home.path(), PASS);
    let (mut stdin, one_by_one) = (child.stdin.take().unwrap(), Lines::of(&mut child));
    for (record, in_chunk) in records.iter().zip(&answers).take(5) {
        stdin.write_all(format!("{record}\n").as_bytes()).unwrap();
        assert_eq!(one_by_one.next()["score"], in_chunk["score"]);
    }
    drop(stdin);
    assert_eq!(Said::from(child.wait_with_output().unwrap()).err, "");
}

#[test]
fn other_schemas_show_whom_records_name() {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.05").has(0, &[]);
    let text = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let score = |schema: &str| {
        let said =
            run(home.path(), &format!("score --model run corpus.jsonl --with-record --output {schema} --threads 1"));
        said.has(0, &[]);
        lines(&said)
    };
    let (own, ecs, ocsf) = (score("jsonl"), score("ecs"), score("ocsf"));
    for ((own, ecs), ocsf) in own.iter().zip(&ecs).zip(&ocsf) {
        let is_anomaly = own["anomaly"] == json!(true);
        assert_eq!((ecs["event"]["kind"] == "alert", ocsf["is_alert"] == json!(true)), (is_anomaly, is_anomaly));
        assert_eq!([&ecs["event"]["id"], &ocsf["finding_info"]["uid"]], [&own["id"]; 2]);
        assert_eq!([&ecs["logwright"]["score"], &ocsf["unmapped"]["score"]], [&own["score"]; 2]);
        let raw: Value = serde_json::from_str(ecs["event"]["original"].as_str().unwrap()).unwrap();
        assert_eq!((&raw, &ocsf["raw_data"]), (&own["raw"], &ecs["event"]["original"]));
    }
    assert!(own.iter().any(|line| line["anomaly"] == json!(true)));
    let people: Vec<&str> = ecs[0]["related"]["user"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(people.contains(&first["identity"].as_str().unwrap()), "{people:?}");
    let addresses = ecs[0]["related"]["ip"].as_array().unwrap();
    assert!(first.to_string().contains(addresses[0].as_str().unwrap()), "{addresses:?}");
}

#[test]
fn other_schemas_show_pseudonyms_unless_in_clear() {
    let home = key_file::trained(key_file::PREPARE);
    let said = |flags: &str| {
        let line =
            format!("score --model run in.jsonl --key-file key --with-record --no-calibration --threads 1 {flags}");
        let said = run(home.path(), &line);
        said.has(0, &[]);
        assert_eq!(said.out.lines().count(), 200);
        said.out
    };
    for schema in ["ecs", "ocsf"] {
        let hidden = said(&format!("--output {schema}"));
        for name in ["Nadia", "nbrandt", "Ingrid", "isolheim", "corp.meridian.com"] {
            assert!(!hidden.contains(name), "{schema} shows {name}");
        }
        let clear = said(&format!("--output {schema} --in-clear"));
        assert!(["Nadia Brandt", "nbrandt@corp.meridian.com"].iter().all(|name| clear.contains(name)), "{schema}");
    }
}

/// A program that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a file to have so many lines.
fn arrived(path: &Path, count: usize, why: &dyn Fn() -> String) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.matches('\n').count();
        if whole >= count {
            return text.lines().map(str::to_string).collect();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{whole} of {count} lines arrived: {}", why());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What docs/soc.md tells to write into the configuration, with the paths of a test.
fn rsyslog(home: &Path, action: &str) -> Ending {
    let program =
        format!("{} score --model {}/run --threads 1 --passthrough", env!("CARGO_BIN_EXE_logwright"), home.display());
    let at = home.display();
    let config = format!(
        r#"global(workDirectory="{at}")
module(load="imfile" mode="polling" pollingInterval="1")
input(type="imfile" file="{at}/app.log" tag="app:")
template(name="line" type="string" string="%msg%\n")
{}"#,
        action.replace("PROGRAM", &program).replace("HOME", &at.to_string())
    );
    fs::write(home.join("rsyslog.conf"), config).unwrap();
    fs::write(home.join("app.log"), "").unwrap();
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(home.join("rsyslog.conf")).arg("-i").arg(home.join("rsyslog.pid"));
    let said = fs::File::create(home.join("rsyslog.err")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    Ending(child)
}

#[test]
#[cfg_attr(not(rsyslog), ignore = "needs rsyslogd on the PATH when the tests are built (apt-get install rsyslog)")]
fn rsyslog_puts_findings_into_its_messages() {
    let home = own();
    let _rsyslog = rsyslog(
        home.path(),
        r#"module(load="mmexternal")
template(name="scored" type="list") { property(name="msg") constant(value="\t") property(name="$!logwright") constant(value="\n") }
action(type="mmexternal" binary="PROGRAM --under $!.logwright" interface.input="msg")
action(type="omfile" file="HOME/scored" template="scored")"#,
    );
    let mut records = records(home.path(), 5);
    records.insert(2, "no object".to_string());
    fs::write(home.path().join("app.log"), records.join("\n") + "\n").unwrap();
    let why = || fs::read_to_string(home.path().join("rsyslog.err")).unwrap_or_default();
    let scored = arrived(&home.path().join("scored"), records.len(), &why);
    let alone = lines(&given(home.path(), PASS, records.join("\n").as_bytes()));
    for ((scored, record), alone) in scored.iter().zip(&records).zip(&alone) {
        let (message, finding) = scored.split_once('\t').unwrap();
        let finding: Value = serde_json::from_str(finding).unwrap();
        assert_eq!(message.trim_start(), record);
        assert_eq!((&finding["score"], &finding["error"]), (&alone["score"], &alone["error"]));
    }
}

#[test]
#[cfg_attr(not(rsyslog), ignore = "needs rsyslogd on the PATH when the tests are built (apt-get install rsyslog)")]
fn rsyslog_writes_to_the_program_and_keeps_what_it_says() {
    let home = own();
    let _rsyslog = rsyslog(
        home.path(),
        r#"module(load="omprog")
action(type="omprog" binary="PROGRAM --output ecs" template="line" output="HOME/findings")"#,
    );
    let records = records(home.path(), 5);
    fs::write(home.path().join("app.log"), records.join("\n") + "\n").unwrap();
    let why = || fs::read_to_string(home.path().join("rsyslog.err")).unwrap_or_default();
    let findings = arrived(&home.path().join("findings"), records.len(), &why);
    for (number, line) in (1..).zip(findings) {
        let document: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!((&document["event"]["sequence"], &document["ecs"]["version"]), (&json!(number), &json!("9.4.0")));
    }
}

/// A broker of librdkafka's mock cluster, which lives as long as a kcat that waits for input.
fn broker(home: &Path) -> (Ending, String) {
    let log = home.join("mock.log");
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", "none", "-t", "none", "-X", "test.mock.num.brokers=1", "-d", "mock"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn();
    let broker = Ending(child.unwrap());
    let said = arrived(&log, 1, &String::new);
    let (_, address) = said[0].split_once("bootstrap.servers=").expect(&said[0]);
    (broker, address.trim().to_string())
}

#[test]
#[cfg_attr(not(kcat), ignore = "needs kcat on the PATH when the tests are built (apt-get install kcat)")]
fn members_of_a_kafka_group_score_a_topic_between_them() {
    let home = own();
    let (_broker, address) = broker(home.path());
    let records = records(home.path(), 60);
    fs::write(home.path().join("logs"), records.join("\n") + "\n").unwrap();
    let kcat = format!("kcat -q -b {address}");
    let shell = |line: &str| {
        let mut command = Command::new("timeout");
        command.args(["60", "bash", "-o", "pipefail", "-c", line]);
        command.env("LOGWRIGHT", env!("CARGO_BIN_EXE_logwright")).current_dir(home.path());
        command
    };
    let said = Said::from(shell(&format!("{kcat} -P -t logs < logs")).output().unwrap());
    said.has(0, &[]);
    // One member is enough for a test of the pipes; the group gives each its partitions.
    let scorer = format!(
        "{kcat} -G scorers -X auto.offset.reset=earliest -e logs | \"$LOGWRIGHT\" {PASS} --with-record | {kcat} -P -t findings"
    );
    Said::from(shell(&scorer).output().unwrap()).has(0, &[]);
    let said = Said::from(shell(&format!("{kcat} -C -t findings -e")).output().unwrap());
    let mut scored: Vec<String> = lines(&said).iter().map(|line| line["raw"].to_string()).collect();
    let whole = |line: &String| serde_json::from_str::<Value>(line).unwrap().to_string();
    let mut sent: Vec<String> = records.iter().map(whole).collect();
    scored.sort();
    sent.sort();
    assert_eq!(scored, sent, "each record once");
}
