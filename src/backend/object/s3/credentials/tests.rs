use super::*;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A script of credentials: each lives for some seconds (0 is for ever), or there are none.
struct Script {
    now: Arc<AtomicI64>,
    lives: Mutex<Vec<Option<i64>>>,
    loads: AtomicU64,
}

impl Load for Script {
    fn load(&self) -> Result<Loaded, Error> {
        let load = self.loads.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(2));
        let life = self.lives.lock().remove(0);
        let life = life.ok_or_else(|| Error::new(ErrorKind::Unusable, format!("none {load}")))?;
        let now = Timestamp::from_second(self.now.load(Ordering::SeqCst)).unwrap();
        let expires = (life != 0).then(|| now + SignedDuration::from_secs(life));
        Ok(Loaded { credential: Credential::new(load.to_string(), "hunter2", None), expires })
    }
}

/// Makes cached credentials from a script, with a clock in seconds that the test sets.
fn scripted(lives: &[Option<i64>]) -> (Renewed<Script>, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(1_000_000));
    let script = Script {
        now: Arc::clone(&now),
        lives: Mutex::new(lives.to_vec()),
        loads: AtomicU64::new(0),
    };
    let mut renewed = Renewed::new(script);
    let clock = Arc::clone(&now);
    renewed.clock = Box::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap());
    (renewed, now)
}

/// Returns the id of the credentials, or the error.
fn given(credentials: &dyn Credentials) -> String {
    match credentials.get() {
        Ok(credential) => credential.unwrap().access_key().to_owned(),
        Err(error) => error.message,
    }
}

#[test]
fn what_lives_for_ever_is_loaded_once() {
    let (renewed, now) = scripted(&[Some(0)]);
    thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| assert_eq!(given(&renewed), "0"))));
    });
    now.fetch_add(1_000_000, Ordering::SeqCst);
    assert_eq!(given(&renewed), "0");
}

#[test]
fn credentials_are_renewed_before_their_end() {
    let (renewed, now) = scripted(&[Some(3600), Some(3600)]);
    assert_eq!(given(&renewed), "0");
    now.fetch_add(3600 - 301, Ordering::SeqCst);
    assert_eq!(given(&renewed), "0");
    now.fetch_add(2, Ordering::SeqCst);
    assert_eq!(given(&renewed), "1");
    assert_eq!(given(&renewed), "1");
}

#[test]
fn what_still_works_is_given_while_its_renewal_fails() {
    let (renewed, now) = scripted(&[Some(360), None, None, Some(0)]);
    assert_eq!(given(&renewed), "0");
    now.fetch_add(100, Ordering::SeqCst);
    assert_eq!(given(&renewed), "0");
    assert_eq!(given(&renewed), "0", "and is not renewed with each request");
    assert_eq!(renewed.source.loads.load(Ordering::SeqCst), 2);
    now.fetch_add(300, Ordering::SeqCst);
    assert_eq!(given(&renewed), "none 2", "its end has come");
    now.fetch_add(6, Ordering::SeqCst);
    assert_eq!(given(&renewed), "3");
}

#[test]
fn what_lives_shortly_is_not_loaded_for_each_request() {
    let (renewed, now) = scripted(&[Some(60), Some(60)]);
    (0..5).for_each(|_| assert_eq!(given(&renewed), "0"));
    now.fetch_add(31, Ordering::SeqCst);
    (0..5).for_each(|_| assert_eq!(given(&renewed), "1"));
}

#[test]
fn credentials_that_were_refused_are_not_given_again() {
    let (renewed, now) = scripted(&[Some(0), Some(0), None]);
    assert_eq!(given(&renewed), "0");
    now.fetch_add(10, Ordering::SeqCst);
    renewed.refused();
    assert_eq!(given(&renewed), "1");
    // Late replies to requests that were signed with the first credentials.
    renewed.refused();
    renewed.refused();
    assert_eq!(given(&renewed), "1");
    now.fetch_add(10, Ordering::SeqCst);
    renewed.refused();
    assert_eq!(given(&renewed), "none 2");
}

#[test]
fn a_failure_is_waited_for_by_one_thread_and_told_to_all() {
    let (renewed, now) = scripted(&[None, Some(0)]);
    thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| assert_eq!(given(&renewed), "none 0"))));
    });
    now.fetch_add(5, Ordering::SeqCst);
    assert_eq!(given(&renewed), "1");
}

#[test]
fn what_has_expired_when_it_comes_is_no_credential() {
    let (renewed, _) = scripted(&[Some(-1)]);
    assert!(given(&renewed).contains("expired"));
    assert!(!format!("{renewed:?}").contains("hunter2"));
}
