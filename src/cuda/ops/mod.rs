//! One file per operation, named as its kernel file and its reference in [`crate::cpu`]. A driver asserts the lengths of its
//! buffers, which bounds every index that its kernel forms, and launches.

pub mod adamw;
pub mod attention;
pub mod bias;
pub mod cross_entropy;
pub mod decode;
pub mod embedding;
pub mod gelu;
pub mod layernorm;
pub mod linear;
pub mod sampling;
