//! The CUDA kernels against the CPU reference, on every device there is: the emulator here, a GPU where there is one.

mod device;
mod gemm;
mod harness;
mod layernorm;

#[test]
fn the_kernel_table_agrees_with_the_sources() {
    logwright::cuda::emulator::check_signatures().unwrap();
}
