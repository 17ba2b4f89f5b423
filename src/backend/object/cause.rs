//! Conversion of store errors into causes of an entry's failure or of the end of a run.

use super::{StoreError, StoreErrorKind};
use crate::model::error::Trouble;
use crate::model::hint::hint;
use crate::model::{Cause, Error, ErrorKind};
use crate::model::{Hint, Setting};

/// Converts a store error into the cause of one entry's failure.
pub(super) fn cause(error: &StoreError) -> Cause {
    use StoreErrorKind as Kind;
    let ends_run = match &error.kind {
        Kind::Interrupted => return Cause::Stopped,
        Kind::NotFound => return Cause::Vanished,
        Kind::NoBucket
        | Kind::BadCredentials
        | Kind::NoCredentials
        | Kind::ClockSkew
        | Kind::WrongRegion(_)
        | Kind::Redirect
        | Kind::Tls => help(error),
        _ => None,
    };
    if let Some(help) = ends_run {
        return Cause::Lost { message: message_of(error), help };
    }
    Cause::Store { trouble: trouble(&error.kind), message: message_of(error), help: help(error) }
}

/// Classifies an error for code that decides by it.
pub(super) fn trouble(kind: &StoreErrorKind) -> Trouble {
    use StoreErrorKind as Kind;
    match kind {
        Kind::NotFound | Kind::NoBucket | Kind::NoSuchUpload => Trouble::Missing,
        Kind::Denied | Kind::BadCredentials | Kind::NoCredentials | Kind::ClockSkew => {
            Trouble::Denied
        }
        Kind::Network | Kind::Tls | Kind::LostReply => Trouble::Network,
        Kind::Throttled => Trouble::Throttled,
        Kind::Unavailable => Trouble::Unavailable,
        Kind::BadReply | Kind::Corrupt => Trouble::Damaged,
        _ => Trouble::Refused,
    }
}

/// Converts an owned error; see [`cause`].
#[expect(clippy::needless_pass_by_value, reason = "results are mapped by it")]
pub(super) fn refused(error: StoreError) -> Cause {
    cause(&error)
}

/// Builds the error that ends a run before it begins.
pub(super) fn fatal(what: &str, error: &StoreError) -> Error {
    let help = help(error);
    let mut fatal = Error::new(ErrorKind::Unusable, format!("{what}: {}", message_of(error)));
    fatal.help = help;
    fatal
}

/// Formats an error with all its causes on one line.
pub(super) fn message_of(error: &StoreError) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    message
}

/// Returns the hint of the store's client, or else one that applies to any store.
fn help(error: &StoreError) -> Option<Hint> {
    use StoreErrorKind as Kind;
    if let Some(help) = &error.help {
        return Some(Hint::clone(help));
    }
    let help = match &error.kind {
        Kind::NoBucket => "check the bucket's name, endpoint and region, or create it first",
        Kind::BadCredentials => "check that the credentials are right and belong to this store",
        Kind::Denied => {
            "the store knows these credentials, but they don't permit this: check their policy"
        }
        Kind::NoCredentials => "set the credentials of this store",
        Kind::Signature => {
            return Some(hint!["rename the object, or leave it out by ", Setting::Exclude]);
        }
        Kind::Archived(_) => "restore it from the archive first, or leave it out",
        Kind::Proxy => {
            "check HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (http://user:password@host:port); NO_PROXY \
             names hosts that are reached without it"
        }
        Kind::ClockSkew => "set this machine's clock",
        Kind::WrongRegion(_) | Kind::Redirect => "name the bucket's region",
        Kind::Tls => "check the endpoint's certificate",
        Kind::Network => "check the endpoint and the network",
        Kind::Throttled => {
            return Some(hint![
                "run with fewer ",
                Setting::Transfers,
                " or with ",
                Setting::MaxRequests,
            ]);
        }
        _ => return None,
    };
    Some(help.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_store_errors_have_different_causes() {
        use StoreErrorKind as Kind;
        for (kind, trouble, has_help) in [
            (Kind::Denied, Trouble::Denied, true),
            (Kind::Network, Trouble::Network, true),
            (Kind::Throttled, Trouble::Throttled, true),
            (Kind::Unavailable, Trouble::Unavailable, false),
            (Kind::Corrupt, Trouble::Damaged, false),
            (Kind::NoSuchUpload, Trouble::Missing, false),
            (Kind::TooLarge, Trouble::Refused, false),
        ] {
            let cause = cause(&StoreError::new(kind.clone()).message("its words"));
            assert_eq!(cause.help().is_some(), has_help, "{kind:?}");
            let error = Error::unusable("cannot read it", cause);
            assert_eq!((error.kind, error.help.is_some()), (ErrorKind::Unusable, has_help));
            let source = error.source.as_ref().and_then(|source| source.downcast_ref::<Cause>());
            match source {
                Some(Cause::Store { trouble: found, message, .. }) => {
                    assert_eq!(*found, trouble, "{kind:?}");
                    assert!(message.contains("its words"), "{message}");
                }
                other => panic!("{kind:?}: {other:?}"),
            }
        }
        assert!(matches!(cause(&StoreError::new(Kind::NotFound)), Cause::Vanished));
        assert!(matches!(cause(&StoreError::new(Kind::NoBucket)), Cause::Lost { .. }));
    }
}
