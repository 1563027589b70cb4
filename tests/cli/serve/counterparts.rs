//! Programs of others against the server: a browser, and Prometheus.

use super::{Served, until};
use crate::common::run;
use crate::score::own;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
#[cfg_attr(not(chromium), ignore = "needs chromium on the PATH when the tests are built (apt-get install chromium)")]
fn a_browser_shows_what_is_unusual() {
    let home = own();
    run(home.path(), "score --model run --calibrate corpus.jsonl --fpr 0.01").has(0, &[]);
    let corpus = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let mut lines: Vec<String> = corpus.lines().take(4).map(str::to_string).collect();
    let mut odd: Value = serde_json::from_str(&lines[2]).unwrap();
    for (_, value) in odd.as_object_mut().unwrap().iter_mut().filter(|(_, value)| value.is_string()) {
        *value = "Qzxj".into();
    }
    lines[2] = odd.to_string();
    fs::write(home.path().join("typed.jsonl"), lines.join("\n") + "\n").unwrap();
    let token = "0123456789abcdef0123456789abcdef";
    fs::write(home.path().join("tokens"), token).unwrap();
    let served = Served::start(home.path(), "--token-file tokens");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/drive_page.py");
    let url = format!("http://{}/", served.address);
    let mut command = Command::new("python3");
    command.arg(driver).args([&url, "--lines", "typed.jsonl", "--odd", "Qzxj", "--token", token]);
    let driven = command.current_dir(home.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&driven.stdout), String::from_utf8_lossy(&driven.stderr));
    assert!(driven.status.success(), "{out}{err}\n{}", served.messages());
}

#[test]
#[cfg_attr(
    not(prometheus),
    ignore = "needs prometheus on the PATH when the tests are built (apt-get install prometheus)"
)]
fn prometheus_scrapes_the_metrics() {
    let home = own();
    let served = Served::start(home.path(), "");
    let corpus = fs::read_to_string(home.path().join("corpus.jsonl")).unwrap();
    let line = corpus.lines().next().unwrap();
    served.score("", &format!("{line}\n")).has(200, &[]);
    fs::write(home.path().join("metrics"), served.get("/metrics").text).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(home.path().join("metrics")).unwrap())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let scrape = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs: [{{ job_name: logwright, static_configs: [{{ targets: ['{}'] }}] }}]\n",
        served.address
    );
    fs::write(home.path().join("prometheus.yml"), scrape).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut prometheus = Command::new("prometheus")
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .current_dir(home.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let query = format!("http://127.0.0.1:{port}/api/v1/query?query=logwright_records_total");
    let answer = || Command::new("curl").args(["-s", &query]).output().unwrap().stdout;
    let scraped = std::panic::catch_unwind(|| {
        until("prometheus has scraped", || String::from_utf8_lossy(&answer()).contains(r#","1"]"#));
    });
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
    scraped.unwrap();
}
