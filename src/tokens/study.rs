//! Prints measurements of the trained tokenizer: `cargo test --release --lib tokens::study -- --ignored --nocapture`.
//! `scripts/pretokenization_study.py` measures the rejected candidates; its rows are directly comparable.

use super::split::compile;
use super::tokenizer::{Scheme, Tokenizer};
use crate::test_data::{content, real};
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

const SIZES: [usize; 4] = [512, 1024, 2048, 4096];
const UUID: &str = r"(?<![0-9a-fA-F-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F-])";
const OTHERS: [(&str, &str); 3] = [
    ("time", r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"),
    ("ip", r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])"),
    ("number", r"(?<![\w.:/+-])[0-9]+(?:\.[0-9]+)?(?![\w.:/+-])"),
];

fn records(name: &str, limit: usize) -> Vec<Vec<u8>> {
    let content = content(&real(name));
    content.split(|&b| b == b'\n').filter(|r| !r.is_empty()).take(limit).map(<[u8]>::to_vec).collect()
}

/// The record reduced to about 555 characters, as by `cut_down` of the Python script.
fn cut_down(record: &[u8]) -> Vec<u8> {
    let r: Value = serde_json::from_slice(record).unwrap();
    let pick = |from: &Value, keys: &[&str]| -> serde_json::Map<String, Value> {
        keys.iter().filter_map(|key| Some((key.to_string(), from.get(key)?.clone()))).collect()
    };
    let p = &r["properties"];
    let mut inner = pick(p, &["id", "userPrincipalName", "appDisplayName", "correlationId", "riskState"]);
    inner.insert("status".into(), pick(&p["status"], &["errorCode"]).into());
    inner.insert("location".into(), pick(&p["location"], &["city", "geoCoordinates"]).into());
    let mut outer = pick(&r, &["time", "operationName", "tenantId", "callerIpAddress", "identity"]);
    outer.insert("properties".into(), inner.into());
    // These are the separators of Python's json module.
    Value::from(outer).to_string().replace("\":", "\": ").replace(",\"", ", \"").into_bytes()
}

/// The share in per cent of the matches of `pattern` in `records` that begin and end at token boundaries, and the numbers of
/// tokens of the matches.
fn intact(tokenizer: &Tokenizer, records: &[Vec<u8>], pattern: &str) -> (f64, BTreeSet<usize>) {
    let regex = compile(pattern).unwrap();
    let (mut seen, mut whole, mut lengths) = (0, 0, BTreeSet::new());
    for record in records {
        let mut ids = Vec::new();
        tokenizer.encode(record, &mut ids).unwrap();
        let mut borders = vec![0];
        ids.iter().for_each(|&id| borders.push(borders.last().unwrap() + tokenizer.token_bytes(id).len()));
        for (start, end) in regex.find_iter(&String::from_utf8_lossy(record)) {
            seen += 1;
            whole += usize::from(borders.contains(&start) && borders.contains(&end));
            lengths.insert(borders.iter().filter(|&&b| start <= b && b < end).count());
        }
    }
    (100.0 * whole as f64 / seen.max(1) as f64, lengths)
}

fn study(name: &str, records: &[Vec<u8>]) {
    let (learn, held) = records.split_at(records.len() * 9 / 10);
    for size in SIZES {
        let start = Instant::now();
        let tokenizer = Tokenizer::train_bpe(learn.iter().map(Vec::as_slice), size).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let mut ids = Vec::new();
        held.iter().for_each(|record| tokenizer.encode(record, &mut ids).unwrap());
        let (uuids, lengths) = intact(&tokenizer, held, UUID);
        let others =
            OTHERS.map(|(what, pattern)| format!("{what} {:.1} %", intact(&tokenizer, held, pattern).0)).join(", ");
        println!(
            "{name} {}: {:.0} tokens/record; intact: uuid {uuids:.1} %, {others}; UUID lengths {lengths:?}; {seconds:.1} s",
            tokenizer.vocab_size(),
            ids.len() as f64 / held.len() as f64
        );
    }
}

#[test]
#[ignore = "a measurement, not a check"]
fn tokens_per_record() {
    let azure = records("azure-ad/azure_ad.jsonl", usize::MAX);
    study("cut-down azure", &azure.iter().map(|record| cut_down(record)).collect::<Vec<_>>());
    study("azure-ad", &azure);
    for (name, limit) in [
        ("cloudtrail/cloudtrail.jsonl.gz", usize::MAX),
        ("apache/apache.log.gz", usize::MAX),
        ("windows-attack/T1047_atomic_red_team.jsonl.gz", 2000),
        ("hdfs-sessions/hdfs100k_sessions.jsonl.gz", usize::MAX),
    ] {
        study(name, &records(name, limit));
    }
}

/// The CPU time of this thread (Linux), which does not include other work on the machine.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The speed of `encode` on `records` in MB per second of CPU time, the best of three passes.
fn rate(records: &[Vec<u8>], mut encode: impl FnMut(&[u8])) -> f64 {
    let megabytes = records.iter().map(Vec::len).sum::<usize>() as f64 / 1e6;
    let mut pass = || {
        let start = cpu_seconds();
        records.iter().for_each(|record| encode(record));
        megabytes / (cpu_seconds() - start)
    };
    (0..3).map(|_| pass()).fold(0.0, f64::max)
}

#[test]
#[ignore = "a measurement, not a check"]
fn speed() {
    for name in ["azure-ad/azure_ad.jsonl", "apache/apache.log.gz", "windows-attack/T1047_atomic_red_team.jsonl.gz"] {
        let records = records(name, 2000);
        for size in [512, 2048] {
            let tokenizer = Tokenizer::train_bpe(records.iter().map(Vec::as_slice), size).unwrap();
            let Scheme::Bpe { full, .. } = &tokenizer.0.scheme else { panic!("BPE") };
            let mut out = Vec::new();
            let short = rate(&records, |record| {
                out.clear();
                tokenizer.encode(record, &mut out).unwrap();
            });
            let few = &records[..200];
            let crates = rate(few, |record| drop(full.encode_fast(str::from_utf8(record).unwrap(), false).unwrap()));
            let start = Instant::now();
            let encode = |record: &Vec<u8>| tokenizer.encode(record, &mut Vec::new()).unwrap();
            (0..5).for_each(|_| records.par_iter().for_each(encode));
            let wall = 5.0 * records.iter().map(Vec::len).sum::<usize>() as f64 / 1e6 / start.elapsed().as_secs_f64();
            println!(
                "{name} {size}: {short:.1} MB/s per thread, the crate's encoder {crates:.2}; rayon {wall:.1} MB/s wall clock"
            );
        }
    }
}
