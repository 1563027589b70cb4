//! The entries that `KERNEL_EXPORT` gives the kernels of `kernels/*.cu`, in the order of the kernel table. The build
//! derives the list from their source (`kernels/build/table`); an entry that the compiled kernels lack is a link error.

use super::runtime::Entry;

include!(concat!(env!("OUT_DIR"), "/emulator_entries.rs"));
