//! Hints for errors, which name the settings of the AWS tools.

use super::super::{StoreError, StoreErrorKind};
use crate::model::hint::hint;
use crate::model::{Hint, Setting};

/// Adds a hint to an error that has none yet.
pub(super) fn with_help(mut error: StoreError) -> StoreError {
    add_help(&mut error);
    error
}

/// Does the same as [`with_help`] in place.
pub(super) fn add_help(error: &mut StoreError) {
    if error.help.is_none() {
        error.help = help(&error.kind).map(Box::new);
    }
}

fn help(kind: &StoreErrorKind) -> Option<Hint> {
    use StoreErrorKind as Kind;
    if let Kind::WrongRegion(Some(region)) = kind {
        let help = format!("set AWS_REGION={region}, or add ?region={region} to the location");
        return Some(help.into());
    }
    let help = match kind {
        Kind::BadCredentials => {
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and that they \
             belong to this store"
        }
        Kind::NoCredentials => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a bucket that \
             anyone may read, add ?anonymous=true to its location"
        }
        Kind::Signature => {
            return Some(hint![
                "the store encodes this key in another way than S3 does: rename it, or leave it out by ",
                Setting::Exclude,
            ]);
        }
        Kind::Archived(_) => "restore it first (aws s3api restore-object), or leave it out",
        Kind::WrongRegion(_) | Kind::Redirect => {
            "name the bucket's region: AWS_REGION, or ?region=… in the location"
        }
        Kind::Tls => {
            "check the endpoint's certificate; AWS_CA_BUNDLE names a file of authorities to trust"
        }
        Kind::Network => "check the endpoint (AWS_ENDPOINT_URL, ?endpoint=…) and the network",
        _ => return None,
    };
    Some(help.into())
}
