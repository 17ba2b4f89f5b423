//! The clients of a run, which share credentials.

use super::super::RequestLimits;
use super::{Credentials, S3, S3Config, Settings};
use crate::model::{Error, Stop};
use parking_lot::Mutex;
use std::sync::Arc;

/// Makes clients. Those whose credentials are found in the same way share them.
#[derive(Default)]
pub struct Clients {
    /// The credentials, with the settings that they were found by.
    credentials: Mutex<Vec<(Settings, Arc<dyn Credentials>)>>,
}

impl Clients {
    /// Makes a client for a bucket, without sending a request.
    ///
    /// # Errors
    /// Fails if the settings don't give an address, or the trusted certificates can't be read.
    pub fn open(
        &self,
        bucket: &str,
        settings: &Settings,
        limits: Arc<dyn RequestLimits>,
        stop: Stop,
    ) -> Result<S3, Error> {
        let config = S3Config {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            bucket: bucket.to_owned(),
            path_style: settings.path_style,
            ca_file: settings.ca_file.clone(),
            proxies: settings.proxies.clone(),
        };
        S3::new(config, self.credentials(settings), limits, stop)
    }

    fn credentials(&self, settings: &Settings) -> Arc<dyn Credentials> {
        let mut all = self.credentials.lock();
        let same = all.iter().find(|(one, _)| one.finds_credentials_like(settings));
        if let Some((_, credentials)) = same {
            return Arc::clone(credentials);
        }
        let credentials = settings.credentials();
        all.push((settings.clone(), Arc::clone(&credentials)));
        credentials
    }
}
