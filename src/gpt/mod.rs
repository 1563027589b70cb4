//! The model as data: its configuration, the table of its parameters, their initialisation, and the checkpoint folder.

pub mod checkpoint;
pub mod config;
pub mod init;
pub mod layout;

pub use config::Config;
pub use layout::Layout;
