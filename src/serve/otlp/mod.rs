//! `POST /v1/logs`: logs from OpenTelemetry's exporters and collectors (OTLP over HTTP). Each service is a stream of its own.
//!
//! An exporter wants to hear only whether its records arrived, so what was found is counted, and kept for `GET /anomalies`.

mod wire;

use super::body::whole;
use super::fault::Fault;
use super::metrics::RequestCounts;
use super::model::ServedModel;
use super::query::Query;
use super::server::Server;
use crate::Result;
use crate::ingest::{InputRecord, RecordFault, head};
use crate::stream::{Answer, Lines};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::{Form, ServiceRecord};

/// The largest request, unpacked: exporters send some hundred records at once.
const MOST_BYTES: usize = 16 << 20;

pub async fn logs(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    let form = match form(&headers) {
        Ok(form) => form,
        Err(fault) => return fault.into_response(),
    };
    let counts = Arc::new(RequestCounts::default());
    let outcome = answer(&server, form, &headers, body, counts.clone()).await;
    let (mut response, text) = match outcome {
        Ok(text) => (StatusCode::OK.into_response(), text),
        // The status and its headers, with the text in the form that exporters read.
        Err(fault) => (fault.clone().into_response(), form.failure(&fault.message)),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.extensions_mut().insert(counts);
    response.map(|_| Body::from(text))
}

fn form(headers: &HeaderMap) -> std::result::Result<Form, Fault> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    match kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-protobuf" => Ok(Form::Protobuf),
        _ => Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Type: expected application/json or application/x-protobuf, found {kind:?}"),
        )),
    }
}

async fn answer(
    server: &Arc<Server>,
    form: Form,
    headers: &HeaderMap,
    body: Body,
    counts: Arc<RequestCounts>,
) -> std::result::Result<Vec<u8>, Fault> {
    let (model, place) = (server.model()?, server.place()?);
    let body = whole(body, MOST_BYTES, &server.body_limits()).await?;
    let packed = headers.get(header::CONTENT_ENCODING).cloned();
    let (server, left) = (server.clone(), Arc::new(AtomicBool::new(false)));
    let _leaving = Leaving(left.clone());
    let scored = tokio::task::spawn_blocking(move || {
        let _place = place;
        let records = form.records(&unpacked(body, packed.as_ref())?);
        let records = records.map_err(|why| Fault::new(StatusCode::BAD_REQUEST, why))?;
        Exports { server: &server, model: &model, counts: &counts, left: &left, rejected: 0, message: String::new() }
            .score(&records)
    });
    let failed = |why: String| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let (rejected, message) = scored.await.map_err(|panic| failed(panic.to_string()))??;
    Ok(form.response(rejected, &message))
}

/// Tells the thread that scores when its request has ended, because the client has left or because it is done.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn unpacked(body: Vec<u8>, packed: Option<&HeaderValue>) -> std::result::Result<Vec<u8>, Fault> {
    match packed.map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(body),
        Some(b"gzip") => {
            let mut plain = Vec::new();
            let read = MultiGzDecoder::new(&body[..]).take(MOST_BYTES as u64 + 1).read_to_end(&mut plain);
            let bad =
                |why: String| Fault::new(StatusCode::BAD_REQUEST, format!("the body is no whole gzip stream: {why}"));
            read.map_err(|e| bad(e.to_string()))?;
            match plain.len() > MOST_BYTES {
                true => Err(Fault::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("unpacked, it has more than {MOST_BYTES} bytes"),
                )),
                false => Ok(plain),
            }
        }
        Some(_) => Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding: expected gzip or none")),
    }
}

/// The records of one request on their way.
struct Exports<'a> {
    server: &'a Server,
    model: &'a Arc<ServedModel>,
    counts: &'a RequestCounts,
    /// Set once nobody waits for the answer.
    left: &'a AtomicBool,
    rejected: u64,
    /// Why the first of the rejected was.
    message: String,
}

