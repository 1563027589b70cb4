//! What a server bears: too much, too slow, broken off, and its own end.

use super::{Served, answered, piece, until};
use crate::score::own;
use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn line(home: &std::path::Path) -> String {
    let corpus = fs::read_to_string(home.join("corpus.jsonl")).unwrap();
    format!("{}\n", corpus.lines().next().unwrap())
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let home = own();
    let line = line(home.path());
    let served =
        Served::start(home.path(), "--max-body-bytes 4000 --max-record-bytes 1500 --max-requests 1 --format jsonl");
    let long = "x".repeat(5000);
    served.score("", &long).has(413, &["5000 bytes", "--max-body-bytes"]);
    let mut stream = served.open("POST", "/score", &[("transfer-encoding", "chunked")]);
    stream.write_all(piece(&long).as_bytes()).unwrap();
    answered(&mut stream).has(413, &["--max-body-bytes"]);
    served.score("", &format!("{}\n{line}", "y".repeat(1600))).has(200, &["1500", "\"record\":2,\"id\""]);
    served.ask("POST", "/score", &[("content-encoding", "br")], b"x").has(415, &["gzip"]);
    served.score("?top_fields=x", &line).has(400, &["\"param\":\"top_fields\""]);
    // A place is taken until its request ends.
    let mut stream = served.open("POST", "/score", &[("transfer-encoding", "chunked")]);
    until("the place is taken", || served.metric("logwright_active_requests") == 1.0);
    let refused = served.score("", &line);
    assert_eq!(refused.has(429, &["--max-requests", "overloaded_error"]).headers["retry-after"], "1");
    stream.write_all((piece(&line) + "0\r\n\r\n").as_bytes()).unwrap();
    answered(&mut stream).has(200, &["\"record\":1"]);
    served.score("", &line).has(200, &[]);
}

#[test]
fn bodies_that_are_no_logs_are_answered_in_words() {
    let home = own();
    let served = Served::start(home.path(), "");
    let asked = |body: &[u8]| served.ask("POST", "/score", &[], body);
    asked(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0")
        .has(400, &["the body of the request", "expected logs as text"]);
    asked(b"\x1f\x8b\x08\0broken").has(400, &["invalid_request_error"]);
    asked(b"\xff\xfe\xfd bytes\n").has(200, &["\"record\":1,\"error\""]);
    asked(b"\n\n\n").has(200, &[]);
    assert!(!served.messages().contains("panicked"), "{}", served.messages());
}

#[test]
fn slow_and_lost_clients_end_and_others_do_not_notice() {
    let home = own();
    let line = line(home.path());
    let served = Served::start(home.path(), "--timeout 0.3 --format jsonl");
    let mut silent = served.open("POST", "/score", &[("content-length", "5000")]);
    let mut stalled = served.open("POST", "/score", &[("content-length", "5000")]);
    stalled.write_all(line.as_bytes()).unwrap();
    let mut lost = served.open("POST", "/score", &[("content-length", "5000")]);
    lost.write_all(line.as_bytes()).unwrap();
    drop(lost);
    let mut slow_head = std::net::TcpStream::connect(&served.address).unwrap();
    slow_head.write_all(b"POST /score HTT").unwrap();
    served.score("", &line).has(200, &["\"record\":1"]);
    answered(&mut silent).has(408, &["--timeout"]);
    // What had come is answered, and the end of the answer says why there is no more.
    let stalled = answered(&mut stalled);
    assert!(!stalled.is_whole);
    stalled.has(200, &["\"record\":1", "\"error\":{\"message\""]);
    // A client that takes nothing of a long answer is cut off, and its place is free again.
    let mut deaf = served.open("POST", "/score?shade=true", &[("transfer-encoding", "chunked")]);
    let many = piece(&line.repeat(400));
    deaf.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may end the connection before it has taken all.
    let _ = (0..3).try_for_each(|_| deaf.write_all(many.as_bytes()));
    until("all places are free", || served.metric("logwright_active_requests") == 0.0);
    served.score("", &line).has(200, &[]);
    // Its connection ends, too: what it reads now has an end.
    let started = Instant::now();
    let _ = deaf.read_to_end(&mut Vec::new());
    assert!(started.elapsed() < Duration::from_secs(30), "the connection is still open");
}

#[test]
fn a_long_record_delays_nobody_and_is_given_up_with_its_client() {
    let home = own();
    let line = line(home.path());
    let served = Served::start(home.path(), "--format jsonl");
    let long = format!("{{\"a\": \"{}\"}}\n", "é x".repeat(250_000));
    let mut client = served.open("POST", "/score", &[("content-length", &long.len().to_string())]);
    client.write_all(long.as_bytes()).unwrap();
    until("it is computed", || served.metric("logwright_batches_total") == 1.0);
    served.score("", &line).has(200, &["\"record\":1"]);
    assert_eq!(served.metric("logwright_active_requests"), 1.0, "the long record is still being computed");
    drop(client);
    until("it is given up", || served.metric("logwright_active_requests") == 0.0);
    until("nothing waits", || served.metric("logwright_queued_sequences") == 0.0);
    served.says("status=499");
}

#[test]
fn a_stop_ends_what_is_under_way() {
    let home = own();
    let line = line(home.path());
    let mut served = Served::start(home.path(), "--format jsonl");
    let mut stream = served.open("POST", "/score", &[("transfer-encoding", "chunked")]);
    stream.write_all(piece(&line).as_bytes()).unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).unwrap();
    let two = line.repeat(2);
    let (first, rest) = two.as_bytes().split_at(line.len() / 2);
    let mut whole = served.open("POST", "/score", &[("content-length", &two.len().to_string())]);
    whole.write_all(first).unwrap();
    until("both are under way", || served.metric("logwright_active_requests") == 2.0);
    served.signal("-TERM");
    served.says("stopping");
    // A body that still comes is read on, and one that comes no more is said to be cut.
    whole.write_all(rest).unwrap();
    let answer = answered(&mut whole);
    assert!(answer.is_whole, "{answer:?}");
    answer.has(200, &["\"record\":1", "\"record\":2"]);
    let answer = answered(&mut Read::chain(&begun[..], stream));
    assert!(!answer.is_whole, "{answer:?}");
    answer.has(200, &["\"record\":1", "the server stops", "send again"]);
    assert_eq!(served.wait().code(), Some(0));
}
