//! What a server is told at its start.

use super::auth::Tokens;
use super::compute::ComputeLimits;
use super::tls::TlsFiles;
use crate::ingest::{InputFormat, ReadOptions, RecordStart};
use crate::record::Records;
use crate::{Error, Result};
use std::net::SocketAddr;
use std::time::Duration;

/// Where a server listens, whom it answers, and what it bears.
pub struct Settings {
    pub listen: SocketAddr,
    /// Who may ask; None: anybody who reaches it.
    pub tokens: Option<Tokens>,
    pub tls: Option<TlsFiles>,
    /// Names of this server beside its addresses, in lower case and without port.
    pub hosts: Vec<String>,
    /// Whether it may listen beyond this machine without tokens or without TLS.
    pub insecure: bool,
    /// The name of the model in answers.
    pub model_name: String,
    /// Requests that are computed at once; further ones are refused for a moment.
    pub max_requests: usize,
    /// Bytes of a body, as they are sent.
    pub max_body_bytes: u64,
    pub max_record_bytes: usize,
    /// How long a client may send nothing, or take nothing, in the middle of a request; and how long a stop waits.
    pub timeout: Duration,
    /// Named streams that are remembered, and for how long without a record.
    pub max_streams: usize,
    pub stream_idle: Duration,
    pub limits: ComputeLimits,
    pub format: Option<InputFormat>,
    pub record_start: Option<RecordStart>,
    /// Whether findings show what pseudonyms stand for, and whether names are replaced.
    pub in_clear: bool,
    pub replaces_names: bool,
}

impl Settings {
    /// Errors: an address beyond this machine without tokens and TLS.
    pub fn check(&self) -> Result<()> {
        let missing = match (&self.tokens, &self.tls) {
            (None, None) => "--token-file, --tls-cert and --tls-key",
            (None, Some(_)) => "--token-file",
            (Some(_), None) => "--tls-cert and --tls-key",
            (Some(_), Some(_)) => return Ok(()),
        };
        if self.insecure || self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::usage(format!(
            "--listen {}: other machines reach this address, and logs would pass unprotected; give {missing}, listen on 127.0.0.1 behind a \
             proxy, or say --insecure",
            self.listen
        )))
    }

    /// How bodies are read for a model that has learnt records like these.
    pub fn read_options(&self, records: &Records) -> Result<ReadOptions> {
        let mut options = ReadOptions {
            format: self.format,
            max_record_bytes: self.max_record_bytes,
            answer_faults: true,
            ..ReadOptions::like(records)?
        };
        if let Some(start) = &self.record_start {
            options.record_start = start.clone();
        }
        Ok(options)
    }
}
