//! What each kernel must compute and move at least: its floor, derived at build time from the `floor` line of its head
//! in `kernels/*.cu`. A kernel's struct has the sizes that its line names.

/// The least that a kernel must do in one launch.
pub trait Floor {
    /// The kernel's name.
    fn kernel(&self) -> String;

    fn bytes(&self) -> f64;

    fn flops(&self) -> f64;
}

include!(concat!(env!("OUT_DIR"), "/kernel_floors.rs"));
