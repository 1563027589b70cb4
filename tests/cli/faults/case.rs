//! One case: a file is damaged, a command runs within bounds, the file is put back.

use super::damage::Damage;
use super::targets::{Home, Target};
use crate::common::logwright;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The most that a command may take: address space in bytes, and time. A command on an undamaged file takes some 50 ms.
const MEMORY: u64 = 4 << 30;
const TIME: Duration = Duration::from_secs(20);

/// How a command ended.
pub struct Verdict {
    /// `None`: a signal ended it, perhaps that of the time limit.
    pub code: Option<i32>,
    pub err: String,
    pub seconds: f64,
}

/// Runs the target's command with its file damaged.
pub fn run_case(home: &Home, target: &Target, damage: Option<&Damage>) -> Verdict {
    let path = home.path().join(target.file);
    let original = fs::read(&path).unwrap();
    if let Some(damage) = damage {
        fs::write(&path, &damage.bytes).unwrap();
    }
    let verdict = run(home, target);
    fs::write(&path, original).unwrap();
    home.tidy();
    verdict
}

fn run(home: &Home, target: &Target) -> Verdict {
    let mut command = logwright();
    command.args(target.command.split_whitespace()).current_dir(home.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: setrlimit is safe to call between fork and exec, and touches nothing but the child's limits.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY };
            match libc::setrlimit(libc::RLIMIT_AS, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let begin = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut err = Vec::new();
        pipe.read_to_end(&mut err).unwrap();
        String::from_utf8_lossy(&err).into_owned()
    });
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begin.elapsed() > TIME => child.kill().unwrap(),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    Verdict { code: status.code(), err: reader.join().unwrap(), seconds: begin.elapsed().as_secs_f64() }
}