impl Exports<'_> {
    /// Scores the records, service by service: how many were rejected, and why the first of them.
    fn score(mut self, records: &[ServiceRecord]) -> std::result::Result<(u64, String), Fault> {
        for run in records.chunk_by(|a, b| a.service == b.service) {
            for batch in run.chunks(self.server.settings.limits.batch) {
                if !self.left.load(Ordering::Relaxed) {
                    self.score_batch(batch)?;
                }
            }
        }
        Ok((self.rejected, self.message))
    }

    fn reject(&mut self, records: u64, why: &str) {
        self.rejected += records;
        if self.message.is_empty() {
            self.message = why.to_string();
        }
    }

    /// Scores records of one service, whose stream they continue. Where there is no room for its stream they are rejected, and not the whole
    /// request, whose other records an exporter would send again.
    fn score_batch(&mut self, records: &[ServiceRecord]) -> Result<()> {
        let Exports { server, model, counts, left, .. } = *self;
        let service = &records[0].service;
        let mut named = match server.streams.awaited(&format!("otlp:{service}"), model) {
            Ok(named) => named,
            Err(fault) => {
                self.reject(records.len() as u64, &fault.message);
                return Ok(());
            }
        };
        let before = named.stream.counts();
        let read = |(record, number): (&ServiceRecord, u64)| InputRecord {
            input: 0,
            number,
            record: one_line(&record.body, model, server.settings.max_record_bytes),
            end: None,
        };
        let lines = records.iter().zip(before.records + 1..).map(read).collect();
        let lines = model.with_reader(|reader| Lines::read(reader, lines));
        let sequences: Vec<Vec<u32>> = lines.tokenized.sequences().map(<[u32]>::to_vec).collect();
        let is_wanted = || !left.load(Ordering::Relaxed);
        let nats = match sequences.is_empty() {
            true => Some(Vec::new()),
            false => model.measure(sequences)?.wait(is_wanted)?,
        };
        let Some(nats) = nats else { return Ok(()) };
        for (input, number, line) in lines.join(&model.joiner(), nats) {
            let mut sequence = |tokens: &[u32]| model.sequence(tokens);
            named.stream.line(&model.tokenizer, &mut sequence, (input, number), line, &mut |answer| {
                match &answer {
                    Answer::Broken(line) => self.reject(1, &line.error),
                    _ if answer.anomaly() == Some(true) => server.recent.add(service, &answer)?,
                    _ => (),
                }
                Result::Ok(())
            })?;
        }
        let now = named.stream.counts();
        named.rest();
        server.metrics.count(&before, &now);
        counts.records.fetch_add(now.records - before.records, Ordering::Relaxed);
        counts.anomalies.fetch_add(now.anomalies - before.anomalies, Ordering::Relaxed);
        Ok(())
    }
}

/// A body as the model's records are: one line, in which JSON strings are opened as in training.
///
/// Errors: one of more than `most` bytes.
fn one_line(body: &[u8], model: &ServedModel, most: usize) -> std::result::Result<Vec<u8>, RecordFault> {
    if body.len() > most {
        let message = format!("the record has {} bytes, more than {most} (--max-record-bytes)", body.len());
        return Err(RecordFault { message, head: head(body) });
    }
    let mut line = Vec::with_capacity(body.len());
    let body = body.trim_ascii_end();
    for (number, part) in body.split(|&byte| byte == b'\n').enumerate() {
        // As lines of an event are joined.
        line.extend_from_slice(if number == 0 { b"" } else { br"\n" });
        line.extend_from_slice(part);
    }
    Ok(model.records.open.open(&line, &mut Default::default()).unwrap_or(line))
}

/// `GET /anomalies`: those of `POST /v1/logs` that are remembered, the oldest first.
pub async fn anomalies(State(server): State<Arc<Server>>, uri: Uri) -> std::result::Result<Response, Fault> {
    let query = Query::parse(uri.query(), &["after"])?;
    let mut response = server.recent.after(query.value("after", "the number of an anomaly", 0)?).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
