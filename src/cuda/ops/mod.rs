//! One file per operation, named as its kernel file and its reference in [`crate::cpu`].
//!
//! An operation is a struct: its fields are the buffers by name, outputs first, so that none can be mistaken for
//! another, and `run` queues it. A driver asserts the lengths of its buffers, which bounds every index that its kernel
//! forms.

pub mod adamw;
pub mod attention;
pub mod attention_hopper;
pub mod bias;
pub mod cross_entropy;
pub mod decode;
pub mod embedding;
pub mod gelu;
pub mod layernorm;
pub mod linear;
pub mod sampling;
