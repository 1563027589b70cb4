//! The records of a stream, answered one by one on stdout.

use super::ahead::{Turn, read_ahead};
use super::alerts::Alerting;
use super::args::ScoreArgs;
use super::explain;
use super::lines::{LineResult, Lines};
use super::sessions::{self, Grouped};
use crate::cli::exit::Exit;
use crate::cli::interrupt::is_stopped;
use crate::cli::stdout::write_failed;
use logwright::alerts::Alert;
use logwright::finding::Finding;
use logwright::ingest::{Feed, FollowState, Input, Position, RecordFault, head};
use logwright::known::Known;
use logwright::report::visible;
use logwright::score::{Assessed, Detector, DriftMonitor, ReadRecord, ScoredRecord, Scorer, Showing};
use logwright::tokens::Tokenizer;
use logwright::words::counted;
use logwright::{Error, Result};
use serde_json::{Value, json};
use std::io::{Write, stdout};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Takes the records from the feed to stdout.
pub struct ScoreStream<'a> {
    args: &'a ScoreArgs,
    detector: Detector,
    showing: Showing,
    known: Known,
    /// Where alerts are printed instead of records.
    alerting: Option<Alerting>,
    inputs: Vec<Input>,
    /// How far a growing file was answered, where that is to be kept.
    state: Option<FollowState>,
    /// Open sessions, where records are grouped.
    grouped: Option<Grouped>,
    /// Watches whether records are still as they were in the calibration, where there is one.
    monitor: Option<DriftMonitor>,
    page: explain::Page,
    colour: bool,
    records: u64,
    broken: u64,
    anomalies: u64,
}

impl<'a> ScoreStream<'a> {
    pub fn new(
        args: &'a ScoreArgs,
        detector: Detector,
        showing: Showing,
        known: Known,
        alerting: Option<Alerting>,
        page: explain::Page,
    ) -> Result<Self> {
        let grouped = detector.method.group.clone().map(|group| Grouped::new(group, detector.in_clear));
        let monitor = detector.drift_monitor();
        let state = args.state()?;
        let (inputs, colour) = (args.streams(state.as_ref()), args.explain.colour());
        Ok(ScoreStream {
            args,
            detector,
            showing,
            known,
            alerting,
            inputs,
            state,
            grouped,
            monitor,
            page,
            colour,
            records: 0,
            broken: 0,
            anomalies: 0,
        })
    }

    pub fn run(mut self, scorer: &mut Scorer, stop: &AtomicBool) -> Result<Exit> {
        let begin = Instant::now();
        if self.args.explain.explain {
            self.print(&logwright::report::explain::legend(self.colour))?;
        }
        let mut feed = self.args.feed(self.inputs.clone(), scorer)?;
        // What was found before an input failed is still printed.
        let ended = match scorer.model.is_beside_host() && self.grouped.is_none() {
            true => self.ahead(scorer, &mut feed, stop)?,
            false => self.batch_by_batch(scorer, &mut feed, stop)?,
        };
        if let Some(grouped) = self.grouped.take() {
            for session in grouped.finish() {
                self.session(scorer, session)?;
            }
        }
        let closed = self.alerting.as_mut().map(Alerting::finish).unwrap_or_default();
        self.alerts(&closed)?;
        self.flush()?;
        self.state.as_mut().map_or(Ok(()), FollowState::save)?;
        self.page.write(&self.detector)?;
        self.conclude(begin.elapsed().as_secs_f64());
        match is_stopped() && !self.args.follow {
            true => Ok(Exit::Interrupted),
            false => ended.map(|()| Exit::Success),
        }
    }

    /// The device computes while the host reads and prints. The inner result is that of reading.
    fn ahead(&mut self, scorer: &mut Scorer, feed: &mut Feed, stop: &AtomicBool) -> Result<Result<()>> {
        let most = self.args.at_once(scorer);
        read_ahead(scorer, feed, most, stop, &mut |reader, turn| match turn {
            Turn::Idle => self.idle(),
            Turn::Computed(lines, nats) => {
                let (end, outcomes) = (lines.end(), lines.join(reader, nats));
                self.answer(end, outcomes, |stream, place, read, measured| {
                    stream.record(reader.tokenizer, place, read, measured)
                })
            }
        })
    }

