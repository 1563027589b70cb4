//! Between the runtime, which moves bytes, and the threads that compute: the body of a request as a reader, and its answer as
//! a writer. Both are bounded, so that a client that sends or takes slowly holds little memory, and waits in vain only for so
//! long.

use super::fault::Fault;
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};
use std::io::{Error, ErrorKind, Read, Result};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Bytes of a body that may wait to be read: what a client may send before it takes the first answer.
const WAITING_BYTES: usize = 8 << 20;
/// Pieces of an answer that may wait to be taken.
const WAITING_ANSWERS: usize = 8;

/// Some bytes of a body, with their place in what may wait.
type Piece = (Bytes, OwnedSemaphorePermit);

/// The bytes of a body, for a thread that may wait.
pub struct BodyReader {
    pieces: UnboundedReceiver<Result<Piece>>,
    current: Option<Piece>,
    /// Why the body could not be read to its end.
    broke: Arc<OnceLock<ErrorKind>>,
}

/// What ends the reading of a body.
#[derive(Clone)]
pub struct BodyLimits {
    pub bytes: u64,
    /// How long nothing may come.
    pub idle: Duration,
    /// Set while the server stops: what has come is answered, and no more is read.
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
    loop {
        let next = tokio::select! {
            next = timeout(limits.idle, body.frame()) => next,
            _ = limits.stop.wait_for(|stopped| *stopped) => return,
        };
        let failed = |kind, message: String| drop(sender.send(Err(Error::new(kind, message))));
        let frame = match next {
            Err(_) => {
                let idle = limits.idle.as_secs_f64();
                return failed(ErrorKind::TimedOut, format!("nothing of the body came for {idle} s (--timeout)"));
            }
            Ok(None) => return,
            Ok(Some(Err(error))) => return failed(ErrorKind::UnexpectedEof, format!("the body broke off: {error}")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if data.len() as u64 > left {
            let most = limits.bytes;
            return failed(ErrorKind::FileTooLarge, format!("the body has more than {most} bytes (--max-body-bytes)"));
        }
        left -= data.len() as u64;
        let places = data.len().min(WAITING_BYTES) as u32;
        let Ok(place) = room.clone().acquire_many_owned(places).await else { return };
        if sender.send(Ok((data, place))).is_err() {
            return;
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
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
pub struct AnswerWriter {
    pieces: Sender<Result<Bytes>>,
    runtime: Handle,
    patience: Duration,
}

/// The other end: the body of an answer, piece by piece.
struct AnswerBody {
    pieces: Receiver<Result<Bytes>>,
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
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(Err(error))) => {
                // An error makes hyper drop what it has not sent yet; while there is nothing for it to take, it sends that.
                self.broken = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled.map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }
}

impl AnswerWriter {
    /// A writer, and the body that a client takes. Where it takes nothing for as long as `patience`, writing fails.
    pub fn new(patience: Duration) -> (Self, Body) {
        let (sender, pieces) = channel(WAITING_ANSWERS);
        (
            AnswerWriter { pieces: sender, runtime: Handle::current(), patience },
            Body::new(AnswerBody { pieces, broken: None }),
        )
    }

    /// Hands on some bytes; false if the client has left or takes nothing.
    pub fn write(&self, bytes: Vec<u8>) -> bool {
        self.send(Ok(bytes.into()))
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
