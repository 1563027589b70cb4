//! The records of a stream, answered one by one on stdout.

use super::ahead::{Turn, read_ahead};
use super::args::ScoreArgs;
use super::explain;
use crate::cli::exit::Exit;
use crate::cli::interrupt::is_stopped;
use crate::cli::messages::above_bar;
use crate::cli::next;
use crate::cli::stdout::write_failed;
use indicatif::ProgressBar;
use logwright::Result;
use logwright::ingest::{Feed, FollowState, Input, Position};
use logwright::output::Writer;
use logwright::report::visible;
use logwright::score::{RecordReader, Scorer};
use logwright::stream::{Answer, BrokenLine, LineResult, Lines, RecordStream};
use logwright::words::counted;
use std::io::{Write, stdout};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Takes the records from the feed to stdout.
pub struct ScoreStream<'a> {
    args: &'a ScoreArgs,
    stream: RecordStream,
    inputs: Vec<Input>,
    printer: Printer<'a>,
    /// How far a growing file was answered, where that is to be kept.
    state: Option<FollowState>,
    /// Counts records.
    progress: ProgressBar,
}

/// Writes answers to stdout.
struct Printer<'a> {
    args: &'a ScoreArgs,
    writer: Writer,
    page: explain::Page,
    colour: bool,
    /// Whether alerts are printed instead of records.
    only_alerts: bool,
}

impl<'a> ScoreStream<'a> {
    /// `state` is how far the inputs were answered before, where that is kept.
    pub fn new(
        args: &'a ScoreArgs,
        stream: RecordStream,
        inputs: Vec<Input>,
        state: Option<FollowState>,
        page: explain::Page,
        progress: ProgressBar,
    ) -> Result<Self> {
        let (writer, colour) = (args.form.writer(&args.model)?, args.explain.colour());
        let printer = Printer { args, writer, page, colour, only_alerts: stream.has_alerts() };
        Ok(ScoreStream { args, stream, inputs, printer, state, progress })
    }

    pub fn run(mut self, scorer: &mut Scorer, stop: &AtomicBool) -> Result<Exit> {
        let begin = Instant::now();
        let ended = self.answer_all(scorer, stop);
        self.progress.finish_and_clear();
        // A reader of stdout that has left may still want the page.
        self.printer.page.write(&self.stream.detector)?;
        let ended = ended?;
        self.state.as_mut().map_or(Ok(()), FollowState::save)?;
        self.conclude(begin.elapsed().as_secs_f64());
        if is_stopped() && !self.args.follow {
            return Ok(Exit::Interrupted);
        }
        ended?;
        self.lead_on();
        Ok(Exit::Success)
    }

    /// The inner result is that of reading: what was found before an input failed is still printed.
    fn answer_all(&mut self, scorer: &mut Scorer, stop: &AtomicBool) -> Result<Result<()>> {
        self.printer.begin()?;
        let mut feed = self.args.feed(self.inputs.clone(), scorer)?;
        let ended = match scorer.model.is_beside_host() && !self.stream.has_sessions() {
            true => self.ahead(scorer, &mut feed, stop)?,
            false => self.batch_by_batch(scorer, &mut feed, stop)?,
        };
        let printer = &mut self.printer;
        self.stream.finish(&mut |tokens| scorer.model.sequence(tokens), &mut |answer| printer.print(answer))?;
        printer.flush()?;
        Ok(ended)
    }

