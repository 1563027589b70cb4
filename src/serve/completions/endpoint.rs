//! `POST /v1/completions`: records in OpenAI's shape, whole or while they are written.

use super::super::body::{AnswerWriter, whole};
use super::super::fault::Fault;
use super::super::guard::RequestCounts;
use super::super::model::ServedModel;
use super::super::server::Server;
use super::answer::{AnswerHead, DONE, Usage, choice, event};
use super::decoding::Generation;
use super::outbox::{Gathered, Inbox, mailbox};
use super::plan::Plan;
use super::request::CompletionRequest;
use super::shown::{ChoiceText, Piece};
use crate::sample::Finish;
use crate::{Error, Result};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes of a request: prompts, and a schema.
const MOST_BODY: usize = 16 << 20;
/// How often a request that waits looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(200);

pub async fn completions(State(server): State<Arc<Server>>, body: Body) -> std::result::Result<Response, Fault> {
    let (model, place) = (server.model()?, server.place()?);
    let body = whole(body, MOST_BODY, &server.body_limits()).await?;
    // A large body takes a while, and others wait for this thread.
    let asked = tokio::task::spawn_blocking(move || CompletionRequest::parse(&body)).await;
    let asked = asked.map_err(|panic| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))??;
    let name = &server.settings.model_name;
    if let Some(other) = asked.model.as_ref().filter(|other| *other != name) {
        let message = format!("model: this server has {name:?} (GET /v1/models), found {other:?}");
        return Err(Fault { status: StatusCode::NOT_FOUND, ..Fault::of("model", message) });
    }
    let (writer, answer) = AnswerWriter::new(server.settings.timeout);
    let (begin, begun) = oneshot::channel();
    let counts = Arc::new(RequestCounts::default());
    let kind = if asked.stream { "text/event-stream" } else { "application/json" };
    let out = Output { begin: Some(begin), writer };
    let request = Request { name: name.clone(), asked, out, counts: counts.clone(), _place: place };
    std::thread::spawn(move || request.run(&model));
    begun.await.unwrap_or_else(|_| {
        Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "generating failed because of a bug in logwright"))
    })?;
    let mut response = answer.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.extensions_mut().insert(counts);
    Ok(response)
}

/// A request in its thread.
struct Request {
    name: String,
    asked: CompletionRequest,
    out: Output,
    counts: Arc<RequestCounts>,
    _place: OwnedSemaphorePermit,
}

/// The answer on its way to the client. Its status is 200 as soon as some of it is ready, and else says what is wrong.
struct Output {
    begin: Option<oneshot::Sender<std::result::Result<(), Fault>>>,
    writer: AnswerWriter,
}

/// Why a request ends early.
enum Ended {
    Faulty(Fault),
    ClientLeft,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Faulty(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

impl Request {
    fn run(self, model: &ServedModel) {
        let Request { name, asked, mut out, counts, _place } = self;
        let answered = Plan::new(&asked, model).map_err(Ended::Faulty).and_then(|plan| {
            let head = AnswerHead { id: new_id()?, created: now(), model: name, seed: plan.seed };
            let (outbox, inbox) = mailbox();
            model.generate(Generation { requests: plan.requests, outbox })?;
            let usage = Usage { prompt_tokens: plan.prompt_tokens, completion_tokens: 0 };
            let mut answer = Answer { asked: &asked, head, texts: plan.texts, usage, out: &mut out, counts: &counts };
            if asked.stream { answer.stream(&inbox) } else { answer.whole(&inbox) }
        });
        match answered {
            Ok(()) => out.writer.finish(),
            Err(Ended::ClientLeft) => out.writer.abort(),
            Err(Ended::Faulty(fault)) => out.fail(fault, asked.stream),
        }
    }
}

/// An answer that is being written.
struct Answer<'a> {
    asked: &'a CompletionRequest,
    head: AnswerHead,
    texts: Vec<ChoiceText<'a>>,
    usage: Usage,
    out: &'a mut Output,
    counts: &'a RequestCounts,
}

impl Answer<'_> {
    /// Hands every piece on as it comes.
    fn stream(&mut self, inbox: &Inbox) -> std::result::Result<(), Ended> {
        let (with_logprobs, include_usage) = (self.asked.logprobs.is_some(), self.asked.include_usage);
        let mut left = self.texts.len();
        while left > 0 {
            let mut events = String::new();
            for (index, piece, finish) in self.news(inbox)? {
                left -= usize::from(finish.is_some());
                if finish.is_some() || piece != Piece::default() {
                    events += &self.head.piece(choice(index, &piece, with_logprobs, finish), include_usage);
                }
            }
            if !events.is_empty() {
                self.out.write(events)?;
            }
        }
        let usage = if include_usage { self.head.usage_piece(self.usage) } else { String::new() };
        self.out.write(usage + DONE)
    }

    /// Waits for all records.
    fn whole(&mut self, inbox: &Inbox) -> std::result::Result<(), Ended> {
        let mut records: Vec<(Piece, Option<Finish>)> = self.texts.iter().map(|_| Default::default()).collect();
        while records.iter().any(|(_, finish)| finish.is_none()) {
            for (index, piece, finish) in self.news(inbox)? {
                let (whole, finished) = &mut records[index];
                whole.text += &piece.text;
                whole.tokens.extend(piece.tokens);
                *finished = finish;
            }
        }
        let with_logprobs = self.asked.logprobs.is_some();
        let choices = records.iter().enumerate();
        let choices = choices.map(|(index, (piece, finish))| choice(index, piece, with_logprobs, *finish)).collect();
        self.out.write(self.head.whole(choices, self.usage))
    }

    /// What has become visible of the records, by their numbers. Waits a moment at most.
    fn news(&mut self, inbox: &Inbox) -> std::result::Result<Vec<(usize, Piece, Option<Finish>)>, Ended> {
        let news = inbox.wait(LOOK)?;
        if self.out.is_left() {
            return Err(Ended::ClientLeft);
        }
        let mut show = |(index, gathered): (usize, Gathered)| {
            let finish = gathered.finished.as_ref().map(|(record, finish)| {
                self.usage.completion_tokens += record.tokens;
                self.counts.records.fetch_add(1, Ordering::Relaxed);
                *finish
            });
            (index, self.texts[index].push(gathered), finish)
        };
        Ok(news.into_iter().map(&mut show).collect())
    }
}

impl Output {
    /// Whether the client has left before the answer began.
    fn is_left(&self) -> bool {
        self.begin.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    fn write(&mut self, text: String) -> std::result::Result<(), Ended> {
        if let Some(begin) = self.begin.take()
            && begin.send(Ok(())).is_err()
        {
            return Err(Ended::ClientLeft);
        }
        if self.writer.write(text.into_bytes()) { Ok(()) } else { Err(Ended::ClientLeft) }
    }

    /// Says what is wrong: as the status, or in a last event where the answer has begun.
    fn fail(mut self, fault: Fault, stream: bool) {
        if let Some(begin) = self.begin.take() {
            // The client may have left.
            let _ = begin.send(Err(fault));
            return;
        }
        if stream {
            self.writer.write(event(&fault.to_json()).into_bytes());
        }
        self.writer.abort();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn new_id() -> Result<String> {
    let random = getrandom::u64().map_err(|e| Error::failed(format!("the system gives no random numbers: {e}")))?;
    Ok(format!("cmpl-{random:016x}"))
}
