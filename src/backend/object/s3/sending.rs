//! The body of a request while it is sent.

use super::super::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body and the position up to which it was sent.
#[derive(Debug)]
pub(super) struct Sending {
    body: Body,
    /// The number of pieces sent.
    sent: usize,
}

impl From<Body> for Sending {
    fn from(body: Body) -> Self {
        Self { body, sent: 0 }
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.body.pieces().get(self.sent).cloned();
        self.sent += usize::from(piece.is_some());
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.body.pieces().len()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.pieces()[self.sent..].iter().map(Bytes::len).sum::<usize>();
        SizeHint::with_exact(left as u64)
    }
}
