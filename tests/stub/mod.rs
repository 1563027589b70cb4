//! Stand-ins for NVIDIA's libraries, compiled when a test asks for them.

use std::path::Path;
use std::process::Command;

/// A folder with stand-ins for libcuda.so.1 and libcublasLt.so.13.
pub fn libraries() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (source, library) in [("cuda.c", "libcuda.so.1"), ("cublaslt.c", "libcublasLt.so.13")] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub").join(source);
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", &format!("-Wl,-soname,{library}"), "-o"]);
        let done = compiler.arg(folder.path().join(library)).arg(source).arg("-lm").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    folder
}
