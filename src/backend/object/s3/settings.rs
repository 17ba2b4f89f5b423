//! Settings: how to reach a store, from a location, the environment and a profile.
//!
//! The location's options take precedence, then the environment, then the profile
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>). The environment is
//! an argument: only the command line reads it.

use super::address::{host, is_loopback};
use super::credential::{Credentials, Fixed};
use super::credentials::{self, Sources};
use super::profile::{Profile, Profiles};
use super::proxy::Proxies;
use super::variables::Variables;
use crate::location::{self, S3Location};
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};
use std::path::PathBuf;
use std::sync::Arc;

/// AWS's default region.
const DEFAULT_REGION: &str = "us-east-1";

/// How to reach a store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's address, `http(s)://host[:port][/path]`; AWS if absent.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket is in the path of URLs (else in the host name).
    pub path_style: bool,
    /// Whether requests are sent unsigned.
    pub anonymous: bool,
    /// A file of certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies to use.
    pub proxies: Proxies,
    pub(super) sources: Sources,
}

impl Settings {
    /// Returns the credentials, which are looked up at the first request.
    pub fn credentials(&self) -> Arc<dyn Credentials> {
        if self.anonymous {
            return Arc::new(Fixed(None));
        }
        let (sources, region) = (self.sources.clone(), self.region.clone());
        let http =
            credentials::Http::new(self.ca_file.as_deref(), &self.proxies, &self.sources.variables);
        credentials::find(sources, region, http)
    }

    /// Returns whether both settings find credentials in the same way.
    pub fn finds_credentials_like(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.anonymous, it.region.clone(), it.ca_file.clone());
        of(self) == of(other) && self.proxies == other.proxies && self.sources == other.sources
    }
}

/// Resolves how to reach a location's store.
///
/// # Errors
/// [`ErrorKind::Usage`] for an invalid setting (also a proxy's), [`ErrorKind::Unusable`] for a
/// profile that doesn't exist or can't be read, [`ErrorKind::Refused`] for an unencrypted
/// connection to another machine, unless `allow_http` permits it.
pub fn resolve(
    location: &S3Location,
    environment: &dyn Fn(&str) -> Option<String>,
    allow_http: bool,
) -> Result<Settings, Error> {
    let variables = Variables::take(environment);
    let profiles = Profiles::read(&variables)?;
    let name = profile_name(location, &variables);
    let profile = profiles.get(name.unwrap_or("default"));
    if let (Some(name), None) = (name, profile) {
        return Err(no_profile(name, &profiles));
    }
    let of_profile = |name| profile.and_then(|profile: Profile<'_>| profile.get(name));

    let endpoint = endpoint(location, &variables, profile, &profiles)?;
    if let Some((origin, endpoint)) = &endpoint
        && endpoint.starts_with("http://")
        && !is_loopback(host(endpoint))
        && !allow_http
    {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("the endpoint \"{endpoint}\" ({origin}) is not encrypted"),
        )
        .help(hint![
            "use https://, or ",
            Setting::AllowHttp,
            " if you trust the network in between",
        ]));
    }
    let endpoint = endpoint.map(|(_, endpoint)| endpoint);
    let region = location
        .region
        .as_deref()
        .or_else(|| variables.get("AWS_REGION"))
        .or_else(|| variables.get("AWS_DEFAULT_REGION"))
        .or_else(|| of_profile("region"))
        .unwrap_or(DEFAULT_REGION);
    let ca_file = variables.get("AWS_CA_BUNDLE").or_else(|| of_profile("ca_bundle"));
    let sources = Sources {
        profile: name.map(str::to_owned),
        profile_is_typed: location.profile.is_some(),
        is_foreign: is_foreign(endpoint.as_deref()),
        variables: variables.clone(),
    };
    Ok(Settings {
        sources,
        path_style: path_style(location, endpoint.as_deref(), of_profile("s3.addressing_style")),
        region: location::region(region)?,
        endpoint,
        anonymous: location.anonymous.unwrap_or(false),
        ca_file: ca_file.and_then(|file| variables.expand(file)),
        proxies: Proxies::of(&variables)?,
    })
}

/// Returns the requested profile, if there is one.
fn profile_name<'a>(location: &'a S3Location, variables: &'a Variables) -> Option<&'a str> {
    location
        .profile
        .as_deref()
        .or_else(|| variables.get("AWS_PROFILE"))
        .or_else(|| variables.get("AWS_DEFAULT_PROFILE"))
}

fn no_profile(name: &str, profiles: &Profiles) -> Error {
    let message = format!("there is no profile \"{}\"", name.escape_debug());
    Error::new(ErrorKind::Unusable, message).help(format!("look in {}", profiles.files()))
}

/// Returns the endpoint and where it is set.
fn endpoint(
    location: &S3Location,
    variables: &Variables,
    profile: Option<Profile<'_>>,
    profiles: &Profiles,
) -> Result<Option<(&'static str, String)>, Error> {
    if let Some(endpoint) = &location.endpoint {
        return Ok(Some(("of the location", endpoint.clone())));
    }
    let of_profile = |name| profile.and_then(|profile| profile.get(name));
    let ignore = variables
        .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .or_else(|| of_profile("ignore_configured_endpoint_urls"));
    if ignore.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let services = of_profile("services").and_then(|name| profiles.section("services", name));
    let of_service = services.and_then(|services| services.get("s3.endpoint_url"));
    let found = [
        ("AWS_ENDPOINT_URL_S3", variables.get("AWS_ENDPOINT_URL_S3")),
        ("AWS_ENDPOINT_URL", variables.get("AWS_ENDPOINT_URL")),
        ("of the profile", of_service),
        // The older form.
        ("of the profile", of_profile("s3.endpoint_url")),
        ("of the profile", of_profile("endpoint_url")),
    ];
    let Some((origin, address)) =
        found.into_iter().find_map(|(origin, value)| Some((origin, value?)))
    else {
        return Ok(None);
    };
    location::endpoint(address)
        .map(|address| Some((origin, address)))
        .map_err(|error| Error { message: format!("{} ({origin})", error.message), ..error })
}

/// Returns whether the bucket is in the path: as requested; else if the store may not have a host
/// for each bucket, or no certificate covers a host with the bucket's name.
fn path_style(location: &S3Location, endpoint: Option<&str>, style: Option<&str>) -> bool {
    let of_profile = match style {
        Some("path") => Some(true),
        Some("virtual") => Some(false),
        _ => None,
    };
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_secure = endpoint.is_none_or(|endpoint| endpoint.starts_with("https://"));
    let makes_host = |byte: u8| is_label(byte) || byte == b'.' && !is_secure;
    location
        .path_style
        .or(of_profile)
        .unwrap_or_else(|| is_foreign(endpoint) || !location.bucket.bytes().all(makes_host))
}

/// Returns whether an endpoint is not one of AWS.
fn is_foreign(endpoint: Option<&str>) -> bool {
    let domains = ["amazonaws.com", "amazonaws.com.cn"];
    endpoint.map(host).is_some_and(|host| {
        !domains.iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    })
}

#[cfg(test)]
mod tests;
