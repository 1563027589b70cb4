//! The model on a device: parameters, activations, the passes over them, the KV cache, and the engine on top.

pub mod activations;
mod backward;
pub mod engine;
mod forward;
pub mod kv_cache;
pub mod memory;
pub mod weights;
