//! `logwright serve` from outside: what it answers, whom, and what it bears.

mod access;
mod completions;
mod counterparts;
mod limits;
mod otlp;
mod scoring;

use crate::common::logwright;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A server in a process of its own, which ends with this value.
pub struct Served {
    child: Child,
    /// Host and port.
    pub address: String,
    messages: Arc<Mutex<String>>,
}

impl Served {
    /// Starts a server of `run` in `home` on a free port, and waits until it is ready.
    #[track_caller]
    pub fn start(home: &Path, flags: &str) -> Self {
        let mut command = logwright();
        command.args("serve --model run --listen 127.0.0.1:0 --device cpu".split(' ')).args(flags.split_whitespace());
        let child = command.current_dir(home).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut served = Served { child, address: String::new(), messages: Arc::default() };
        let lines = BufReader::new(served.child.stderr.take().unwrap());
        let (all, (sender, receiver)) = (served.messages.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *all.lock().unwrap() += &format!("{line}\n");
                // Nobody listens after the start.
                let _ = sender.send(line);
            }
        });
        loop {
            let Ok(line) = receiver.recv_timeout(Duration::from_secs(60)) else {
                panic!("it is not ready: {}", served.messages());
            };
            if let Some((_, found)) = line.split_once("://") {
                served.address = found.trim().to_string();
            }
            if line.trim_end().ends_with("ready") {
                return served;
            }
        }
    }

    pub fn messages(&self) -> String {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until a message holds these words.
    #[track_caller]
    pub fn says(&self, words: &str) {
        until(words, || self.messages().contains(words));
    }

    pub fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Opens a connection and sends the head of a request with this body length, or a body in pieces.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(head(method, path, &self.address, headers).as_bytes()).unwrap();
        stream
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        let length = body.len().to_string();
        let mut stream = self.open(method, path, &[headers, &[("content-length", &length)]].concat());
        // A server that refuses a request need not take its body.
        let _ = stream.write_all(body);
        answered(&mut stream)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], b"")
    }

    #[track_caller]
    pub fn score(&self, query: &str, lines: &str) -> Answered {
        self.ask("POST", &format!("/score{query}"), &[], lines.as_bytes())
    }

    /// A value of the metrics, by its name with its labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn head(method: &str, path: &str, host: &str, headers: &[(&str, &str)]) -> String {
    let given: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let host =
        if headers.iter().any(|(name, _)| *name == "host") { String::new() } else { format!("host: {host}\r\n") };
    format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{given}\r\n")
}

/// An answer as a client sees it.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
    /// Whether it came to its end.
    pub is_whole: bool,
}

impl Answered {
    /// Requires the status, and every part of the text.
    #[track_caller]
    pub fn has(&self, status: u16, parts: &[&str]) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        parts.iter().for_each(|part| assert!(self.text.contains(part), "expected '{part}' in: {}", self.text));
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

/// Reads an answer from a connection that closes behind it.
#[track_caller]
pub fn answered(stream: &mut impl Read) -> Answered {
    let mut bytes = Vec::new();
    // A connection that was cut off ends what was read.
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

#[track_caller]
pub fn parse(bytes: &[u8]) -> Answered {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_string(), value.to_string()));
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let (text, is_whole) = match headers.get("transfer-encoding") {
        Some(_) => dechunked(body),
        None => {
            let length = headers.get("content-length").map_or(body.len(), |length| length.parse().unwrap());
            (body.to_string(), body.len() == length)
        }
    };
    Answered { status, headers, text, is_whole }
}

/// The content of a body in pieces, and whether its last piece came.
fn dechunked(mut body: &str) -> (String, bool) {
    let mut content = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (content, true);
        }
        let Some(piece) = rest.get(..size) else { break };
        content += piece;
        body = rest[size..].trim_start_matches("\r\n");
    }
    (content, false)
}

/// A piece of a body that is sent in pieces.
pub fn piece(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