    /// The device computes while the host reads and prints. The inner result is that of reading.
    fn ahead(&mut self, scorer: &mut Scorer, feed: &mut Feed, stop: &AtomicBool) -> Result<Result<()>> {
        let most = self.args.at_once(scorer);
        read_ahead(scorer, feed, most, stop, &mut |reader, turn| match turn {
            Turn::Idle => self.idle(),
            Turn::Computed(lines, nats) => {
                let (end, lines) = (lines.end(), lines.join(reader, nats));
                self.answer(end, lines, reader, &mut |_| unreachable!("sessions are not read ahead"))
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
            let (end, lines) = (lines.end(), lines.join(&scorer.reader, nats));
            let Scorer { model, reader } = scorer;
            self.answer(end, lines, reader, &mut |tokens| model.sequence(tokens))?;
        }
    }

    /// There was nothing to read for a moment.
    fn idle(&mut self) -> Result<()> {
        let printer = &mut self.printer;
        self.stream.idle(&mut |answer| printer.print(answer))?;
        self.printer.flush()?;
        self.state.as_mut().map_or(Ok(()), FollowState::idle)
    }

    /// Answers the lines of a batch, whose last ends at `end`.
    fn answer(
        &mut self,
        end: Option<(Position, u64)>,
        lines: Vec<(usize, u64, LineResult)>,
        reader: &RecordReader,
        sequence: &mut dyn FnMut(&[u32]) -> Result<f64>,
    ) -> Result<()> {
        let printer = &mut self.printer;
        self.progress.inc(lines.len() as u64);
        for (input, number, line) in lines {
            self.stream.line(reader.tokenizer, sequence, (input, number), line, &mut |answer| printer.print(answer))?;
        }
        self.printer.flush()?;
        match (&mut self.state, end) {
            (Some(state), Some((end, records))) => state.advance(end, records),
            _ => Ok(()),
        }
    }

    fn conclude(&self, seconds: f64) {
        let counts = self.stream.counts();
        let detector = &self.stream.detector;
        let what = if detector.method.group.is_some() { "anomalous session" } else { "anomalous record" };
        let found = detector.threshold.map_or(String::new(), |_| format!(": {}", counted(counts.anomalies, what)));
        let (records, speed) = (counted(counts.records, "record"), counts.records as f64 / seconds);
        let has_alerts = self.stream.has_alerts();
        let alerts = if has_alerts { format!(", {}", counted(counts.alerts, "alert")) } else { String::new() };
        tracing::info!("{records} in {seconds:.1} s ({speed:.0} records/s){found}{alerts}");
        if counts.broken > 0 {
            tracing::warn!("{} of them could not be scored; their errors are on stdout", counts.broken);
        }
    }

    /// What to do with the findings of files; who feeds a pipe knows.
    fn lead_on(&self) {
        let args = self.args;
        let (model, files): (_, Vec<_>) =
            (next::typed(&args.model), args.inputs.iter().map(|file| next::typed(file)).collect());
        let (detector, files) = (&self.stream.detector, files.join(" "));
        if files.is_empty() || files == "-" || args.follow {
            return;
        }
        if let Some(page) = args.explain.page_file() {
            next::step(format!("open {} in a browser", page.display()));
        } else if detector.threshold.is_none() {
            next::command(
                format!("logwright score --model {model} --calibrate NORMAL"),
                "NORMAL: normal records that training did not see; with them come a threshold and reasons",
            );
        } else if detector.method.group.is_none() && !args.explain.is_asked() {
            next::command(
                format!("logwright score --model {model} {files} --explain-html odd.html"),
                "a page that shows the unusual records and why",
            );
        } else {
            next::command("logwright known-good add --help", "how to say that a finding is no anomaly");
        }
    }
}

impl Printer<'_> {
    fn begin(&mut self) -> Result<()> {
        match self.args.explain.explain {
            true => self.write(&logwright::report::explain::legend(self.colour)),
            false => Ok(()),
        }
    }

    /// Writes an answer, if it is wished, to stdout, which is flushed after the batch.
    fn print(&mut self, answer: Answer) -> Result<()> {
        let is_wished = match &answer {
            Answer::Alert(_) | Answer::Broken(_) => true,
            Answer::Finding(_) if self.only_alerts => false,
            Answer::Finding(_) | Answer::Session(_) => !self.args.only_anomalies || answer.anomaly() == Some(true),
        };
        if is_wished {
            let text = self.text(&answer)?;
            self.write(&text)?;
        }
        if let Answer::Finding(finding) = answer {
            self.page.add(*finding);
        }
        Ok(())
    }

    fn text(&self, answer: &Answer) -> Result<String> {
        match answer {
            Answer::Finding(finding) if self.args.explain.explain => {
                Ok(logwright::report::explain::terminal(finding, self.colour))
            }
            Answer::Broken(BrokenLine { record, source, error, .. }) if self.args.explain.explain => {
                let source = source.as_ref().map(|source| format!("{source}, ")).unwrap_or_default();
                Ok(visible(format!("{source}record {record}: {error}").as_bytes()) + "\n\n")
            }
            _ => self.writer.line(answer),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        above_bar(|| stdout().lock().write_all(text.as_bytes())).map_err(write_failed)
    }

    fn flush(&mut self) -> Result<()> {
        above_bar(|| stdout().flush()).map_err(write_failed)
    }
}
