//! Something that goes on beside a run: a racer, a writer.

use std::sync::atomic::{AtomicBool, Ordering};

/// Ends what goes on, also where the test panics: the scope would wait for it forever.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `other` on a thread of its own until `body` ends; `other` looks at the flag it gets.
/// Yields what both yield.
pub fn beside<T: Send, U>(
    other: impl FnOnce(&AtomicBool) -> T + Send,
    body: impl FnOnce() -> U,
) -> (T, U) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| other(&over));
        let done = {
            let _end = End(&over);
            body()
        };
        (other.join().expect("what goes on beside does not panic"), done)
    })
}
