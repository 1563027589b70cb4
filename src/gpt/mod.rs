//! The model as data: its configuration, the table of its parameters, their initialisation, its FLOPs, and the checkpoint
//! folder.

pub mod checkpoint;
mod checksums;
pub mod config;
pub mod flops;
pub mod init;
pub mod layout;
mod tensor_file;

pub use config::Config;
pub use flops::Flops;
pub use layout::Layout;
