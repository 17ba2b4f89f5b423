//! Concurrency limit: how many requests are under way at the same time.
//!
//! It begins at the maximum. A store that answers "slow down" halves it at once, and then each
//! round of successful replies raises it by one (additive increase, multiplicative decrease, as TCP
//! does: RFC 5681, section 3.1).

use super::{Interrupted, POLL};
use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// At most one decrease in this time, or in the usual duration of a request if that is longer:
/// replies to requests that were sent before a decrease say nothing about its effect.
const WINDOW: Duration = Duration::from_secs(1);

/// What the end of a request says about the store's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The store answered.
    Answered,
    /// The store asked for fewer requests (503, `SlowDown`, 429).
    SlowDown,
    /// The request failed in a way that says nothing about load.
    Failed,
}

/// Permits for requests, between 1 and a maximum.
#[derive(Debug)]
pub struct Concurrency {
    state: Mutex<ConcurrencyState>,
    changed: Condvar,
}

#[derive(Debug)]
struct ConcurrencyState {
    running: usize,
    /// Threads that wait to begin: without any, the system call that wakes them is saved.
    waiting: usize,
    window: Aimd,
}

/// When a request began that is still under way.
#[derive(Clone, Copy, Debug)]
pub struct Began(Instant);

impl Began {
    /// A request that begins now, outside of any limit.
    pub fn now() -> Self {
        Self(Instant::now())
    }
}

impl Concurrency {
    /// Makes permits for `maximum` requests, at least 1.
    pub fn new(maximum: usize) -> Self {
        let state = ConcurrencyState { running: 0, waiting: 0, window: Aimd::new(maximum.max(1)) };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until a request may begin. The caller must [end](Concurrency::end) it.
    ///
    /// # Errors
    /// [`Interrupted`] once `is_over` returns true; there is nothing to end then.
    pub fn begin(&self, is_over: &dyn Fn() -> bool) -> Result<Began, Interrupted> {
        let mut state = self.state.lock();
        while state.running >= state.window.limit {
            if is_over() {
                // This thread may have consumed a wake-up meant for another one: pass it on.
                self.changed.notify_one();
                return Err(Interrupted);
            }
            state.waiting += 1;
            self.changed.wait_for(&mut state, POLL);
            state.waiting -= 1;
        }
        state.running += 1;
        Ok(Began::now())
    }

    /// Ends a request.
    pub fn end(&self, began: Began, reply: Reply) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let before = state.window.limit;
        let running = state.running;
        state.window.ended(reply, now, now - began.0, running);
        state.running -= 1;
        let (grew, has_waiters) = (state.window.limit > before, state.waiting > 0);
        drop(state);
        if grew && has_waiters {
            self.changed.notify_all();
        } else if has_waiters {
            self.changed.notify_one();
        }
    }
}

/// The limit, moved by additive increase and multiplicative decrease.
#[derive(Debug)]
struct Aimd {
    limit: usize,
    maximum: usize,
    /// Requests answered since the limit last changed.
    answered: usize,
    decreased: Option<Instant>,
    /// Smoothed duration of a request: each new one counts an eighth (RFC 6298).
    usual: Option<Duration>,
}

impl Aimd {
    fn new(maximum: usize) -> Self {
        Self { limit: maximum, maximum, answered: 0, decreased: None, usual: None }
    }

    /// Records that one of `running` requests ended after `took`.
    fn ended(&mut self, reply: Reply, now: Instant, took: Duration, running: usize) {
        match reply {
            Reply::Failed => {}
            Reply::Answered => {
                self.usual = Some(self.usual.map_or(took, |usual| usual * 7 / 8 + took / 8));
                self.answered += 1;
                if self.answered >= self.limit && self.limit < self.maximum {
                    self.limit += 1;
                    self.answered = 0;
                }
            }
            Reply::SlowDown => {
                let window = self.usual.unwrap_or_default().max(WINDOW);
                if self.decreased.is_none_or(|before| now.duration_since(before) > window) {
                    // The store objected to the requests under way, not to those the limit would
                    // allow.
                    self.limit = (self.limit.min(running) / 2).max(1);
                    self.decreased = Some(now);
                    self.answered = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    const QUICK: Duration = Duration::from_millis(10);

    fn never() -> bool {
        false
    }

    #[test]
    fn slow_down_halves_the_limit_and_each_round_of_answers_raises_it_by_one() {
        let (mut window, now) = (Aimd::new(16), Instant::now());
        window.ended(Reply::SlowDown, now, QUICK, 16);
        assert_eq!(window.limit, 8);
        for _ in 0..7 {
            window.ended(Reply::Answered, now, QUICK, 8);
        }
        assert_eq!(window.limit, 8);
        window.ended(Reply::Answered, now, QUICK, 8);
        assert_eq!(window.limit, 9);
        for _ in 0..1000 {
            window.ended(Reply::Answered, now, QUICK, 9);
        }
        assert_eq!(window.limit, 16);
    }

    #[test]
    fn the_limit_decreases_once_a_window() {
        let (mut window, now) = (Aimd::new(64), Instant::now());
        for _ in 0..30 {
            window.ended(Reply::SlowDown, now + QUICK, QUICK, 64);
        }
        assert_eq!(window.limit, 32);
        window.ended(Reply::SlowDown, now + WINDOW * 2, QUICK, 32);
        assert_eq!(window.limit, 16);
        // Slow requests: a reply after two seconds is to a request from before the decrease.
        for _ in 0..100 {
            window.ended(Reply::Answered, now + WINDOW * 2, WINDOW * 5, 16);
        }
        let limit = window.limit;
        window.ended(Reply::SlowDown, now + WINDOW * 4, QUICK, 16);
        assert_eq!(window.limit, limit);
    }

    #[test]
    fn the_limit_decreases_to_half_of_the_requests_under_way() {
        let mut window = Aimd::new(64);
        window.ended(Reply::SlowDown, Instant::now(), QUICK, 6);
        assert_eq!(window.limit, 3);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_maximum(
            maximum in 1_usize..40,
            ends in proptest::collection::vec((0..3, 0_u64..3000, 1_usize..40), 0..200),
        ) {
            let (mut window, mut now) = (Aimd::new(maximum), Instant::now());
            for (reply, millis, running) in ends {
                let reply = [Reply::Answered, Reply::SlowDown, Reply::Failed][reply as usize];
                now += Duration::from_millis(millis);
                window.ended(reply, now, Duration::from_millis(millis), running);
                prop_assert!((1..=maximum).contains(&window.limit));
            }
        }
    }

    #[test]
    fn permits_are_never_more_than_the_limit_and_never_lost() {
        let (concurrency, running) = (Concurrency::new(4), AtomicUsize::new(0));
        thread::scope(|scope| {
            for n in 0..12 {
                let (concurrency, running) = (&concurrency, &running);
                scope.spawn(move || {
                    for round in 0..100 {
                        let began = concurrency.begin(&never).unwrap();
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 4);
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        let reply = match (n + round) % 5 {
                            0 => Reply::SlowDown,
                            1 => Reply::Failed,
                            _ => Reply::Answered,
                        };
                        concurrency.end(began, reply);
                    }
                });
            }
        });
        assert_eq!(concurrency.state.lock().running, 0);
    }

    #[test]
    fn a_wait_ends_with_the_run() {
        let concurrency = Concurrency::new(0);
        let began = concurrency.begin(&never).unwrap();
        assert!(concurrency.begin(&|| true).is_err());
        concurrency.end(began, Reply::Answered);
        assert!(concurrency.begin(&|| true).is_ok());
    }
}
