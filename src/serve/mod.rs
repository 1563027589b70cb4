//! `logwright serve`: a model behind HTTP, which scores records and generates them.
//!
//! | file | what it does |
//! |---|---|
//! | `listen`, `patient` | connections: TCP, TLS, limits of time and number, a graceful stop |
//! | `router` | requests -> the function that answers them; who may ask; headers; the audit line |
//! | `model`, `compute` | a loaded model, which a reload swaps; the one thread that owns its engine, where requests share batches |
//! | `score`, `streams`, `body` | `POST /score`: lines in, answers out; streams that go on over several requests |
//! | `otlp`, `recent` | `POST /v1/logs`: records from OpenTelemetry, and the last anomalies among them |
//! | `completions`, `models` | `POST /v1/completions` and `GET /v1/models`, as OpenAI's clients expect them |
//! | `metrics` | what Prometheus reads |
//!
//! A request that computes has a thread of its own, which reads and answers its records one after another; the runtime only moves
//! bytes. What may wait is bounded: requests, the bytes of a body that were not read yet, and the answers that a client has not
//! taken.

mod auth;
mod body;
mod completions;
mod compute;
mod fault;
mod guard;
mod listen;
mod metrics;
mod model;
mod models;
mod otlp;
mod page;
mod patient;
mod query;
mod recent;
mod router;
mod score;
mod server;
mod settings;
mod streams;
mod tls;

pub use auth::Tokens;
pub use compute::ComputeLimits;
pub use listen::run;
pub use model::{Load, ModelParts};
pub use settings::Settings;
pub use tls::TlsFiles;
