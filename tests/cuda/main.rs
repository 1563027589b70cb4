//! The CUDA kernels against the CPU reference, on every device there is: the emulator here, a GPU where there is one.

mod adamw;
mod attention;
mod attention_hopper;
mod bias;
mod cross_entropy;
mod decode;
mod device;
mod embedding;
mod engine;
mod engine_memory;
mod gelu;
mod gemm;
mod harness;
mod layernorm;
mod measure;
mod naive;
mod sampling;
mod surprisals;

#[test]
fn the_kernel_table_agrees_with_the_sources() {
    logwright::cuda::emulator::device::check_signatures().unwrap();
}
