//! Jobs that the pool runs ahead of time.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// A job that is run by the pool, or by the thread that needs its result first.
pub(super) struct Ahead<T>(Arc<(Mutex<Work<T>>, Condvar)>);

enum Work<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Running,
    Done(T),
}

impl<T: Send + 'static> Ahead<T> {
    pub(super) fn spawn(
        pool: &rayon::ThreadPool,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let shared = Arc::new((Mutex::new(Work::Waiting(Box::new(job))), Condvar::new()));
        let theirs = Arc::downgrade(&shared);
        pool.spawn(move || {
            // The walk was dropped: the result isn't needed any more.
            let Some(theirs) = theirs.upgrade() else { return };
            let (work, done) = &*theirs;
            let job = {
                let mut work = work.lock();
                match std::mem::replace(&mut *work, Work::Running) {
                    Work::Waiting(job) => job,
                    other => {
                        *work = other;
                        return;
                    }
                }
            };
            let result = job();
            *work.lock() = Work::Done(result);
            done.notify_all();
        });
        Self(shared)
    }

    pub(super) fn take(self) -> T {
        let (work, done) = &*self.0;
        let mut work = work.lock();
        loop {
            match std::mem::replace(&mut *work, Work::Running) {
                Work::Done(result) => return result,
                Work::Waiting(job) => {
                    drop(work);
                    return job();
                }
                Work::Running => {
                    done.wait(&mut work);
                }
            }
        }
    }
}
