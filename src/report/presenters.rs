//! Several presenters of one run at once: what a person sees, records, a bar. Each does its own part,
//! and none knows of another.
//!
//! Main type: [`Presenters`]. It is the observer of a run; it hands on each event and each tick, and
//! folds once what all of them go by.

use super::Watch;
use crate::model::{Event, Observer, Progress};
use parking_lot::Mutex;
use std::time::Duration;

/// How often a run is looked at whose presenters want no ticks.
const TICK: Duration = Duration::from_millis(250);

/// An observer that may also look at the counters. What it doesn't do it leaves out.
pub trait Presenter: Observer {
    /// How often it wants to be ticked; `None` where it never does.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Looks at the counters, so long after the start.
    fn tick(&self, _at: Duration, _progress: &Progress, _watch: &Watch) {}

    /// Says that the run was asked to stop.
    fn stopping(&self) {}
}

/// A presenter that also shows how a run ended, of which `E` is what is known then.
pub trait Concludes<E>: Presenter {
    /// Says how the run ended; the last call.
    fn finish(&self, ending: &E, watch: &Watch);
}

/// The presenters of a run, in the order in which they are told. `E` is what they are told at its end.
pub struct Presenters<E> {
    all: Vec<Member<E>>,
    watch: Mutex<Watch>,
}

struct Member<E> {
    presenter: Box<dyn Concludes<E>>,
    /// When it was ticked last.
    ticked: Mutex<Duration>,
}

impl<E> Presenters<E> {
    /// Makes one of all; `watch` is the state before the run.
    pub fn new(all: Vec<Box<dyn Concludes<E>>>, watch: Watch) -> Self {
        let member = |presenter| Member { presenter, ticked: Mutex::default() };
        Self { all: all.into_iter().map(member).collect(), watch: Mutex::new(watch) }
    }

    /// How often it is to be ticked: as often as any of them wants.
    pub fn interval(&self) -> Duration {
        let all = self.all.iter().filter_map(|member| member.presenter.interval());
        all.min().unwrap_or(TICK)
    }

    /// Ticks those whose time has come, so long after the start.
    pub fn tick(&self, at: Duration, progress: &Progress) {
        // A tick is never quite on time.
        let slack = self.interval() / 2;
        let mut watch = self.watch.lock();
        watch.sample(at, progress);
        for Member { presenter, ticked } in &self.all {
            let Some(interval) = presenter.interval() else { continue };
            let mut ticked = ticked.lock();
            if at + slack >= *ticked + interval {
                *ticked = at;
                presenter.tick(at, progress, &watch);
            }
        }
    }

    /// Says that the run was asked to stop.
    pub fn stopping(&self) {
        self.all.iter().for_each(|member| member.presenter.stopping());
    }

    /// Says how the run ended.
    pub fn finish(&self, ending: &E) {
        let watch = self.watch.lock();
        self.all.iter().for_each(|member| member.presenter.finish(ending, &watch));
    }

    /// Whether a dry run saw anything that a run would change.
    pub fn would_change(&self) -> bool {
        self.watch.lock().would_change()
    }
}

impl<E> Observer for Presenters<E> {
    fn observe(&self, event: &Event) {
        if Watch::wants(event) {
            self.watch.lock().observe(event);
        }
        self.all.iter().for_each(|member| member.presenter.observe(event));
    }

    fn wants_changes(&self) -> bool {
        self.all.iter().any(|member| member.presenter.wants_changes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, Key, Notice, Outcome, Reason};
    use std::sync::Arc;

    /// Takes down what it is told.
    struct Recorder {
        interval: Option<Duration>,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Observer for Recorder {
        fn observe(&self, event: &Event) {
            self.told.lock().push(event.code().to_owned());
        }
    }

    impl Presenter for Recorder {
        fn interval(&self) -> Option<Duration> {
            self.interval
        }

        fn tick(&self, at: Duration, _progress: &Progress, _watch: &Watch) {
            self.told.lock().push(format!("tick {}", at.as_millis()));
        }
    }

    impl Concludes<&'static str> for Recorder {
        fn finish(&self, ending: &&'static str, watch: &Watch) {
            self.told.lock().push(format!("{ending} {}", watch.would_change()));
        }
    }

    #[test]
    fn each_presenter_sees_all_events_and_is_ticked_when_it_wants() {
        let recorders: [(_, Arc<Mutex<Vec<String>>>); 3] =
            [None, Some(100), Some(250)].map(|millis| (millis, Arc::default()));
        let boxed = |(millis, told): &(Option<u64>, Arc<_>)| {
            let interval = millis.map(Duration::from_millis);
            Box::new(Recorder { interval, told: Arc::clone(told) })
                as Box<dyn Concludes<&'static str>>
        };
        let presenters = Presenters::new(recorders.iter().map(boxed).collect(), Watch::default());
        assert_eq!(presenters.interval(), Duration::from_millis(100));
        assert!(!presenters.wants_changes());
        presenters.observe(&Event::Notice(Notice::NothingDeleted));
        let outcome = Outcome::new(&Key::new(*b"a"), None, Action::Delete, Reason::Extra);
        presenters.observe(&Event::Changed(outcome));
        let progress = Progress::default();
        for at in [101, 199, 302, 400, 502] {
            presenters.tick(Duration::from_millis(at), &progress);
        }
        presenters.finish(&"failed");
        let told = recorders.map(|(_, told)| told.lock().join(", "));
        let (first, last) = ("notice, changed", "failed true");
        assert_eq!(
            told,
            [
                format!("{first}, {last}"),
                format!("{first}, tick 101, tick 199, tick 302, tick 400, tick 502, {last}"),
                format!("{first}, tick 302, tick 502, {last}"),
            ]
        );
    }
}
