//! What the library computes, against references: central differences, PyTorch, the table of the kernels' resources.

mod cpu_batches;
mod cpu_gradients;
mod decode_batch;
mod pytorch;
mod resources;
mod sass;
