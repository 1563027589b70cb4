//! Between the runtime, which moves bytes, and the threads that compute: the body of a request as a reader, and its answer as
//! a writer. Both are bounded, so that a client that sends or takes slowly holds little memory, and waits in vain only for so
//! long.

use super::fault::Fault;
use super::metrics::RequestCounts;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};
use std::io::{Error, ErrorKind, Read, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Bytes of a body that may wait to be read: what a client may send before it takes the first answer.
const WAITING_BYTES: usize = 8 << 20;
/// What a piece takes beside its bytes; and below so many bytes a piece is copied, so that it does not hold a whole buffer.
const PIECE_BYTES: usize = 256;
const SMALL_PIECE: usize = 4096;
/// While the server stops: how long nothing may come of a body that is under way.
const STOP_IDLE: Duration = Duration::from_secs(1);
/// Pieces of an answer that may wait to be taken.
const WAITING_ANSWERS: usize = 8;

/// Some bytes of a body, with their place in what may wait.
type Piece = (Bytes, OwnedSemaphorePermit);

/// The bytes of a body, for a thread that may wait.
pub struct BodyReader {
    pieces: UnboundedReceiver<Result<Piece>>,
    current: Option<Piece>,
    /// Why the body could not be read to its end; once it is set, reading fails.
    broke: Arc<OnceLock<ErrorKind>>,
}

/// What ends the reading of a body.
#[derive(Clone)]
pub struct BodyLimits {
    pub bytes: u64,
    /// How long nothing may come.
    pub idle: Duration,
    /// Set while the server stops: a body that still comes is read on.
    pub stop: watch::Receiver<bool>,
}

impl BodyReader {
    /// Takes the body in a task of its own.
    pub fn new(body: Body, limits: BodyLimits, broke: Arc<OnceLock<ErrorKind>>) -> Self {
        let (sender, pieces) = unbounded_channel();
        tokio::spawn(take(body, limits, sender));
        BodyReader { pieces, current: None, broke }
    }
}

/// Sends the pieces of a body until it ends, or one of the limits ends it.
async fn take(mut body: Body, mut limits: BodyLimits, sender: UnboundedSender<Result<Piece>>) {
    let room = Arc::new(Semaphore::new(WAITING_BYTES));
    let mut left = limits.bytes;
    let outcome = loop {
        let frame = match next_frame(&mut body, &mut limits).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => break error,
        };
        let Ok(mut data) = frame.into_data() else { continue };
        if data.len() as u64 > left {
            let most = limits.bytes;
            let message = format!("the body has more than {most} bytes (--max-body-bytes)");
            break Error::new(ErrorKind::FileTooLarge, message);
        }
        left -= data.len() as u64;
        if data.len() < SMALL_PIECE {
            data = Bytes::copy_from_slice(&data);
        }
        let places = (data.len() + PIECE_BYTES).min(WAITING_BYTES) as u32;
        let taken = tokio::select! {
            place = room.clone().acquire_many_owned(places) => place.is_ok_and(|place| sender.send(Ok((data, place))).is_ok()),
            () = sender.closed() => false,
        };
        if !taken {
            return;
        }
    };
    // Nobody reads it if the request has ended.
    let _ = sender.send(Err(outcome));
}

/// The next frame of a body; None at its end.
async fn next_frame(body: &mut Body, limits: &mut BodyLimits) -> Result<Option<Frame<Bytes>>> {
    let idle = limits.idle;
    let ended_by_stop = async {
        // The sender lives as long as the server.
        let _ = limits.stop.wait_for(|stopped| *stopped).await;
        sleep(STOP_IDLE.min(idle)).await;
    };
    let next = tokio::select! {
        biased;
        next = timeout(idle, body.frame()) => next,
        () = ended_by_stop => {
            let message = "the server stops, and the body was not whole; send again what has no answer";
            return Err(Error::new(ErrorKind::ConnectionAborted, message));
        }
    };
    match next {
        Err(_) => {
            let message = format!("nothing of the body came for {} s (--timeout)", idle.as_secs_f64());
            Err(Error::new(ErrorKind::TimedOut, message))
        }
        Ok(None) => Ok(None),
        Ok(Some(Err(error))) => Err(Error::new(ErrorKind::UnexpectedEof, format!("the body broke off: {error}"))),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        if let Some(kind) = self.broke.get() {
            return Err(Error::new(*kind, "the request has ended"));
        }
        while self.current.as_ref().is_none_or(|(bytes, _)| bytes.is_empty()) {
            self.current = match self.pieces.blocking_recv() {
                Some(piece) => Some(piece.inspect_err(|error| _ = self.broke.set(error.kind()))?),
                None => return Ok(0),
            };
        }
        let (bytes, _) = self.current.as_mut().expect("a piece that is not empty");
        let taken = bytes.split_to(out.len().min(bytes.len()));
        out[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// The status of a request whose body could not be read.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::ConnectionAborted => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A whole body of at most `most` bytes, for requests that need it whole.
pub async fn whole(body: Body, most: usize, limits: &BodyLimits) -> std::result::Result<Vec<u8>, Fault> {
    let limited = http_body_util::Limited::new(body, most);
    match timeout(limits.idle, limited.collect()).await {
        Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time (--timeout)")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes")))
        }
        Ok(Err(error)) => Err(Fault::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
    }
}

