//! Takes the lines of a stream, one after another, to answers.

use super::alerting::Alerting;
use super::answer::{Answer, BrokenLine};
use super::lines::LineResult;
use super::sessions::{self, Closed, Grouped, SequenceSurprisal};
use crate::Result;
use crate::alerts::Alert;
use crate::finding::Finding;
use crate::ingest::{RecordFault, head};
use crate::known::Known;
use crate::score::{Assessed, Detector, DriftMonitor, ReadRecord, ScoredRecord, Showing};
use crate::tokens::Tokenizer;
use std::sync::Arc;

/// What the answers of a stream show.
#[derive(Debug, Default)]
pub struct StreamOptions {
    pub showing: Showing,
    /// Fields to name per record; 0: all.
    pub top_fields: usize,
    /// Whether findings have all their tokens, with their surprisal.
    pub shaded: bool,
    /// Whether lines that are no records may be shown: not where names are to be replaced, which is done in records alone.
    pub shows_broken_lines: bool,
    /// Whether a message says when drift begins, and in which fields.
    pub tells_drift: bool,
    /// The names of the inputs, where there are several.
    pub sources: Vec<String>,
}

/// How many lines a stream had, and what was found in them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamCounts {
    pub records: u64,
    /// Lines that are no records.
    pub broken: u64,
    /// Anomalous records, or sessions where records are grouped.
    pub anomalies: u64,
    pub alerts: u64,
}

/// The state of a stream.
pub struct RecordStream {
    pub detector: Detector,
    known: Arc<Known>,
    /// May change between lines.
    pub options: StreamOptions,
    /// Where alerts are wanted.
    alerting: Option<Alerting>,
    /// Open sessions, where records are grouped.
    grouped: Option<Grouped>,
    /// Watches whether records are still as they were in the calibration, where there is one.
    monitor: Option<DriftMonitor>,
    counts: StreamCounts,
}

/// Takes the answers of a stream in their order.
pub type AnswerSink<'a> = &'a mut dyn FnMut(Answer) -> Result<()>;

impl RecordStream {
    pub fn new(detector: Detector, known: Arc<Known>, options: StreamOptions, alerting: Option<Alerting>) -> Self {
        let grouped = detector.method.group.clone().map(|group| Grouped::new(group, detector.in_clear));
        let monitor = detector.drift_monitor();
        RecordStream { detector, known, options, alerting, grouped, monitor, counts: StreamCounts::default() }
    }

    /// Goes on with what was learnt anew. Open sessions stay open where sessions are still of the same kind; else they are
    /// forgotten, since what is known of sessions is no longer about them.
    pub fn adopt(&mut self, detector: Detector, known: Arc<Known>) {
        if detector.method.group != self.detector.method.group {
            self.grouped = detector.method.group.clone().map(|group| Grouped::new(group, detector.in_clear));
        }
        self.monitor = detector.drift_monitor();
        (self.detector, self.known) = (detector, known);
    }

    pub fn counts(&self) -> StreamCounts {
        self.counts
    }

    /// Whether records are grouped into sessions.
    pub fn has_sessions(&self) -> bool {
        self.grouped.is_some()
    }

    /// Whether the stream answers with alerts too.
    pub fn has_alerts(&self) -> bool {
        self.alerting.is_some()
    }

    /// Whether the stream is at present unlike the calibration.
    pub fn is_drifting(&self) -> bool {
        self.monitor.as_ref().is_some_and(|monitor| monitor.drift().is_some())
    }

    /// Answers one line of an input; `sequence` measures sessions.
    pub fn line(
        &mut self,
        tokenizer: &Tokenizer,
        sequence: SequenceSurprisal,
        (input, number): (usize, u64),
        line: LineResult,
        sink: AnswerSink,
    ) -> Result<()> {
        self.counts.records += 1;
        let (read, mut measured) = match line {
            Ok(record) => record,
            Err(fault) => return self.broken((input, number), &fault, sink),
        };
        self.known.excuse(&mut measured);
        let place = (input, number);
        match self.grouped.is_some() {
            true => self.member(tokenizer, sequence, place, &read, &measured, sink),
            false => self.record(tokenizer, place, &read, &measured, sink),
        }
    }

    /// There is no line for a moment: alerts may close.
    pub fn idle(&mut self, sink: AnswerSink) -> Result<()> {
        let closed = self.alerting.as_mut().map(Alerting::idle).unwrap_or_default();
        send_alerts(closed, sink)
    }

    /// There are no more lines: open sessions and alerts close.
    pub fn finish(&mut self, sequence: SequenceSurprisal, sink: AnswerSink) -> Result<()> {
        if let Some(grouped) = self.grouped.take() {
            grouped.finish().try_for_each(|session| self.session(sequence, session, sink))?;
        }
        let closed = self.alerting.as_mut().map(Alerting::finish).unwrap_or_default();
        send_alerts(closed, sink)
    }

