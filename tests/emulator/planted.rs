//! Kernels with a planted bug each, and their good twins: what both kinds of tables (`bugs.rs`, `bugs_hopper.rs`) share.

use crate::launches::{Allocation, Passed, launch};
use crate::{SEEDS, emulator};
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::runtime::{Entry, LaunchConfig};
use std::sync::Arc;

pub const CHECK: bool = cfg!(feature = "emulator-check");

/// Who notices a bug. The checker notices all of them, whatever the order in which threads run.
#[derive(Clone, Copy, PartialEq)]
pub enum Plain {
    /// The plain emulator too, in one order or another: by an error or by a wrong result.
    Notices,
    /// The plain emulator may let it pass.
    Misses,
}

pub struct Case {
    pub bad: &'static Entry,
    pub good: &'static Entry,
    pub plain: Plain,
    /// Of the checker's message; empty where the runtime itself objects in its own words.
    pub says: &'static str,
    pub blocks: u32,
    pub threads: u32,
    /// out[i] of the good twin.
    pub expected: fn(&[f32], usize) -> f32,
}

macro_rules! cases {
    ($($name:ident $plain:ident $says:literal $blocks:literal x $threads:literal $expected:expr;)*) => {
        fn cases() -> Vec<Case> {
            let (bad, good) = (entries!($("bad_" $name)*), entries!($("good_" $name)*));
            type Rest = (Plain, &'static str, u32, u32, fn(&[f32], usize) -> f32);
            let rest: Vec<Rest> = vec![$(($plain, $says, $blocks, $threads, $expected)),*];
            let case = |((bad, good), (plain, says, blocks, threads, expected))| {
                Case { bad, good, plain, says, blocks, threads, expected }
            };
            bad.into_iter().zip(good).zip(rest).map(case).collect()
        }
    };
}
pub(crate) use cases;

/// A device with the input of all cases, 256 floats. `arguments` are those of a kernel, for its output and the input.
pub struct Room {
    device: Arc<dyn Device>,
    input: Vec<f32>,
    from: Allocation<f32>,
    shared: usize,
    arguments: fn(&Allocation<f32>, &Allocation<f32>) -> Vec<Passed>,
}

impl Room {
    pub fn new(shared: usize, arguments: fn(&Allocation<f32>, &Allocation<f32>) -> Vec<Passed>) -> Self {
        let device = emulator();
        let input: Vec<f32> = (0..256).map(|i| 1.0 + i as f32 * 0.5).collect();
        let from = Allocation::of(&device, &input);
        Room { device, input, from, shared, arguments }
    }

    /// What was noticed, if anything: an error, or a wrong result.
    pub fn run(&self, entry: &Entry, case: &Case, seed: u32) -> Option<String> {
        let out = match case.blocks {
            // Never written: NaN.
            1 => Allocation::new(&self.device, 256),
            _ => Allocation::of(&self.device, &[0f32; 256]),
        };
        let (grid, block) = ([case.blocks, 1, 1], [case.threads, 1, 1]);
        let run = LaunchConfig { grid, block, shared: self.shared, seed };
        if let Err(error) = launch(entry, run, (self.arguments)(&out, &self.from)) {
            return Some(error.to_string());
        }
        let found = out.read();
        let wrong = (0..256).filter(|&i| found[i] != (case.expected)(&self.input, i)).count();
        (wrong > 0).then(|| format!("{wrong} of 256 results are wrong"))
    }

    pub fn notices_every_bug(&self, cases: &[Case]) {
        for case in cases {
            let noticed: Vec<Option<String>> = SEEDS.map(|seed| self.run(case.bad, case, seed)).collect();
            let seeds = noticed.iter().flatten().count();
            let name = case.bad.name();
            if CHECK {
                assert_eq!(seeds, noticed.len(), "{name}: the checker must notice it in every order: {noticed:?}");
                let message = noticed[0].as_ref().unwrap();
                assert!(message.contains(case.says), "{name}: expected \"{}\" in: {message}", case.says);
            } else if case.plain == Plain::Notices {
                assert!(seeds > 0, "{name}: not noticed in any order");
            }
            let first = noticed.iter().flatten().next().map_or("", |s| s);
            println!("{name}: {seeds} of {} orders; {first}", noticed.len());
        }
    }

    pub fn blames_no_good_twin(&self, cases: &[Case]) {
        for case in cases {
            for seed in SEEDS {
                assert_eq!(self.run(case.good, case, seed), None, "{}, seed {seed}", case.good.name());
            }
        }
    }
}
