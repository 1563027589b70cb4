//! The model on a device: parameters, activations, the passes over them, the KV cache, and the engine on top.

pub mod activations;
pub mod attention;
mod backward;
pub mod engine;
mod forward;
mod kv_cache;
pub mod memory;
pub mod new_rows;
mod optimizer;
pub mod parameters;
mod training_step;
mod workspace;