    /// One batch after another. The inner result is that of reading.
    fn batch_by_batch(&mut self, scorer: &mut Scorer, feed: &mut Feed, stop: &AtomicBool) -> Result<Result<()>> {
        loop {
            let lines = match feed.next(self.args.at_once(scorer), stop) {
                Ok(Some(lines)) if lines.is_empty() => {
                    self.idle()?;
                    continue;
                }
                Ok(Some(lines)) => Lines::read(&mut scorer.reader, lines),
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            let nats = scorer.model.surprisals(&lines.tokenized)?;
            let (end, outcomes) = (lines.end(), lines.join(&scorer.reader, nats));
            self.answer(end, outcomes, |stream, place, read, measured| match stream.grouped.is_some() {
                true => stream.member(scorer, place, read, measured),
                false => stream.record(scorer.reader.tokenizer, place, read, measured),
            })?;
        }
    }

    /// There was nothing to read for a moment.
    fn idle(&mut self) -> Result<()> {
        let closed = self.alerting.as_mut().map(Alerting::idle).unwrap_or_default();
        self.alerts(&closed)?;
        self.flush()?;
        self.state.as_mut().map_or(Ok(()), FollowState::idle)
    }

    /// Answers the lines of a batch, whose last ends at `end`; `record` those that are records.
    fn answer(
        &mut self,
        end: Option<(Position, u64)>,
        outcomes: Vec<(usize, u64, LineResult)>,
        mut record: impl FnMut(&mut Self, (usize, u64), &[u8], &ScoredRecord) -> Result<()>,
    ) -> Result<()> {
        for (input, number, outcome) in outcomes {
            self.records += 1;
            match outcome {
                Err(fault) => self.broken(input, number, &fault)?,
                Ok((read, mut measured)) => {
                    self.known.excuse(&mut measured);
                    record(self, (input, number), &read, &measured)?;
                }
            }
        }
        self.flush()?;
        match (&mut self.state, end) {
            (Some(state), Some((end, records))) => state.advance(end, records),
            _ => Ok(()),
        }
    }

    fn record(
        &mut self,
        tokenizer: &Tokenizer,
        place: (usize, u64),
        read: &[u8],
        measured: &ScoredRecord,
    ) -> Result<()> {
        if let Some(alerting) = &mut self.alerting {
            let (threshold, closed) = alerting.record(self.showing.seconds(read));
            self.detector.threshold = Some(threshold);
            self.alerts(&closed)?;
        }
        let assessed = self.detector.assess(measured);
        let mut finding = self.finding(tokenizer, place, read, measured, &assessed);
        self.watch(measured, &assessed, finding.anomaly == Some(true));
        finding.drift = self.monitor.as_ref().and_then(DriftMonitor::drift).cloned();
        self.anomalies += u64::from(finding.anomaly == Some(true));
        if let Some(alerting) = &mut self.alerting {
            if let Some(opened) = alerting.add(&finding, measured, self.detector.in_clear).cloned() {
                self.alerts(&[opened])?;
            }
        } else if !self.args.only_anomalies || finding.anomaly == Some(true) {
            let text = match self.args.explain.explain {
                true => logwright::report::explain::terminal(&finding, self.colour),
                false => serde_json::to_string(&finding).map_err(Error::failed)? + "\n",
            };
            self.print(&text)?;
        }
        self.page.add(finding);
        Ok(())
    }

    fn alerts(&mut self, alerts: &[Alert]) -> Result<()> {
        for alert in alerts {
            let text = serde_json::to_string(alert).map_err(Error::failed)?;
            self.print(&(text + "\n"))?;
        }
        Ok(())
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
            && let Some(drift) = monitor.drift()
        {
            let paths: Vec<&str> = drift.paths.iter().map(|path| path.path.as_str()).collect();
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
        let (shaded, source) = (self.args.explain.is_asked(), self.source(input));
        let place = (number, source.as_deref());
        let asked = self.args.top_fields;
        let compares = self.alerting.is_some() || self.known.has_templates();
        let top = if compares { Alerting::fields(asked) } else { asked };
        let finding = self.detector.finding((measured, assessed), place, tokenizer, top, shaded);
        let read = ReadRecord { bytes: read, number, source: source.as_deref() };
        let (origin, attached) = (self.showing.origin(read, measured), self.showing.attached(read, measured));
        let finding = Finding { origin, attached, ..finding };
        match self.known.judge(&finding, measured) {
            Some(known) => Finding { anomaly: Some(known.state == "bad"), known: Some(known), ..finding },
            None => finding,
        }
    }

    /// A record joins its session; sessions that end with it are printed.
    fn member(
        &mut self,
        scorer: &mut Scorer,
        (input, number): (usize, u64),
        read: &[u8],
        measured: &ScoredRecord,
    ) -> Result<()> {
        let (assessed, source) = (self.detector.assess(measured), self.source(input));
        self.watch(measured, &assessed, false);
        let mut grouped = self.grouped.take().expect("records are grouped");
        // The threshold is for sessions, so a single record has no verdict.
        let describe = || Finding {
            threshold: None,
            anomaly: None,
            known: None,
            ..self.finding(scorer.reader.tokenizer, (input, number), read, measured, &assessed)
        };
        let added = grouped.add(self.records, (number, source.as_deref()), measured, &assessed, describe);
        self.grouped = Some(grouped);
        match added {
            Err(message) => self.broken(input, number, &RecordFault { message, head: head(read) }),
            Ok(closed) => closed.into_iter().try_for_each(|session| self.session(scorer, session)),
        }
    }

    fn session(&mut self, scorer: &mut Scorer, session: sessions::Closed) -> Result<()> {
        let (anomaly, value) = sessions::describe(&self.detector, scorer, session)?;
        self.anomalies += u64::from(anomaly == Some(true));
        if self.args.only_anomalies && anomaly != Some(true) {
            return Ok(());
        }
        self.print(&format!("{value}\n"))
    }

    fn broken(&mut self, input: usize, number: u64, fault: &RecordFault) -> Result<()> {
        self.broken += 1;
        if self.args.explain.explain {
            let source = self.source(input).map(|source| format!("{source}, ")).unwrap_or_default();
            let text = format!("{source}record {number}: {}", fault.message);
            return self.print(&(visible(text.as_bytes()) + "\n\n"));
        }
        let mut value = json!({ "record": number });
        if let Some(source) = self.source(input) {
            value["source"] = source.into();
        }
        value["error"] = Value::from(fault.message.as_str());
        if self.args.shows_broken_lines() && !fault.head.is_empty() {
            value["head"] = String::from_utf8_lossy(&fault.head).into();
        }
        self.print(&format!("{value}\n"))
    }

    /// The name of an input, where there are several.
    fn source(&self, input: usize) -> Option<String> {
        let name = |input: &Input| match input {
            Input::Stdin => "stdin".to_string(),
            Input::Path(path) | Input::Growing { path, .. } => path.display().to_string(),
        };
        (self.inputs.len() > 1).then(|| name(&self.inputs[input]))
    }

    /// Writes to stdout, which is flushed after the batch.
    fn print(&mut self, text: &str) -> Result<()> {
        let written = stdout().lock().write_all(text.as_bytes());
        self.check(written)
    }

    fn flush(&mut self) -> Result<()> {
        let written = stdout().flush();
        self.check(written)
    }

    /// A reader of stdout that has left may still want the page.
    fn check(&mut self, written: std::io::Result<()>) -> Result<()> {
        let Err(error) = written else { return Ok(()) };
        self.page.write(&self.detector)?;
        Err(write_failed(error))
    }

    fn conclude(&self, seconds: f64) {
        let what = if self.detector.method.group.is_some() { "anomalous session" } else { "anomalous record" };
        let found = self.detector.threshold.map_or(String::new(), |_| format!(": {}", counted(self.anomalies, what)));
        let (records, speed) = (counted(self.records, "record"), self.records as f64 / seconds);
        let alerts = self.alerting.as_ref();
        let alerts = alerts.map_or(String::new(), |alerting| format!(", {}", counted(alerting.opened, "alert")));
        tracing::info!("{records} in {seconds:.1} s ({speed:.0} records/s){found}{alerts}");
        if self.broken > 0 {
            tracing::warn!("{} of them could not be scored; their errors are on stdout", self.broken);
        }
    }
}
