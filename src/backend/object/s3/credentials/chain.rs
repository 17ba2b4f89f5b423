//! The sources of credentials in the order of the AWS tools: environment, profile, web identity,
//! container, instance
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).
//!
//! A source that is not configured is skipped, and named if no credentials are found. A source that
//! is configured but fails ends the search. Instance metadata need no configuration and are skipped
//! in either case.

use super::http::{Ask, Http};
use super::{Load, Loaded, Sources, process};
use crate::backend::object::s3::Credential;
use crate::backend::object::s3::profile::{Profile, Profiles};
use crate::backend::object::s3::variables::Variables;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use jiff::Timestamp;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider,
    ECSCredentialProvider, IMDSv2CredentialProvider, RequestSigner, SSOCredentialProvider,
    StaticCredentialProvider,
};
use reqsign_core::{Context, Env, FileRead, ProvideCredential, Signer};
use std::collections::HashMap;
use std::path::PathBuf;

/// The name of a role's session, if the profile gives none.
const SESSION: &str = "vidimus";
/// Most characters of a service's message that are repeated.
const WORDS: usize = 300;
const NO_CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for \
     a bucket that anyone may read, add ?anonymous=true to its location";

/// Looks for credentials.
#[derive(Debug)]
pub(super) struct Chain<H = Http> {
    sources: Sources,
    /// The region of the services that are queried.
    region: String,
    http: H,
}

/// The result of one source.
type Found = Result<Option<Loaded>, Error>;
/// The library's type for credentials.
type Plain = reqsign_aws_v4::Credential;

impl<H: Ask> Chain<H> {
    /// Makes a chain that queries services with `http`.
    pub(super) fn asking(sources: Sources, region: String, http: H) -> Self {
        Self { sources, region, http }
    }

    /// Reads the keys from the environment; one without the other is an error.
    fn environment(&self) -> Found {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        match names.map(|name| self.variables().get(name)) {
            [Some(id), Some(secret)] => {
                let token = self.variables().get("AWS_SESSION_TOKEN").map(Into::into);
                let credential = Credential::new(id, secret, token);
                Ok(Some(Loaded { credential, expires: None }))
            }
            [None, None] => Ok(None),
            [id, _] => {
                let [set, missing] = if id.is_some() { names } else { [names[1], names[0]] };
                Err(unusable(format!("{set} is set and {missing} is not")).help(NO_CREDENTIALS))
            }
        }
    }

    /// Reads a profile; `from` are the profiles that led to it.
    fn profile(&self, profiles: &Profiles, name: &str, from: &[&str]) -> Found {
        let Some(profile) = profiles.get(name) else {
            let Some(before) = from.last() else { return Ok(None) };
            return Err(wrong(
                before,
                &format!("names the profile \"{name}\", which does not exist"),
            ));
        };
        let keys = || {
            let id = profile.get("aws_access_key_id")?;
            let secret = profile.get("aws_secret_access_key")?;
            let token = profile.get("aws_session_token").map(Into::into);
            Some(Loaded { credential: Credential::new(id, secret, token), expires: None })
        };
        // A role may name its own profile as the one whose keys may assume it.
        if from.contains(&name) {
            let looped = || wrong(name, "assumes its role by means of itself, and has no keys");
            return keys().map(Some).ok_or_else(looped);
        }
        if let Some(role) = profile.get("role_arn") {
            return self.role(profiles, name, profile, role, from).map(Some);
        }
        if let Some(loaded) = keys() {
            return Ok(Some(loaded));
        }
        if let Some(provider) = single_sign_on(profiles, name, profile)? {
            return self.ask(&provider).map_err(|error| {
                unusable(format!("profile \"{name}\": {}", self.message(&error)))
                    .help(format!("log in: aws sso login --profile {name}"))
            });
        }
        profile.get("credential_process").map(process::run).transpose().map_err(|error| {
            wrong(name, &format!("has a credential_process that {error}")).help(
                "run it by hand, as the user that vidimus runs as: it prints credentials in JSON, \
                     or says what it lacks",
            )
        })
    }

