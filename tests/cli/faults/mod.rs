//! Seeded faults over every file that the program reads: whatever stands in a file, the program ends within bounds of time and
//! memory, and where it fails, its message names the file.
//!
//! `.ci/run` runs a part of the cases, `.ci/long` all of them (`LOGWRIGHT_FAULTS=all`).

mod case;
mod damage;
mod stream;
mod targets;

use case::{Verdict, run_case};
use damage::{Damage, Kind};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use targets::{Home, TARGETS, Target};

/// Cases per target: in every run of the tests, and where all are asked for.
const FEW: u64 = 4;
const ALL: u64 = 28;

/// The cases: every target with its first damages, by seed.
fn cases() -> Vec<(&'static Target, u64)> {
    let all = std::env::var("LOGWRIGHT_FAULTS").is_ok_and(|asked| asked == "all");
    let seeds = if all { ALL } else { FEW };
    // The short run draws other kinds of damage for each target, so that together they cover all kinds.
    let seed = |number: usize, i: u64| if all { i } else { i * 7 + number as u64 };
    let of = |(number, target)| (0..seeds).map(move |i| (target, seed(number, i)));
    TARGETS.iter().enumerate().flat_map(of).collect()
}

/// Runs `work` for each of `jobs` on two threads, each of which has its own copy of the home.
fn on_two_homes<J: Sync>(jobs: &[J], work: impl Fn(&Home, &J) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let home = Home::copy();
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(&home, job);
                }
            });
        }
    });
}

#[test]
fn undamaged_files_are_read() {
    let targets: Vec<&Target> = TARGETS.iter().collect();
    on_two_homes(&targets, |home, target| {
        let verdict = run_case(home, target, None);
        assert_eq!(verdict.code, Some(0), "{}: {}", target.command, verdict.err);
    });
}

#[test]
fn damaged_files_end_in_a_message_that_names_them() {
    let tally = Mutex::new(BTreeMap::<String, u64>::new());
    let wrong = Mutex::new(Vec::new());
    on_two_homes(&cases(), |home, &(target, seed)| {
        let damage = Damage::drawn(target, seed, &home.read(target.file));
        let Some(damage) = damage else { return };
        let verdict = run_case(home, target, Some(&damage));
        *tally.lock().unwrap().entry(format!("{:?}", verdict.code)).or_default() += 1;
        if let Some(fault) = fault(target, &damage, &verdict) {
            wrong.lock().unwrap().push(format!("{} seed {seed}, {}: {fault}", target.file, damage.what));
        }
    });
    println!("exit codes: {:?}", tally.lock().unwrap());
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with how the program ended, if anything is.
fn fault(target: &Target, damage: &Damage, verdict: &Verdict) -> Option<String> {
    let Verdict { code, err, seconds } = verdict;
    let name = target.file.rsplit('/').next().expect("a path has a last part");
    let told = format!("\n    {}\n    {}", target.command, err.lines().last().unwrap_or("(no message)"));
    match code {
        _ if err.contains("panicked") => Some(format!("panicked{told}")),
        None => Some(format!("killed by a signal or after {seconds:.0} s{told}")),
        Some(0) if damage.is_noticeable => Some(format!("not noticed{told}")),
        Some(0) => None,
        // What logs and settings hold may be too little for a flag, which is then named.
        Some(1 | 2) if matches!(target.kind, Kind::Log | Kind::Toml) && err.contains("--") => None,
        Some(1 | 2) if !err.contains(name) => Some(format!("the message does not name the file{told}")),
        Some(1 | 2) => None,
        Some(other) => Some(format!("exit code {other}{told}")),
    }
}
