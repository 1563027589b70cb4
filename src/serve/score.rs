//! `POST /score`: lines in, answers out, in order, while they come.

use super::body::{BodyReader, Reply, status_of};
use super::fault::Fault;
use super::metrics::RequestCounts;
use super::model::ServedModel;
use super::query::ScoreQuery;
use super::server::Server;
use super::streams::NamedStream;
use crate::finding::{Finding, Shaded, whole_characters};
use crate::ingest::{Feed, InputRecord};
use crate::output::Writer;
use crate::stream::{Answer, Lines, RecordStream};
use crate::{Error, Result};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

/// Encodings of a body that reading recognises by its first bytes.
const ENCODINGS: [&str; 4] = ["identity", "gzip", "x-gzip", "zstd"];
/// Batches of one request on their way: one that is computed, and one that waits for it.
const UNDER_WAY: usize = 2;

pub async fn score(
    State(server): State<Arc<Server>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> std::result::Result<Response, Fault> {
    let asked = ScoreQuery::parse(uri.query())?;
    check_body(&headers, server.settings.max_body_bytes)?;
    let (model, place) = (server.model()?, server.place()?);
    let settings = &server.settings;
    let options = asked.stream_options(&model.records, settings.in_clear, settings.replaces_names)?;
    let stream = match &asked.stream {
        Some(name) => Continued::Named(server.streams.continued(&of_score(name), &model, options)?),
        None => Continued::Own(Box::new(RecordStream::new(model.detector.clone(), model.known.clone(), options, None))),
    };
    let broke = Arc::new(OnceLock::new());
    let reader = BodyReader::new(body, server.body_limits(), broke.clone());
    let read_options = settings.read_options(&model.records)?;
    let feed = Feed::of_stream("the body of the request", Box::new(reader), read_options, 2 * settings.limits.batch);
    let (reply, begun) = Reply::new(settings.timeout);
    let counts = Arc::new(RequestCounts::default());
    let out = Output { lines: asked.writer(&settings.model_name), text: Vec::new(), reply };
    let request = Request { server, model, asked, stream, out, counts: counts.clone(), _place: place };
    std::thread::spawn(move || request.run(feed, &broke));
    begun.response("application/x-ndjson", counts).await
}

/// The key of a stream that a client named.
fn of_score(name: &str) -> String {
    format!("score:{name}")
}

/// Refuses at once what cannot be read.
fn check_body(headers: &HeaderMap, most: u64) -> std::result::Result<(), Fault> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    if let Some(encoding) = text(header::CONTENT_ENCODING)
        && !ENCODINGS.contains(&encoding.to_ascii_lowercase().as_str())
    {
        return Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding: expected one of {}, found {encoding:?}", ENCODINGS.join(", ")),
        ));
    }
    match text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > most => Err(Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has {length} bytes, more than {most} (--max-body-bytes)"),
        )),
        _ => Ok(()),
    }
}

/// A stream of this request's own, or a named one that it continues.
enum Continued {
    Own(Box<RecordStream>),
    Named(OwnedMutexGuard<NamedStream>),
}

impl Continued {
    fn stream(&mut self) -> &mut RecordStream {
        match self {
            Continued::Own(stream) => stream,
            Continued::Named(named) => &mut named.stream,
        }
    }
}

/// A request in its thread.
struct Request {
    server: Arc<Server>,
    model: Arc<ServedModel>,
    asked: ScoreQuery,
    stream: Continued,
    out: Output,
    counts: Arc<RequestCounts>,
    _place: OwnedSemaphorePermit,
}

/// Answers that are ready, and the way to the client.
struct Output {
    lines: Writer,
    text: Vec<u8>,
    reply: Reply,
}

/// Why a request ends early.
enum Ended {
    Faulty(Fault),
    ClientLeft,
}

/// Lines that are on their way through the model.
struct UnderWay {
    lines: Lines,
    pending: Option<super::compute::Pending>,
    read: Instant,
}

impl Request {
    fn run(mut self, mut feed: Feed, broke: &OnceLock<ErrorKind>) {
        let outcome = self.answer_all(&mut feed, broke);
        // What still reads the body stops.
        let _ = broke.set(ErrorKind::ConnectionAborted);
        let Request { server, stream, mut out, asked, .. } = self;
        if let (Continued::Named(mut named), Some(name)) = (stream, &asked.stream) {
            named.rest();
            // A stream whose end was not answered goes on.
            if asked.end && outcome.is_ok() {
                server.streams.end(&of_score(name));
            }
        }
        match outcome {
            Ok(()) => {
                out.flush();
                out.reply.finish();
            }
            Err(Ended::ClientLeft) => out.reply.abort(),
            Err(Ended::Faulty(fault)) => out.fail(fault),
        }
    }

