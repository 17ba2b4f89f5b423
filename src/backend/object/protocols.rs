//! The protocols of stores, one module each. Only this module names them.

use super::{RequestLimits, Store, s3};
use crate::location::S3Location;
use crate::model::{Error, Stop};
use std::sync::Arc;

/// How to reach a store, with the settings of its protocol.
#[derive(Clone, Debug)]
pub struct StoreSettings(Protocol);

#[derive(Clone, Debug)]
enum Protocol {
    S3(s3::Settings),
}

impl StoreSettings {
    /// Resolves how to reach a location's store. The location takes precedence, then the
    /// environment, then the configuration of the protocol's own tools.
    ///
    /// # Errors
    /// Those of the protocol; see [`s3::resolve`].
    pub fn resolve(
        location: &S3Location,
        environment: &dyn Fn(&str) -> Option<String>,
        allow_http: bool,
    ) -> Result<Self, Error> {
        Ok(Self(Protocol::S3(s3::resolve(location, environment, allow_http)?)))
    }
}

/// The clients of a run for each protocol.
#[derive(Default)]
pub(super) struct Clients {
    s3: s3::Clients,
}

impl Clients {
    /// Makes a client for a bucket, without sending a request.
    ///
    /// # Errors
    /// Fails if the settings don't give an address, or the trusted certificates can't be read.
    pub(super) fn open(
        &self,
        bucket: &str,
        settings: &StoreSettings,
        limits: Arc<dyn RequestLimits>,
        stop: Stop,
    ) -> Result<Arc<dyn Store>, Error> {
        match &settings.0 {
            Protocol::S3(settings) => Ok(Arc::new(self.s3.open(bucket, settings, limits, stop)?)),
        }
    }
}
