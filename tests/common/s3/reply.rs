//! Replies that break off: the body that hyper sends in pieces, and the connection below it.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use rustix::net::sockopt::set_socket_linger;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// In bytes: large bodies are passed to the connection in pieces of this size.
const PIECE: usize = 256 << 10;

/// A pause before a break, so that the client receives what was sent before.
const FLUSH: Duration = Duration::from_millis(20);

/// The error that ends a connection.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off, as scripted")
    }
}

impl std::error::Error for Broken {}

/// A connection that can be reset.
#[derive(Debug)]
pub(super) struct Wire(pub(super) std::net::TcpStream);

impl Wire {
    /// Makes closing the connection, which must follow at once, send a reset.
    pub(super) fn reset(&self) -> Broken {
        set_socket_linger(&self.0, Some(Duration::ZERO)).expect("set how a socket closes");
        Broken
    }
}

/// Counts the requests under way, and their maximum.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Gauge {
    pub(super) fn enter(self: &Arc<Self>) -> UnderWay {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Counts as a request under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Gauge>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happens in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Middle {
    Reset,
    End,
    Stall(Duration),
}

enum Step {
    Send(Bytes),
    Wait(Duration),
    Reset,
}

/// The body of a reply.
pub(super) struct ReplyBody {
    steps: VecDeque<Step>,
    left: u64,
    waiting: Option<Pin<Box<Sleep>>>,
    wire: Arc<Wire>,
    _under_way: UnderWay,
}

impl ReplyBody {
    pub(super) fn new(
        content: &Bytes,
        middle: Option<Middle>,
        wire: Arc<Wire>,
        under_way: UnderWay,
    ) -> Self {
        let mut steps = VecDeque::new();
        let send = |content: Bytes| {
            let starts = (0..content.len()).step_by(PIECE);
            starts
                .map(|start| content.slice(start..content.len().min(start + PIECE)))
                .map(Step::Send)
                .collect::<Vec<_>>()
        };
        let half = content.len() / 2;
        match middle {
            None => steps.extend(send(content.clone())),
            Some(middle) => {
                steps.extend(send(content.slice(..half)));
                match middle {
                    Middle::Reset => steps.extend([Step::Wait(FLUSH), Step::Reset]),
                    Middle::End => steps.push_back(Step::Wait(FLUSH)),
                    Middle::Stall(time) => {
                        steps.push_back(Step::Wait(time));
                        steps.extend(send(content.slice(half..)));
                    }
                }
            }
        }
        // The promised length, even if less is sent.
        let left = content.len() as u64;
        Self { steps, left, waiting: None, wire, _under_way: under_way }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(piece)) => {
                    self.left -= piece.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(sleep(time))),
                Some(Step::Reset) => return Poll::Ready(Some(Err(self.wire.reset()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
