//! The plain CPU engine: the specification that other engines are checked against, and what people without a GPU use.
//!
//! One file per operation; each has a forward and a backward pass in the letters of the design: B batch, T time, C channels,
//! NH heads, HS head size, V vocabulary, L layers, N = B*T rows. Activations and their gradients are overwritten (`=`),
//! parameter gradients are accumulated (`+=`). Operations are generic over f32 and f64: f32 runs, f64 lets the tests check
//! gradients by central differences.
//!
//! Work is cut into pieces whose size depends on shapes alone and partial sums are added in order, so results do not depend
//! on the number of threads. The losses of a sequence do not depend on the others of its batch, nor on padding behind it.

pub mod adamw;
pub mod attention;
pub mod cross_entropy;
pub mod decode;
pub mod embedding;
pub mod engine;
pub mod gelu;
pub mod layernorm;
pub mod linear;
pub mod matrix;
pub mod memory;
pub mod model;
pub mod real;
mod rows;
pub mod sampling;

pub use engine::CpuEngine;
pub use real::Real;
