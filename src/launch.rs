//! Which share of the work is this process's: as `--part` says, or the variables that a launcher sets in its processes.
//!
//! Launchers are nested: torchrun starts its workers below a step of Slurm, and mpirun its daemons. The innermost one counts, and
//! those around it must fit.

use crate::{Error, Result};
use std::ops::Range;
use std::str::FromStr;

/// The most parts: more would hold next to nothing each.
const MOST_PARTS: u64 = 1 << 20;

/// One of several parts of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    index: u64,
    of: u64,
}

impl Part {
    /// Everything.
    pub const WHOLE: Part = Part { index: 0, of: 1 };

    /// Part `index`, from 0, of `of`.
    pub fn new(index: u64, of: u64) -> Self {
        assert!(index < of && of <= MOST_PARTS, "part {index} of {of}");
        Part { index, of }
    }

    /// Its number, from 1.
    pub fn number(self) -> u64 {
        self.index + 1
    }

    /// The number of parts.
    pub fn of(self) -> u64 {
        self.of
    }

    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    pub fn is_last(self) -> bool {
        self.number() == self.of
    }

    /// Its range of `total` things in a row. The ranges of all parts cover them all, in order.
    pub fn range(self, total: u64) -> Range<u64> {
        let border = |index: u64| (u128::from(total) * u128::from(index) / u128::from(self.of)) as u64;
        border(self.index)..border(self.index + 1)
    }

    /// Whether thing `number`, from 0, is of this part where the parts take turns.
    pub fn takes(self, number: u64) -> bool {
        number % self.of == self.index
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let pair = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match pair {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST_PARTS => Ok(Part { index: number - 1, of }),
            _ => Err(format!(
                "expected I/N, the number of the part from 1 and how many there are, at most {MOST_PARTS}, such as 3/8"
            )),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "{}/{}", self.number(), self.of)
    }
}

/// This process among those that a launcher has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// What has started it.
    pub by: &'static str,
    pub part: Part,
    /// Its number among the processes of its machine, from 0, where the launcher says so.
    pub local_rank: Option<usize>,
}

/// The variables of a launcher.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    size: &'static str,
    /// Of several names the first that is set.
    local: &'static [&'static str],
}

/// From the innermost to the outermost.
const LAUNCHERS: [Launcher; 4] = [
    Launcher { name: "torchrun", rank: "RANK", size: "WORLD_SIZE", local: &["LOCAL_RANK"] },
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local: &["OMPI_COMM_WORLD_LOCAL_RANK"],
    },
    Launcher { name: "PMI", rank: "PMI_RANK", size: "PMI_SIZE", local: &["MPI_LOCALRANKID", "PMI_LOCAL_RANK"] },
    SLURM,
];

const SLURM: Launcher =
    Launcher { name: "Slurm", rank: "SLURM_PROCID", size: "SLURM_NTASKS", local: &["SLURM_LOCALID"] };
const SLURM_STEP: &str = "SLURM_STEP_ID";
/// Slurm numbers the shells of sbatch and salloc from here on; they are no steps that srun has started.
const SLURM_SHELLS: u64 = 0xffff_fff0;

