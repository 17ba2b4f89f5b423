//! The protocols that stores speak, one module each: the only place outside of those that names them.

use super::{RequestLimits, Store, s3};
use crate::location::S3Location;
use crate::model::{Error, Stop};
use std::sync::Arc;

/// How a store is reached, whichever protocol it speaks.
#[derive(Clone, Debug)]
pub struct StoreSettings(Protocol);

#[derive(Clone, Debug)]
enum Protocol {
    S3(s3::Settings),
}

impl StoreSettings {
    /// Works out how a location's store is reached: what stands nearest to the user holds, the
    /// location, then the environment, then what the protocol's own tools are configured with.
    ///
    /// # Errors
    /// As those of the protocol; see [`s3::resolve`].
    pub fn resolve(
        location: &S3Location,
        environment: &dyn Fn(&str) -> Option<String>,
        allow_http: bool,
    ) -> Result<Self, Error> {
        Ok(Self(Protocol::S3(s3::resolve(location, environment, allow_http)?)))
    }
}

/// The clients of a run, of each protocol.
#[derive(Default)]
pub(super) struct Clients {
    s3: s3::Clients,
}

impl Clients {
    /// Makes a client of a bucket; nothing is sent yet.
    ///
    /// # Errors
    /// When the settings make no address, or the certificates to trust can't be read.
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