    /// Assumes the role of a profile.
    fn role(
        &self,
        profiles: &Profiles,
        name: &str,
        profile: Profile<'_>,
        role: &str,
        from: &[&str],
    ) -> Result<Loaded, Error> {
        let session = profile.get("role_session_name").unwrap_or(SESSION);
        let denied = |error: reqsign_core::Error| {
            unusable(format!(
                "profile \"{name}\": cannot assume its role: {}",
                self.message(&error)
            ))
            .help(
                "check its role_arn, and that the caller may assume the role: try `aws sts \
                 get-caller-identity`",
            )
        };
        if let Some(file) = profile.get("web_identity_token_file") {
            let provider = self.web_identity(role, file, session)?;
            let found = self.ask(&provider).map_err(denied)?;
            return found.ok_or_else(|| wrong(name, "has a role that yields no credentials"));
        }
        if profile.get("mfa_serial").is_some() {
            return Err(wrong(
                name,
                "needs a code from an MFA device, which vidimus can't ask for",
            )
            .help("assume the role with another tool, and pass its keys in the environment"));
        }
        let source = match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), None) => {
                let from = [from, &[name]].concat();
                self.profile(profiles, source, &from)?
            }
            (None, Some("Environment")) => self.environment()?,
            (None, Some("EcsContainer")) => self.container()?,
            (None, Some("Ec2InstanceMetadata")) => self.ask(&self.instance()).map_err(denied)?,
            (None, Some(_)) => {
                return Err(wrong(name, "has an unknown credential_source"));
            }
            (Some(_), Some(_)) | (None, None) => {
                let what = "needs one of source_profile and credential_source for its role";
                return Err(wrong(name, what));
            }
        };
        let Some(Loaded { credential, .. }) = source else {
            return Err(wrong(name, "has no credentials to assume its role with"));
        };
        let mut keys = StaticCredentialProvider::new(credential.access_key(), credential.secret());
        if let Some(token) = credential.token() {
            keys = keys.with_session_token(token);
        }
        let signer = Signer::new(self.context(), keys, RequestSigner::new("sts", &self.region));
        let mut provider = AssumeRoleCredentialProvider::new(role.to_owned(), signer)
            .with_region(self.region.clone())
            .with_regional_sts_endpoint()
            .with_role_session_name(session.to_owned());
        if let Some(id) = profile.get("external_id") {
            provider = provider.with_external_id(id.to_owned());
        }
        if let Some(seconds) = profile.get("duration_seconds") {
            let seconds = seconds.parse();
            let seconds = seconds.map_err(|_| wrong(name, "has an invalid duration_seconds"))?;
            provider = provider.with_duration_seconds(seconds);
        }
        let found = self.ask(&provider).map_err(denied)?;
        found.ok_or_else(|| wrong(name, "has a role that yields no credentials"))
    }

    fn web_identity(
        &self,
        role: &str,
        file: &str,
        session: &str,
    ) -> Result<AssumeRoleWithWebIdentityCredentialProvider, Error> {
        let file = self.variables().expand(file);
        let file = file.ok_or_else(|| unusable("there is no home directory: HOME is not set"))?;
        Ok(AssumeRoleWithWebIdentityCredentialProvider::with_config(role.to_owned(), file)
            .with_role_session_name(session.to_owned())
            .with_region(self.region.clone())
            .with_regional_sts_endpoint())
    }

    /// Uses the web identity from the environment, which Kubernetes sets.
    fn web_identity_of_environment(&self) -> Found {
        let of = |name| self.variables().get(name);
        let (Some(file), Some(role)) = (of("AWS_WEB_IDENTITY_TOKEN_FILE"), of("AWS_ROLE_ARN"))
        else {
            return Ok(None);
        };
        let session = of("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
        self.ask(&self.web_identity(role, file, session)?).map_err(|error| {
            unusable(format!("AWS_WEB_IDENTITY_TOKEN_FILE: {}", self.message(&error)))
        })
    }

    fn container(&self) -> Found {
        self.ask(&ECSCredentialProvider::new()).map_err(|error| {
            unusable(format!("the container's credentials: {}", self.message(&error)))
        })
    }

    fn instance(&self) -> IMDSv2CredentialProvider {
        let provider = IMDSv2CredentialProvider::new();
        match self.variables().get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            Some(endpoint) => provider.with_endpoint(endpoint.trim_end_matches('/')),
            None => provider,
        }
    }

    /// Reads the instance's metadata, or returns why there are no credentials.
    fn instance_metadata(&self) -> Result<Loaded, String> {
        let disabled = self.variables().get("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err("instance metadata is disabled (AWS_EC2_METADATA_DISABLED)".into());
        }
        if self.sources.is_foreign {
            return Err("instance metadata is not used with a custom endpoint".into());
        }
        match self.ask(&self.instance()) {
            Ok(Some(loaded)) => Ok(loaded),
            Ok(None) => Err("nothing in the instance metadata".into()),
            Err(error) => Err(format!("no instance metadata ({})", self.message(&error))),
        }
    }

    /// Runs a provider of the library, which is asynchronous.
    fn ask(
        &self,
        provider: &impl ProvideCredential<Credential = Plain>,
    ) -> Result<Option<Loaded>, reqsign_core::Error> {
        self.http.take_failure();
        let context = self.context();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| reqsign_core::Error::unexpected(error.to_string()))?;
        let found = runtime.block_on(provider.provide_credential(&context));
        // Don't wait for a name lookup that is still running.
        runtime.shutdown_background();
        found?.map(loaded).transpose()
    }

    fn context(&self) -> Context {
        Context::new()
            .with_file_read(Files)
            .with_http_send(self.http.clone())
            .with_env(self.variables().clone())
    }

    /// Formats an error: why there was no reply, or what the reply was.
    fn message(&self, error: &reqsign_core::Error) -> String {
        if let Some(failure) = self.http.take_failure() {
            return failure;
        }
        let words = error.to_string();
        // The text after the colon may quote a secret that could not be parsed.
        let words = if words.starts_with("failed to parse") {
            words.split(':').next().unwrap_or_default()
        } else {
            &words
        };
        let words: String = words.chars().take(WORDS).collect();
        Escaped(words.trim().as_bytes()).to_string()
    }

    fn variables(&self) -> &Variables {
        &self.sources.variables
    }
}

