//!

pub mod synth;
