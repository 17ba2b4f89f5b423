//! The body of a request: bytes in pieces, sent one behind the other.

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a request carries. A clone shares the bytes and is sent from the beginning.
#[derive(Debug)]
pub struct Body {
    pieces: Arc<[Bytes]>,
    /// How many pieces were sent.
    sent: usize,
}

impl Body {
    /// Bytes that are still to be sent.
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces[self.sent..].iter()
    }
}

impl Clone for Body {
    fn clone(&self) -> Self {
        Self { pieces: Arc::clone(&self.pieces), sent: 0 }
    }
}

impl Default for Body {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        [bytes].into_iter().filter(|bytes| !bytes.is_empty()).collect()
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<T: IntoIterator<Item = Bytes>>(pieces: T) -> Self {
        Self { pieces: pieces.into_iter().collect(), sent: 0 }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.get(self.sent).cloned();
        self.sent += usize::from(piece.is_some());
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.pieces.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}
