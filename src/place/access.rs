//! How the stores of locations are reached.

use crate::backend::object::StoreSettings;
use crate::location::{Location, SingleLocation};
use crate::model::Error;

/// Works out how a location's store is reached, by the environment's variables; `None` of a place that
/// has no store.
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

/// The same of a location of one thing.
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