    fn record(
        &mut self,
        tokenizer: &Tokenizer,
        place: (usize, u64),
        read: &[u8],
        measured: &ScoredRecord,
        sink: AnswerSink,
    ) -> Result<()> {
        if let Some(alerting) = &mut self.alerting {
            let (threshold, closed) = alerting.record(self.options.showing.seconds(read));
            self.detector.threshold = Some(threshold);
            send_alerts(closed, sink)?;
        }
        let assessed = self.detector.assess(measured);
        let mut finding = self.finding(tokenizer, place, read, measured, &assessed);
        self.watch(measured, &assessed, finding.anomaly == Some(true));
        finding.drift = self.monitor.as_ref().and_then(DriftMonitor::drift).cloned();
        self.counts.anomalies += u64::from(finding.anomaly == Some(true));
        let alerting = self.alerting.as_mut();
        let opened = alerting.and_then(|alerting| alerting.add(&finding, measured, self.detector.in_clear).cloned());
        self.counts.alerts += u64::from(opened.is_some());
        sink(Answer::Finding(Box::new(finding)))?;
        send_alerts(opened, sink)
    }

    /// Watches for drift; says so once when it begins.
    fn watch(&mut self, measured: &ScoredRecord, assessed: &Assessed, is_anomaly: bool) {
        let Some(((monitor, normal), evidence)) =
            self.monitor.as_mut().zip(self.detector.normal()).zip(assessed.evidence.as_ref())
        else {
            return;
        };
        let path = |place: usize| measured.parts.fields[place].path.as_str();
        if monitor.observe(evidence, path, is_anomaly, normal)
            && self.options.tells_drift
            && let Some(drift) = monitor.drift()
        {
            // Names of members may hold anything.
            let paths: Vec<String> = drift.paths.iter().map(|path| path.path.escape_debug().to_string()).collect();
            let moved = if paths.is_empty() { String::new() } else { format!("; moved: {}", paths.join(", ")) };
            tracing::warn!(
                "from record {} on, records are unlike those of the calibration: {:.1} % anomalies where {:.1} % are usual{moved}. If \
                 they are normal, calibrate again: --recalibrate FILE with recent normal records",
                drift.since,
                100.0 * drift.flagged,
                100.0 * drift.expected
            );
        }
    }

    fn finding(
        &self,
        tokenizer: &Tokenizer,
        (input, number): (usize, u64),
        read: &[u8],
        measured: &ScoredRecord,
        assessed: &Assessed,
    ) -> Finding {
        let StreamOptions { showing, top_fields, shaded, .. } = &self.options;
        let source = self.source(input);
        let compares = self.alerting.is_some() || self.known.has_templates();
        let top = if compares { Alerting::fields(*top_fields) } else { *top_fields };
        let finding = self.detector.finding((measured, assessed), (number, source.as_deref()), tokenizer, top, *shaded);
        let read = ReadRecord { bytes: read, number, source: source.as_deref() };
        let (origin, attached) = (showing.origin(read, measured), showing.attached(read, measured));
        let finding = Finding { origin, attached, ..finding };
        match self.known.judge(&finding, measured) {
            Some(known) => Finding { anomaly: Some(known.state == "bad"), known: Some(known), ..finding },
            None => finding,
        }
    }

    /// A record joins its session; sessions that end with it are answered.
    fn member(
        &mut self,
        tokenizer: &Tokenizer,
        sequence: SequenceSurprisal,
        (input, number): (usize, u64),
        read: &[u8],
        measured: &ScoredRecord,
        sink: AnswerSink,
    ) -> Result<()> {
        let (assessed, source) = (self.detector.assess(measured), self.source(input));
        self.watch(measured, &assessed, false);
        let mut grouped = self.grouped.take().expect("records are grouped");
        // The threshold is for sessions, so a single record has no verdict.
        let describe = || Finding {
            threshold: None,
            anomaly: None,
            known: None,
            ..self.finding(tokenizer, (input, number), read, measured, &assessed)
        };
        let added = grouped.add(self.counts.records, (number, source.as_deref()), measured, &assessed, describe);
        self.grouped = Some(grouped);
        match added {
            Err(message) => self.broken((input, number), &RecordFault { message, head: head(read) }, sink),
            Ok(closed) => closed.into_iter().try_for_each(|session| self.session(sequence, session, sink)),
        }
    }

    fn session(&mut self, sequence: SequenceSurprisal, session: Closed, sink: AnswerSink) -> Result<()> {
        let session = sessions::describe(&self.detector, sequence, session)?;
        self.counts.anomalies += u64::from(session.anomaly == Some(true));
        sink(Answer::Session(session))
    }

    fn broken(&mut self, (input, number): (usize, u64), fault: &RecordFault, sink: AnswerSink) -> Result<()> {
        self.counts.broken += 1;
        let line = BrokenLine::new(number, self.source(input), fault, self.options.shows_broken_lines);
        sink(Answer::Broken(line))
    }

    /// The name of an input, where there are several.
    fn source(&self, input: usize) -> Option<String> {
        let sources = &self.options.sources;
        (sources.len() > 1).then(|| sources[input].clone())
    }
}

fn send_alerts(alerts: impl IntoIterator<Item = Alert>, sink: AnswerSink) -> Result<()> {
    alerts.into_iter().try_for_each(|alert| sink(Answer::Alert(Box::new(alert))))
}
