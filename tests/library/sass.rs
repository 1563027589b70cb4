//! The machine code of the attention kernels, by `scripts/check_sass.py`.

use logwright::cuda::gpu::fatbin;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the script is content with these files, and all that it says.
fn check_sass(cuobjdump: &Path, files: &[PathBuf]) -> (bool, String) {
    let mut check = Command::new("python3");
    let output =
        check.arg(root().join("scripts/check_sass.py")).arg("--mix").arg(cuobjdump).args(files).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), said)
}

/// What the attention kernels are made of: tensor cores, 16-byte accesses or boxes, no local memory; no register of a wgmma is
/// touched while it is under way.
#[test]
#[ignore = "needs a build with nvcc (scripts/install-nvcc), its cuobjdump and Python"]
fn attention_is_compiled_to_what_it_should_be() {
    let nvcc = std::env::var("NVCC").map_or(root().join(".nvcc/bin/nvcc"), Into::into);
    let folder = tempfile::tempdir().unwrap();
    let modules = fatbin::MODULES.iter().filter(|module| module.file.starts_with("attention"));
    let files = modules.map(|module| {
        let path = folder.path().join(module.file).with_extension("fatbin");
        std::fs::write(&path, module.image).unwrap();
        path
    });
    let (good, said) = check_sass(&nvcc.with_file_name("cuobjdump"), &files.collect::<Vec<_>>());
    assert!(good, "{said}");
    // For two architectures: the counts, the turn of the main loop, the estimate.
    assert_eq!(said.matches("attention_forward_64").count(), 6, "{said}");
    // For one: the counts.
    assert_eq!(said.matches("attention_hopper_").count(), 6, "{said}");
}

/// What ptxas made of a kernel with two products to a turn of its loop, each a group of its own, and with a left side in
/// registers: as it is, and with one line replaced.
#[test]
fn a_register_that_is_touched_in_flight_is_found() {
    const SASS: &str = include_str!("wgmma.sass");
    const BETWEEN: &str = "UIADD3.64 UR6, UR6, 0x80, URZ";
    let hazards = |from: &str, to: &str| {
        assert_eq!(SASS.matches(from).count(), 1, "{from}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doctored.sass");
        std::fs::write(&path, SASS.replace(from, to)).unwrap();
        let (_, said) = check_sass(Path::new("cuobjdump"), &[path]);
        let hazards = said.lines().filter(|line| line.contains("touches registers") || line.contains("does not know"));
        hazards.map(String::from).collect::<Vec<_>>()
    };
    for harmless in [BETWEEN, "FADD R60, R56, R57", "LDS.128 R60, [R2]", "ISETP.GE.AND P1, PT, R56, 0x1, PT"] {
        assert_eq!(hazards(BETWEEN, harmless), [""; 0], "{harmless}");
    }
    for (touch, words) in [
        ("FADD R2, R30, R31", "sums touched"),
        ("FADD R24, R2, R3", "sums touched"),
        ("STS.128 [R2], R20", ""),
        ("STS.128 [R2], R22", "sums touched"),
        ("LDG.E R57, desc[UR14][R2.64]", "left side overwritten"),
        ("LDS.64 R58, [R2]", "left side overwritten"),
        ("LDSM.16.M88.4 R53, [R2]", "sums touched"),
        ("@P0 MOV R59, R2", "left side overwritten"),
        ("LOP3.LUT P0, R56, R2, R3, RZ, 0xc0, !PT", "left side overwritten"),
        ("NEWOP R60, R61", "does not know"),
    ] {
        let found = hazards(BETWEEN, touch);
        let first = "at 0x5e0 before its wait, at 0x5f0: ";
        match words {
            "" => assert_eq!(found, [""; 0], "{touch}"),
            "does not know" => assert!(found[0].contains("NEWOP R60, R61"), "{found:?}"),
            words => assert!(found.len() == 1 && found[0].ends_with(&format!("{first}{words}")), "{touch}: {found:?}"),
        }
    }
    // A wait for one group too few: behind the loop, and in its next turn.
    let found = hazards("DEPBAR.LE gsb0, 0x0", "DEPBAR.LE gsb0, 0x1");
    assert!(found.iter().all(|line| line.contains("product at 0x600")), "{found:#?}");
    let has = |place: &str, words: &str| found.iter().any(|line| line.contains(place) && line.ends_with(words));
    assert!(has("at 0x660: ", "sums touched") && has("at 0x4c0: ", "left side overwritten"), "{found:#?}");
    // And none at all.
    assert!(hazards("WARPGROUP.DEPBAR.LE gsb0, 0x0", "NOP").len() > found.len());
}
