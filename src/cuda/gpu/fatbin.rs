//! The kernels that the build embedded: machine code for sm_80 and sm_90a, PTX for what comes later.

/// The file that the build wrote.
mod built {
    #[allow(unused_imports, reason = "a build without nvcc embeds nothing")]
    use super::{Aligned, Module, Usage};
    include!(concat!(env!("OUT_DIR"), "/fatbin.rs"));
}

/// Version of the nvcc that compiled the kernels; `None` when the build found none.
pub const NVCC: Option<&str> = built::NVCC;

/// One module for each kernel file; empty when the build found no nvcc.
pub static MODULES: &[Module] = built::MODULES;

/// The message of a build without nvcc.
pub const NONE: &str = "this program was built without nvcc and has no GPU kernels";

/// How to get kernels into the program.
pub const HOW: &str = "install the CUDA toolkit (12 or 13) or run scripts/install-nvcc, then build again; \
                       the build looks at $NVCC, $CUDA_HOME/bin, PATH and .nvcc/";

/// A kernel file as `cuModuleLoadData` takes it.
pub struct Module {
    pub file: &'static str,
    /// The compute capability of the only cards that it is for; None: all that the program supports.
    pub only: Option<(u32, u32)>,
    pub image: &'static [u8],
    /// By kernel and architecture.
    pub usages: &'static [Usage],
}

/// The resources of a kernel on an architecture, as ptxas reported them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Usage {
    pub kernel: &'static str,
    pub architecture: &'static str,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes of spill stores and loads of a thread.
    pub spills: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
}

/// Every kernel's usage, sorted by kernel and architecture.
pub fn usages() -> Vec<Usage> {
    let mut usages: Vec<Usage> = MODULES.iter().flat_map(|module| module.usages).copied().collect();
    usages.sort();
    usages
}

/// The loader reads 8-byte words.
#[repr(align(16))]
#[allow(dead_code, reason = "a build without nvcc embeds nothing")]
struct Aligned<const N: usize>([u8; N]);
