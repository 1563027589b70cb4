//! `POST /v1/completions`: records in OpenAI's shape, whole or while they are written.

use super::super::body::{Reply, whole};
use super::super::fault::Fault;
use super::super::metrics::RequestCounts;
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
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::OwnedSemaphorePermit;

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
    let (reply, begun) = Reply::new(server.settings.timeout);
    let counts = Arc::new(RequestCounts::default());
    let kind = if asked.stream { "text/event-stream" } else { "application/json" };
    let request = Request { name: name.clone(), asked, out: reply, counts: counts.clone(), _place: place };
    std::thread::spawn(move || request.run(&model));
    begun.response(kind, counts).await
}

/// A request in its thread.
struct Request {
    name: String,
    asked: CompletionRequest,
    out: Reply,
    counts: Arc<RequestCounts>,
    _place: OwnedSemaphorePermit,
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
            Ok(()) => out.finish(),
            Err(Ended::ClientLeft) => out.abort(),
            Err(Ended::Faulty(fault)) => {
                let last = if asked.stream { event(&fault.to_json()) } else { String::new() };
                out.fail(fault, last.into_bytes());
            }
        }
    }
}

/// An answer that is being written.
struct Answer<'a> {
    asked: &'a CompletionRequest,
    head: AnswerHead,
    texts: Vec<ChoiceText<'a>>,
    usage: Usage,
    out: &'a mut Reply,
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
                self.write(events)?;
            }
        }
        let usage = if include_usage { self.head.usage_piece(self.usage) } else { String::new() };
        self.write(usage + DONE)
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
        let whole = self.head.whole(choices, self.usage);
        self.write(whole)
    }

    fn write(&mut self, text: String) -> std::result::Result<(), Ended> {
        if self.out.write(text.into_bytes()) { Ok(()) } else { Err(Ended::ClientLeft) }
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

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn new_id() -> Result<String> {
    let random = getrandom::u64().map_err(|e| Error::failed(format!("the system gives no random numbers: {e}")))?;
    Ok(format!("cmpl-{random:016x}"))
}
