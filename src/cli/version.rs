//! `logwright --version`.

use logwright::cuda::gpu::fatbin;
use logwright::version::{COMMIT, VERSION, features};
use std::sync::LazyLock;

/// Version, commit, cargo features and embedded kernels.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let features = features();
        let features = if features.is_empty() { "none".to_string() } else { features.join(", ") };
        let kernels = match fatbin::NVCC {
            Some(nvcc) => format!("{}, by nvcc {nvcc}", architectures().join(", ")),
            None => "none (built without nvcc)".to_string(),
        };
        format!("{VERSION}\ncommit    {COMMIT}\nfeatures  {features}\nkernels   {kernels}")
    });
    &TEXT
}

/// The GPUs for which there are kernels, besides those that compile the PTX.
fn architectures() -> Vec<&'static str> {
    let mut found: Vec<&str> = fatbin::usages().iter().map(|usage| usage.architecture).collect();
    found.sort();
    found.dedup();
    found
}
