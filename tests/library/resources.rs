//! What the compiled kernels take, against the committed table. Any nvcc but 13.0 gives other numbers.

#[path = "../../kernels/build/ptxas.rs"]
mod ptxas;
/// How the build derives the kernel table; its tests run with these.
#[path = "../../kernels/build/table/mod.rs"]
mod table;

use logwright::cuda::device::kernels;
use logwright::cuda::gpu::fatbin;
use logwright::cuda::ops::{attention, attention_hopper};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Of each kernel and architecture: registers, bytes of spills, bytes of static shared memory,
# as ptxas of nvcc 13.0 says. scripts/update-resources writes this file, a test compares it.
";

fn table() -> String {
    let mut text = HEAD.to_string();
    for fatbin::Usage { kernel, architecture, registers, spills, shared } in fatbin::usages() {
        writeln!(text, "{kernel:40} {architecture:8} {registers:4} {spills:4} {shared:6}").unwrap();
    }
    text
}

#[test]
#[ignore = "needs a build with nvcc 13.0 (scripts/install-nvcc)"]
fn kernels_take_what_the_committed_table_says() {
    let nvcc = fatbin::NVCC.expect("a build with nvcc: run scripts/install-nvcc");
    assert!(nvcc.starts_with("13.0."), "the table is of nvcc 13.0, this build's is {nvcc}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/resources.txt");
    if std::env::var("LOGWRIGHT_UPDATE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, table()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let (found, committed): (Vec<_>, Vec<_>) =
        (table().lines().map(String::from).collect(), committed.lines().collect());
    let new: Vec<_> = found.iter().filter(|line| !committed.contains(&line.as_str())).collect();
    let gone: Vec<_> = committed.iter().filter(|line| !found.iter().any(|found| found == *line)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not in the table: {new:#?}\nonly in the table: {gone:#?}\n\
        where the change is meant, run scripts/update-resources"
    );
}

#[test]
#[ignore = "needs a build with nvcc 13.0 (scripts/install-nvcc)"]
fn every_kernel_of_the_table_is_compiled_for_its_architectures() {
    for kernel in kernels::ALL {
        let usages = fatbin::usages();
        let found: Vec<_> = usages.iter().filter(|usage| usage.kernel == kernel.name).map(|u| u.architecture).collect();
        let expected = if kernel.only == Some((9, 0)) { &["sm_90a"][..] } else { &["sm_80", "sm_90a"] };
        assert_eq!(found, expected, "{}", kernel.name);
    }
}

#[test]
#[ignore = "needs a build with nvcc 13.0 (scripts/install-nvcc)"]
fn a_kernel_that_spills_is_explained_in_the_log() {
    let log = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("LOG.md")).unwrap();
    for usage in fatbin::usages().iter().filter(|usage| usage.spills > 0) {
        let fatbin::Usage { kernel, architecture, spills, .. } = usage;
        assert!(
            log.contains(kernel),
            "{kernel} spills {spills} bytes on {architecture}: cure it, or say why in LOG.md"
        );
    }
}

/// Counted by another rule than the parser's: every kernel needs its KERNEL_EXPORT.
#[test]
fn every_kernel_of_the_source_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let sources: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "cu")).collect();
    let files = table::read(&sources).unwrap();
    let generated: String = table::generate(&files).map(|(_, code)| code).concat();
    let mut kernels = 0;
    for text in sources.iter().map(|source| std::fs::read_to_string(source).unwrap()) {
        for export in text.split("KERNEL_EXPORT(").skip(1) {
            let name = export.split(')').next().unwrap();
            let names = match name.split_once("##") {
                Some((family, _)) if family.starts_with("attention_hopper_") => {
                    attention_hopper::HEAD_SIZES.map(|size| format!("{family}{size}")).to_vec()
                }
                Some((family, _)) => attention::HEAD_SIZES.map(|size| format!("{family}{size}")).to_vec(),
                None => vec![name.to_string()],
            };
            for name in names {
                kernels += 1;
                assert!(kernels::ALL.iter().any(|kernel| kernel.name == name), "{name} is not in the table");
                assert!(generated.contains(&format!("name: \"{name}\"")), "{name} is not generated");
            }
        }
    }
    assert_eq!(kernels, kernels::ALL.len());
}

/// A kernel needs a driver that launches it, and a driver needs its test.
#[test]
fn every_kernel_has_a_driver_and_every_driver_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drivers = std::fs::read_dir(root.join("src/cuda/ops")).unwrap().map(|entry| entry.unwrap().path());
    let drivers: Vec<PathBuf> = drivers.filter(|path| !path.ends_with("mod.rs")).collect();
    let code: String = drivers.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for kernel in kernels::ALL {
        let instance = kernel.name.rsplit_once('_').filter(|(_, size)| size.chars().all(|c| c.is_ascii_digit()));
        let family = instance.map_or(kernel.name, |(family, _)| family);
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        let launch: String = family.split('_').map(capital).collect();
        assert!(code.contains(&format!("{launch} {{")), "no driver in src/cuda/ops launches {}", kernel.name);
    }
    for driver in drivers {
        // The products of linear layers are tested by themselves.
        let name = driver.file_name().unwrap().to_str().unwrap().replace("linear", "gemm");
        let test = root.join("tests/cuda").join(name);
        assert!(test.is_file(), "{} is missing: it tests {}", test.display(), driver.display());
    }
}

/// Words of nvcc 13.0's ptxas, of two kernels.
const SAID: &str = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_80'
ptxas info    : Function properties for first
    16 bytes stack frame, 20 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 4112 bytes smem, 424 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
";

#[test]
fn the_words_of_ptxas_are_understood() {
    let [first, second] = &ptxas::parse(SAID)[..] else { panic!("two kernels") };
    assert_eq!((first.kernel.as_str(), first.architecture.as_str()), ("first", "sm_80"));
    assert_eq!((first.registers, first.spills, first.shared), (40, 32, 4112));
    assert_eq!((second.kernel.as_str(), second.architecture.as_str()), ("second", "sm_90a"));
    assert_eq!((second.registers, second.spills, second.shared), (255, 0, 0));
}
