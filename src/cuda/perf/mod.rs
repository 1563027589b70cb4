//! How fast a step is and could be: peaks of cards, the roofline, a recorder of operations, and their measurement.

pub mod floors;
pub mod measure;
pub mod op_recorder;
pub mod peaks;
pub mod roofline;
