//! The program from end to end: what its commands write, print and refuse.

mod common;
#[path = "../stub/mod.rs"]
mod stub;

mod alerts;
mod bench;
mod constraint;
mod courses;
mod damaged;
mod demo;
mod detection;
#[cfg(feature = "emulator")]
mod emulator;
mod evaluate;
mod evidence;
mod faults;
mod features;
mod field;
mod finetune;
mod flags;
mod follow;
mod generate;
mod gpu_errors;
mod json_schema;
mod key_file;
mod known;
mod lead_on;
mod members;
mod pages;
mod parts;
mod passthrough;
mod prepare;
mod pseudonyms;
mod reference;
mod safety;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod shown;
mod sigma;
mod sigma_rule;
mod synth;
mod terminal;
mod train;
mod undo;
