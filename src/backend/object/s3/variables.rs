//! The environment variables that matter to S3, as the AWS tools name them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The names of the variables.
const VARIABLES: [&str; 34] = [
    "HOME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CA_BUNDLE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_SSO_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "REQUEST_METHOD",
];

/// The values of these variables; an empty one is unset.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Variables(BTreeMap<&'static str, String>);

impl Variables {
    pub(super) fn take(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name| Some((name, environment(name).filter(|value| !value.is_empty())?));
        Self(VARIABLES.into_iter().filter_map(set).collect())
    }

    /// Returns the value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(VARIABLES.contains(&name), "{name} is not listed");
        self.0.get(name).map(String::as_str)
    }

    /// Returns names and values of all set variables.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }

    /// Expands `~/` at the start of a path; returns `None` if there is no home directory.
    pub(super) fn expand(&self, path: &str) -> Option<PathBuf> {
        match path.strip_prefix("~/") {
            Some(rest) => self.get("HOME").map(|home| PathBuf::from(home).join(rest)),
            None => Some(PathBuf::from(path)),
        }
    }
}

impl fmt::Debug for Variables {
    /// Prints only names.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}
