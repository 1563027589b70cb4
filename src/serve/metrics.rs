//! What Prometheus reads at `/metrics`.

use crate::stream::StreamCounts;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

pub struct Metrics {
    registry: Registry,
    pub records: IntCounter,
    pub broken: IntCounter,
    pub anomalies: IntCounter,
    /// By endpoint and status.
    pub requests: IntCounterVec,
    /// By endpoint.
    pub request_seconds: HistogramVec,
    /// From when a record was read to when its answer was ready.
    pub record_seconds: Histogram,
    pub batches: IntCounter,
    pub batch_records: IntCounter,
    pub scored_tokens: IntCounter,
    pub generated_tokens: IntCounter,
    pub queued: IntGauge,
    pub active_requests: IntGauge,
    /// Named streams that are unlike the calibration.
    pub drift: IntGauge,
    pub model_loaded: IntGauge,
}

/// What a request had to do with, for the audit line.
#[derive(Default)]
pub struct RequestCounts {
    pub records: AtomicU64,
    pub anomalies: AtomicU64,
}

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the buckets of times, in seconds: from what a short record takes to what a long request does.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new_custom(Some("logwright".to_string()), None).expect("the prefix is a constant");
        let counter = |name: &str, help: &str| add(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| add(&registry, IntGauge::new(name, help));
        let times = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let info = IntGaugeVec::new(
            Opts::new("build_info", "1, with the version of the program and its commit."),
            &["version", "commit"],
        );
        let info = add(&registry, info);
        info.with_label_values(&[crate::version::VERSION, crate::version::COMMIT]).set(1);
        Metrics {
            records: counter("records_total", "Records that were answered, lines that are no records among them."),
            broken: counter("broken_records_total", "Lines that are no records that the model can read."),
            anomalies: counter("anomalies_total", "Anomalous records, or sessions where records are grouped."),
            requests: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("requests_total", "Requests that were answered."),
                    &["endpoint", "status"],
                ),
            ),
            request_seconds: add(
                &registry,
                HistogramVec::new(
                    times("request_seconds", "Time from a request to the end of its answer."),
                    &["endpoint"],
                ),
            ),
            record_seconds: add(
                &registry,
                Histogram::with_opts(times("record_seconds", "Time from when a record was read to its answer.")),
            ),
            batches: counter("batches_total", "Batches of records that the engine computed."),
            batch_records: counter("batch_records_total", "Records in these batches."),
            scored_tokens: counter("scored_tokens_total", "Tokens of records that were scored."),
            generated_tokens: counter("generated_tokens_total", "Tokens that were generated."),
            queued: gauge("queued_sequences", "Records that wait for the engine, or are being computed."),
            active_requests: gauge("active_requests", "Requests that are being computed."),
            drift: gauge("drifting_streams", "Named streams that are unlike the records of the calibration."),
            model_loaded: gauge("model_loaded_timestamp_seconds", "When the model was loaded, in seconds since 1970."),
            registry,
        }
    }

    /// A model was loaded.
    pub fn loaded(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.model_loaded.set(seconds as i64);
    }

    /// A stream has gone on from `before` to `now`.
    pub fn count(&self, before: &StreamCounts, now: &StreamCounts) {
        self.records.inc_by(now.records - before.records);
        self.broken.inc_by(now.broken - before.broken);
        self.anomalies.inc_by(now.anomalies - before.anomalies);
    }

    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        String::from_utf8(text).expect("the format is text")
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let made = made.expect("names and labels are constants");
    registry.register(Box::new(made.clone())).expect("each name is registered once");
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.records.inc_by(3);
        metrics.requests.with_label_values(&["/score", "200"]).inc();
        metrics.record_seconds.observe(0.004);
        let text = metrics.render();
        for line in [
            "# TYPE logwright_records_total counter",
            "logwright_records_total 3",
            "logwright_requests_total{endpoint=\"/score\",status=\"200\"} 1",
            "logwright_record_seconds_bucket{le=\"0.0025\"} 0",
            "logwright_record_seconds_bucket{le=\"0.005\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