impl<H: Ask> Load for Chain<H> {
    fn load(&self) -> Result<Loaded, Error> {
        let mut tried = Vec::new();
        // A profile in the location takes precedence over the environment.
        if !self.sources.profile_is_typed {
            if let Some(loaded) = self.environment()? {
                return Ok(loaded);
            }
            tried.push("no keys in the environment".to_owned());
        }
        let profiles = Profiles::read(self.variables())?;
        let name = self.sources.profile.as_deref().unwrap_or("default");
        if let Some(loaded) = self.profile(&profiles, name, &[])? {
            return Ok(loaded);
        }
        tried.push(match profiles.get(name) {
            Some(_) => format!("none in the profile \"{name}\" of {}", profiles.files()),
            None => format!("no profile \"{name}\" in {}", profiles.files()),
        });
        if let Some(loaded) = self.web_identity_of_environment()? {
            return Ok(loaded);
        }
        tried.push("no web identity".to_owned());
        if let Some(loaded) = self.container()? {
            return Ok(loaded);
        }
        tried.push("none of a container".to_owned());
        match self.instance_metadata() {
            Ok(loaded) => return Ok(loaded),
            Err(reason) => tried.push(reason),
        }
        Err(unusable(format!("none were found: {}", tried.join(", "))).help(NO_CREDENTIALS))
    }
}

/// Returns the single sign-on of a profile, if it has one: in a section of its own, or in the older
/// form without one.
fn single_sign_on(
    profiles: &Profiles,
    name: &str,
    profile: Profile<'_>,
) -> Result<Option<SSOCredentialProvider>, Error> {
    let session = profile.get("sso_session");
    let section = session.map(|session| {
        let section = profiles.section("sso-session", session);
        section.ok_or_else(|| wrong(name, "names an sso_session that does not exist"))
    });
    let section = section.transpose()?;
    let of = |value| section.and_then(|section| section.get(value)).or_else(|| profile.get(value));
    // The token file is named after the session, or without one after the address.
    let token = session.or_else(|| of("sso_start_url"));
    let (Some(token), Some(region)) = (token, of("sso_region")) else { return Ok(None) };
    let account = profile.get("sso_account_id").zip(profile.get("sso_role_name"));
    let Some((account, role)) = account else {
        return Err(wrong(name, "needs sso_account_id and sso_role_name"));
    };
    Ok(Some(
        SSOCredentialProvider::new()
            .with_start_url(token)
            .with_region(region)
            .with_account_id(account)
            .with_role_name(role),
    ))
}

fn loaded(plain: Plain) -> Result<Loaded, reqsign_core::Error> {
    let expires = match plain.expires_in {
        Some(end) => Some(Timestamp::from_second(end.as_second()).map_err(|error| {
            reqsign_core::Error::unexpected("an expiry that is out of range").with_source(error)
        })?),
        None => None,
    };
    let token = plain.session_token.filter(|token| !token.is_empty()).map(Into::into);
    let credential = Credential::new(plain.access_key_id, plain.secret_access_key, token);
    Ok(Loaded { credential, expires })
}

fn unusable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unusable, message)
}

fn wrong(profile: &str, what: &str) -> Error {
    unusable(format!("the profile \"{}\" {what}", Escaped(profile.as_bytes())))
        .help("correct it in ~/.aws/config or ~/.aws/credentials, or name another by AWS_PROFILE")
}

/// File access for the library.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        // Small files, on a thread of their own: blocking is fine.
        std::fs::read(path).map_err(|error| reqsign_core::Error::unexpected(error.to_string()))
    }
}

/// Environment access for the library.
impl Env for Variables {
    fn var(&self, key: &str) -> Option<String> {
        self.all().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    }

    fn vars(&self) -> HashMap<String, String> {
        self.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests;
