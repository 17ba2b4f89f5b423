//! Access to the stores that locations name.

use crate::backend::object::StoreSettings;
use crate::location::{Location, SingleLocation};
use crate::model::Error;

/// Resolves the settings of a location's store, with the environment's variables; returns `None`
/// for a local directory.
///
/// # Errors
/// As those of [`StoreSettings::resolve`].
pub fn access(
    location: &Location,
    variable: &dyn Fn(&str) -> Option<String>,
    allow_http: bool,
) -> Result<Option<StoreSettings>, Error> {
    match location {
        Location::Local(_) => Ok(None),
        Location::S3(bucket) => StoreSettings::resolve(bucket, variable, allow_http).map(Some),
    }
}

/// Does the same as [`access`] for the location of a single file or object.
///
/// # Errors
/// As those of [`access`].
pub fn access_single(
    location: &SingleLocation,
    variable: &dyn Fn(&str) -> Option<String>,
    allow_http: bool,
) -> Result<Option<StoreSettings>, Error> {
    let bucket = location.bucket();
    bucket.map(|bucket| StoreSettings::resolve(bucket, variable, allow_http)).transpose()
}