impl Launched {
    /// As the environment of this process says; `None`: no launcher has started it.
    ///
    /// Errors: variables that contradict one another, or of which some are missing. They are named.
    pub fn find() -> Result<Option<Self>> {
        Self::among(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn among(value: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let mut inner: Option<(Self, &Launcher)> = None;
        for launcher in &LAUNCHERS {
            let Some(found) = launcher.read(value)? else { continue };
            match &inner {
                None => inner = Some((found, launcher)),
                // Around each process of the outer launcher there are as many of the inner one.
                Some((own, by))
                    if own.part.of % found.part.of != 0 || own.part.of == found.part.of && own.part != found.part =>
                {
                    return Err(contradiction(&format!(
                        "{}={} and {}={} (rank {}), but {}={} (rank {})",
                        by.rank,
                        own.part.index,
                        by.size,
                        own.part.of,
                        own.part.index,
                        launcher.size,
                        found.part.of,
                        found.part.index
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(inner.map(|(found, _)| found))
    }
}

impl Launcher {
    fn read(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<Option<Launched>> {
        let number = |name: &str| value(name).map(|text| whole(name, &text)).transpose();
        let (rank, size) = match (number(self.rank)?, number(self.size)?) {
            (None, None) => return Ok(None),
            // A variable of the allocation, which every shell in it has.
            (None, Some(_)) | (Some(_), None) if self.name == SLURM.name && number(SLURM_STEP)?.is_none() => {
                return Ok(None);
            }
            (Some(rank), Some(size)) => (rank, size),
            (Some(_), None) => return Err(half_set(self.rank, self.size)),
            (None, Some(_)) => return Err(half_set(self.size, self.rank)),
        };
        if self.name == SLURM.name {
            match number(SLURM_STEP)? {
                Some(step) if step < SLURM_SHELLS => {}
                _ if rank == 0 => return Ok(None),
                _ => return Err(half_set(self.rank, SLURM_STEP)),
            }
        }
        if rank >= size || size > MOST_PARTS {
            return Err(contradiction(&format!("{}={rank}, but {}={size}", self.rank, self.size)));
        }
        let local = self.local.iter().find_map(|name| Some((name, value(name)?)));
        let local = local.map(|(name, text)| Ok::<_, Error>((name, whole(name, &text)?))).transpose()?;
        if let Some((name, local)) = local.filter(|(_, local)| *local >= size) {
            return Err(contradiction(&format!("{name}={local}, but {}={size}", self.size)));
        }
        let local_rank = local.map(|(_, local)| local as usize);
        Ok(Some(Launched { by: self.name, part: Part { index: rank, of: size }, local_rank }))
    }
}

fn whole(name: &str, text: &str) -> Result<u64> {
    let refused = || {
        Error::usage(format!(
            "the environment variable {name}: expected a whole number, as a launcher sets it, found another value; unset it, or say \
             which share this process takes with --part I/N"
        ))
    };
    text.trim().parse().map_err(|_| refused())
}

fn half_set(set: &str, missing: &str) -> Error {
    Error::usage(format!(
        "the environment variable {set} is set as a launcher does, but {missing} is not; set both or unset {set}, or say which share \
         this process takes with --part I/N"
    ))
}

fn contradiction(what: &str) -> Error {
    Error::usage(format!(
        "the environment variables of launchers contradict one another: {what}; unset those that are left over, or say which share \
         this process takes with --part I/N"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<Launched>> {
        Launched::among(&|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.to_string()))
    }

    #[track_caller]
    fn is(variables: &[(&str, &str)], by: &'static str, rank: u64, of: u64, local_rank: Option<usize>) {
        assert_eq!(found(variables).unwrap(), Some(Launched { by, part: Part::new(rank, of), local_rank }));
    }

    #[track_caller]
    fn refuses(variables: &[(&str, &str)], named: &[&str]) {
        let error = found(variables).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        named.iter().for_each(|name| assert!(message.contains(name), "{name} in: {message}"));
        assert!(message.contains("--part I/N"), "{message}");
    }

    /// What torchrun sets beside the rank is of no use here.
    const TORCHRUN: [(&str, &str); 9] = [
        ("LOCAL_RANK", "1"),
        ("RANK", "3"),
        ("GROUP_RANK", "1"),
        ("ROLE_RANK", "3"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("WORLD_SIZE", "4"),
        ("MASTER_ADDR", "node1"),
        ("MASTER_PORT", "29500"),
        ("TORCHELASTIC_RUN_ID", "none"),
    ];

    /// A task that srun has started.
    const SRUN: [(&str, &str); 9] = [
        ("SLURM_JOB_ID", "71"),
        ("SLURM_STEP_ID", "0"),
        ("SLURM_STEPID", "0"),
        ("SLURM_NTASKS", "8"),
        ("SLURM_NPROCS", "8"),
        ("SLURM_PROCID", "5"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_NODEID", "1"),
        ("SLURM_NNODES", "2"),
    ];

    #[test]
    fn each_launcher_is_read() {
        is(&TORCHRUN, "torchrun", 3, 4, Some(1));
        is(&SRUN, "Slurm", 5, 8, Some(1));
        let mpirun =
            [("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_LOCAL_RANK", "0")];
        is(&mpirun, "Open MPI", 2, 3, Some(0));
        is(&[("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("MPI_LOCALRANKID", "0")], "PMI", 0, 2, Some(0));
        is(&[("PMI_RANK", "1"), ("PMI_SIZE", "2")], "PMI", 1, 2, None);
        // Kubernetes' operator for PyTorch sets no local rank.
        is(&[("RANK", "1"), ("WORLD_SIZE", "2")], "torchrun", 1, 2, None);
        assert_eq!(found(&[("HOME", "/root"), ("LOCAL_RANK", "0")]).unwrap(), None);
    }

    #[test]
    fn an_allocation_of_slurm_is_no_launcher() {
        let sbatch = [("SLURM_JOB_ID", "71"), ("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0")];
        assert_eq!(found(&sbatch).unwrap(), None);
        let salloc = [("SLURM_JOB_ID", "71"), ("SLURM_NTASKS", "8")];
        assert_eq!(found(&salloc).unwrap(), None);
        // The shells themselves are steps for newer versions.
        for step in ["4294967290", "4294967291"] {
            assert_eq!(found(&[&sbatch[..], &[("SLURM_STEP_ID", step)]].concat()).unwrap(), None);
        }
        // sbatch without -n says nothing of tasks.
        assert_eq!(found(&[("SLURM_JOB_ID", "71"), ("SLURM_PROCID", "0")]).unwrap(), None);
    }

    #[test]
    fn the_innermost_launcher_counts() {
        let step = [("SLURM_STEP_ID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0")];
        is(&[&TORCHRUN[..], &step].concat(), "torchrun", 3, 4, Some(1));
        let mpi = [("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")];
        is(&[&TORCHRUN[..], &mpi].concat(), "torchrun", 3, 4, Some(1));
        is(&[&mpi[..], &step].concat(), "Open MPI", 3, 4, None);
    }

    #[test]
    fn contradictions_are_named() {
        refuses(&[("RANK", "4"), ("WORLD_SIZE", "4")], &["RANK=4", "WORLD_SIZE=4"]);
        refuses(&[("RANK", "0"), ("WORLD_SIZE", "0")], &["WORLD_SIZE=0"]);
        refuses(&[("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "2")], &["LOCAL_RANK=2"]);
        // Left over in an image: each of eight tasks would do everything.
        refuses(&[&SRUN[..], &[("RANK", "0"), ("WORLD_SIZE", "1")]].concat(), &["WORLD_SIZE=1", "SLURM_NTASKS=8"]);
        let mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")];
        refuses(&[&TORCHRUN[..], &mpi].concat(), &["RANK=3", "OMPI_COMM_WORLD_SIZE=4", "rank 1"]);
    }

    #[test]
    fn half_of_the_variables_is_not_enough() {
        refuses(&[("RANK", "1")], &["RANK is set", "WORLD_SIZE is not"]);
        refuses(&[("WORLD_SIZE", "2")], &["WORLD_SIZE is set", "RANK is not"]);
        refuses(&[("PMI_SIZE", "2")], &["PMI_RANK is not"]);
        refuses(&[("OMPI_COMM_WORLD_RANK", "0")], &["OMPI_COMM_WORLD_SIZE is not"]);
        refuses(&[("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "1")], &["SLURM_NTASKS is not"]);
        refuses(&[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")], &["SLURM_STEP_ID is not"]);
        refuses(&[("RANK", "one"), ("WORLD_SIZE", "2")], &["RANK: expected a whole number"]);
    }

    #[test]
    fn parts_cover_everything_once() {
        for (total, of) in [(0, 3), (1, 3), (10, 3), (u64::MAX, 7), (12, 12)] {
            let ranges: Vec<_> = (0..of).map(|index| Part::new(index, of).range(total)).collect();
            assert_eq!((ranges[0].start, ranges[of as usize - 1].end), (0, total));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!((0..50).all(|number| (0..of).filter(|&index| Part::new(index, of).takes(number)).count() == 1));
        }
    }

    #[test]
    fn parts_are_read_and_written() {
        assert_eq!("3/8".parse(), Ok(Part::new(2, 8)));
        assert_eq!(Part::new(2, 8).to_string(), "3/8");
        assert!("8/8".parse::<Part>().unwrap().is_last() && Part::WHOLE.is_whole());
        for text in ["0/8", "9/8", "8", "1/0", "a/b", "1/", "1/2000000", "-1/2", ""] {
            assert!(text.parse::<Part>().unwrap_err().contains("such as 3/8"), "{text}");
        }
    }
}
