//! The built-in log source: sign-in records like those of Azure AD, from a small, seeded simulation of people at work.
//!
//! Users with homes, offices, devices, favourite applications and working hours sign in. Passwords expire, or are mistyped
//! and retried; some applications require a second factor. Attack episodes are mixed in and labelled. The records are in
//! time order, the same seed always gives the same bytes, and memory does not grow with the number of records.

mod attack;
mod episode;
mod people;
mod record;
mod rng;
mod sign_ins;
mod world;

pub use attack::Attack;
pub use people::MAX_USERS;
pub use sign_ins::{DEFAULT_START, MIN_USERS, SignIn, SignIns, SynthSettings};