/// Takes an answer from a thread to the client.
struct AnswerWriter {
    pieces: Sender<Result<Bytes>>,
    /// Set behind the last piece.
    is_whole: Arc<AtomicBool>,
    runtime: Handle,
    patience: Duration,
}

/// The other end: the body of an answer, piece by piece.
struct AnswerBody {
    pieces: Receiver<Result<Bytes>>,
    is_whole: Arc<AtomicBool>,
    /// What breaks the answer off, once all before it was handed on.
    broken: Option<Error>,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let error = match ready!(self.pieces.poll_recv(context)) {
            Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.is_whole.load(Ordering::Acquire) => return Poll::Ready(None),
            Some(Err(error)) => error,
            // Its writer is gone without a word: a panic.
            None => Error::other("the answer is not whole"),
        };
        // An error makes hyper drop what it has not sent yet; while there is nothing for it to take, it sends that.
        self.broken = Some(error);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AnswerWriter {
    /// A writer, and the body that a client takes. Where it takes nothing for as long as `patience`, writing fails.
    pub fn new(patience: Duration) -> (Self, Body) {
        let (sender, pieces) = channel(WAITING_ANSWERS);
        let is_whole = Arc::new(AtomicBool::new(false));
        let body = AnswerBody { pieces, is_whole: is_whole.clone(), broken: None };
        (AnswerWriter { pieces: sender, is_whole, runtime: Handle::current(), patience }, Body::new(body))
    }

    /// Hands on some bytes; false if the client has left or takes nothing.
    pub fn write(&self, bytes: Vec<u8>) -> bool {
        self.send(Ok(bytes.into()))
    }

    /// Whether the client has left.
    pub fn is_left(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Ends the answer.
    pub fn finish(self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// Ends the answer, after what was written, so that the client sees that it is not whole.
    pub fn abort(self) {
        self.send(Err(Error::other("the answer is not whole")));
    }

    fn send(&self, piece: Result<Bytes>) -> bool {
        // Inside of the runtime, which keeps the time.
        let sent = self.runtime.block_on(async { timeout(self.patience, self.pieces.send(piece)).await });
        matches!(sent, Ok(Ok(())))
    }
}

/// An answer from its first word on. Its status is 200 as soon as some of it is ready, and else says what is wrong.
pub struct Reply {
    begin: Option<oneshot::Sender<std::result::Result<(), Fault>>>,
    writer: AnswerWriter,
}

/// The other end: what a handler gives to the client.
pub struct Begun {
    begun: oneshot::Receiver<std::result::Result<(), Fault>>,
    body: Body,
}

impl Reply {
    pub fn new(patience: Duration) -> (Self, Begun) {
        let (begin, begun) = oneshot::channel();
        let (writer, body) = AnswerWriter::new(patience);
        (Reply { begin: Some(begin), writer }, Begun { begun, body })
    }

    /// Whether the client has left.
    pub fn is_left(&self) -> bool {
        self.begin.as_ref().map_or_else(|| self.writer.is_left(), oneshot::Sender::is_closed)
    }

    /// Hands on some bytes, or just the status; false if the client has left or takes nothing.
    pub fn write(&mut self, bytes: Vec<u8>) -> bool {
        if let Some(begin) = self.begin.take()
            && begin.send(Ok(())).is_err()
        {
            return false;
        }
        bytes.is_empty() || self.writer.write(bytes)
    }

    pub fn finish(self) {
        self.writer.finish();
    }

    pub fn abort(self) {
        self.writer.abort();
    }

    /// Says what is wrong: as the status, or by `last` words where the answer has begun, which then breaks off.
    pub fn fail(mut self, fault: Fault, last: Vec<u8>) {
        match self.begin.take() {
            // The client may have left.
            Some(begin) => _ = begin.send(Err(fault)),
            None => {
                self.write(last);
                self.abort();
            }
        }
    }
}

impl Begun {
    /// Waits for the first word.
    ///
    /// Errors: what is wrong with the request, or a bug that ended its thread.
    pub async fn response(
        self,
        kind: &'static str,
        counts: Arc<RequestCounts>,
    ) -> std::result::Result<Response, Fault> {
        let ended =
            || Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed because of a bug in logwright");
        self.begun.await.map_err(|_| ended())??;
        let mut response = self.body.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.extensions_mut().insert(counts);
        Ok(response)
    }
}