    /// Answers the records of the feed; what was read before it failed is still answered.
    fn answer_all(&mut self, feed: &mut Feed, broke: &OnceLock<ErrorKind>) -> std::result::Result<(), Ended> {
        let before = self.stream.stream().counts().records;
        let (most, never) = (self.server.settings.limits.batch, AtomicBool::new(false));
        let mut under_way = VecDeque::new();
        let failed = loop {
            let read = if under_way.is_empty() { feed.next(most, &never) } else { feed.available(most, &never) };
            let lines = match read {
                Ok(Some(lines)) => lines,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let none_there = lines.is_empty();
            if !none_there {
                under_way.push_back(self.begin(lines)?);
            }
            if under_way.len() == UNDER_WAY || none_there {
                under_way.pop_front().map_or(Ok(()), |batch| self.answer(batch, before))?;
            }
            if none_there && self.out.reply.is_left() {
                return Err(Ended::ClientLeft);
            }
        };
        under_way.into_iter().try_for_each(|batch| self.answer(batch, before))?;
        if let Some(error) = failed {
            let status = broke.get().map_or(StatusCode::BAD_REQUEST, |kind| status_of(*kind));
            return Err(Ended::Faulty(Fault::new(status, error.to_string())));
        }
        if self.asked.stream.is_none() || self.asked.end {
            self.answer_with(|stream, model, sink| stream.finish(&mut |tokens| model.sequence(tokens), sink))?;
        }
        Ok(())
    }

    /// Lines to tokens, on their way through the model.
    fn begin(&self, lines: Vec<InputRecord>) -> std::result::Result<UnderWay, Ended> {
        let read = Instant::now();
        let lines = self.model.with_reader(|reader| Lines::read(reader, lines));
        let sequences: Vec<Vec<u32>> = lines.tokenized.sequences().map(<[u32]>::to_vec).collect();
        let pending = if sequences.is_empty() { None } else { Some(self.model.measure(sequences)?) };
        Ok(UnderWay { lines, pending, read })
    }

    /// Waits for the surprisals of a batch and answers its lines, of a stream that had `before` records before this request.
    fn answer(&mut self, UnderWay { lines, pending, read }: UnderWay, before: u64) -> std::result::Result<(), Ended> {
        let nats = pending.map_or(Ok(Some(Vec::new())), |pending| pending.wait(|| !self.out.reply.is_left()))?;
        let nats = nats.ok_or(Ended::ClientLeft)?;
        let model = self.model.clone();
        let lines = lines.join(&model.joiner(), nats);
        let count = lines.len();
        self.answer_with(|stream, model, sink| {
            lines.into_iter().try_for_each(|(input, number, line)| {
                let place = (input, before + number);
                stream.line(&model.tokenizer, &mut |tokens| model.sequence(tokens), place, line, sink)
            })
        })?;
        let seconds = read.elapsed().as_secs_f64();
        (0..count).for_each(|_| self.server.metrics.record_seconds.observe(seconds));
        match self.out.flush() {
            true => Ok(()),
            false => Err(Ended::ClientLeft),
        }
    }

    /// Adds answers of the stream to the output, and counts them.
    fn answer_with(
        &mut self,
        answer: impl FnOnce(&mut RecordStream, &ServedModel, &mut dyn FnMut(Answer) -> Result<()>) -> Result<()>,
    ) -> std::result::Result<(), Ended> {
        let Request { server, model, asked, stream, out, counts, .. } = self;
        let stream = stream.stream();
        let before = stream.counts();
        answer(stream, model, &mut |answer| {
            if asked.only_anomalies
                && matches!(answer, Answer::Finding(_) | Answer::Session(_))
                && answer.anomaly() != Some(true)
            {
                return Ok(());
            }
            write_answer(&answer, asked.shade, out)
        })?;
        let now = stream.counts();
        let (records, anomalies) = (now.records - before.records, now.anomalies - before.anomalies);
        server.metrics.count(&before, &now);
        counts.records.fetch_add(records, Ordering::Relaxed);
        counts.anomalies.fetch_add(anomalies, Ordering::Relaxed);
        Ok(())
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Faulty(error.into())
    }
}

impl Output {
    /// Sends what is ready; false if the client has left.
    fn flush(&mut self) -> bool {
        self.reply.write(std::mem::take(&mut self.text))
    }

    /// Ends with what is wrong, after what is ready.
    fn fail(mut self, fault: Fault) {
        if !self.text.is_empty() {
            self.flush();
        }
        let last = format!("{}\n", fault.to_json()).into_bytes();
        self.reply.fail(fault, last);
    }
}

/// A finding with all tokens of its record, each with its surprisal in nats.
#[derive(Serialize)]
struct ShadedFinding<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    tokens: Vec<Value>,
}

fn write_answer(answer: &Answer, shade: bool, out: &mut Output) -> Result<()> {
    match answer {
        Answer::Finding(finding) if shade => {
            let token = |token: &Shaded| json!({ "text": String::from_utf8_lossy(&token.text), "nats": token.nats, "found": token.found });
            let tokens = whole_characters(&finding.tokens).iter().map(token).collect();
            serde_json::to_writer(&mut out.text, &ShadedFinding { finding, tokens }).map_err(Error::failed)?;
            out.text.push(b'\n');
        }
        _ => out.text.extend_from_slice(out.lines.line(answer)?.as_bytes()),
    }
    Ok(())
}
