//! Profiles: `~/.aws/config` and `~/.aws/credentials`, as the AWS tools read them
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>).
//!
//! No message repeats the content of a file, which may be secret.

use super::variables::Variables;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The sections of both files.
#[derive(Default)]
pub(super) struct Profiles {
    config: Sections,
    credentials: Sections,
    /// The files' names, for messages.
    files: [String; 2],
}

/// Sections by name; values by lower-case name, nested ones as `outer.inner`.
type Sections = BTreeMap<String, Section>;
type Section = BTreeMap<String, String>;

/// One profile from both files; credentials take precedence over config.
#[derive(Clone, Copy)]
pub(super) struct Profile<'a> {
    sections: [Option<&'a Section>; 2],
}

impl Profiles {
    /// Reads both files; a missing one is treated as empty.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] for a file that can't be read or parsed.
    pub(super) fn read(variables: &Variables) -> Result<Self, Error> {
        let file = |variable, name: &str| {
            let path = variables.get(variable).map(str::to_owned);
            variables.expand(&path.unwrap_or_else(|| format!("~/.aws/{name}")))
        };
        let config = file("AWS_CONFIG_FILE", "config");
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let files = [&credentials, &config].map(|path| match path {
            Some(path) => printable(path),
            None => "~/.aws".to_owned(),
        });
        let read = |path: Option<PathBuf>| path.map_or_else(|| Ok(Sections::new()), |p| read(&p));
        Ok(Self { config: read(config)?, credentials: read(credentials)?, files })
    }

    /// Returns a profile by name, if one of the files has it.
    pub(super) fn get(&self, name: &str) -> Option<Profile<'_>> {
        let config = self.named("profile", name);
        let config = config.or_else(|| self.config.get(name).filter(|_| name == "default"));
        let profile = Profile { sections: [self.credentials.get(name), config] };
        profile.sections.iter().any(Option::is_some).then_some(profile)
    }

    /// Returns a section of another kind, such as `sso-session`.
    pub(super) fn section(&self, kind: &str, name: &str) -> Option<Profile<'_>> {
        self.named(kind, name).map(|section| Profile { sections: [Some(section), None] })
    }

    fn named(&self, kind: &str, name: &str) -> Option<&Section> {
        self.config.get(&format!("{kind} {name}"))
    }

    /// Returns the names of the files, for messages.
    pub(super) fn files(&self) -> String {
        let [credentials, config] = &self.files;
        format!("{credentials} or {config}")
    }
}

impl<'a> Profile<'a> {
    /// Returns a value, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let value = |section: &&'a Section| section.get(name).filter(|value| !value.is_empty());
        self.sections.iter().flatten().find_map(value).map(String::as_str)
    }
}

impl fmt::Debug for Profiles {
    /// Prints no value.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Profiles").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Sections, Error> {
    let name = printable(path);
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(Sections::new());
        }
        Err(error) => {
            let message = format!("cannot read \"{name}\"");
            return Err(Error::new(ErrorKind::Unusable, message).because(error));
        }
    };
    parse(&String::from_utf8_lossy(&content)).map_err(|line| {
        Error::new(ErrorKind::Unusable, format!("line {line} of \"{name}\" is not valid"))
            .help("a line is [section], name = value, or a comment that begins with #")
    })
}

/// Parses a file; the error is the number of the line that can't be parsed.
fn parse(text: &str) -> Result<Sections, usize> {
    let mut sections = Sections::new();
    let mut section: Option<String> = None;
    // The last name without a value: the indented lines below belong to it.
    let mut outer: Option<String> = None;
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let is_indented = line.starts_with([' ', '\t']);
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if !is_indented && let Some(header) = trimmed.strip_prefix('[') {
            let (header, _) = header.split_once(']').ok_or(at + 1)?;
            let name = section_name(header);
            sections.entry(name.clone()).or_default();
            (section, outer) = (Some(name), None);
            continue;
        }
        let values = section.as_ref().and_then(|name| sections.get_mut(name)).ok_or(at + 1)?;
        let Some((name, value)) = trimmed.split_once('=') else {
            // A continuation line of a value: none of the values used here has any.
            if is_indented {
                continue;
            }
            return Err(at + 1);
        };
        let name = name.trim().to_ascii_lowercase();
        let value = without_comment(value.trim()).to_owned();
        if let Some(outer) = outer.as_ref().filter(|_| is_indented) {
            values.insert(format!("{outer}.{name}"), value);
        } else {
            outer = value.is_empty().then(|| name.clone());
            values.insert(name, value);
        }
    }
    Ok(sections)
}

/// Normalises a section's name: one space between kind and name, and no quotes.
fn section_name(header: &str) -> String {
    let bare = |name: &str| name.trim().trim_matches(['"', '\'']).to_owned();
    match header.trim().split_once([' ', '\t']) {
        Some((kind @ ("profile" | "sso-session" | "services"), name)) => {
            format!("{kind} {}", bare(name))
        }
        _ => bare(header),
    }
}

/// Removes a comment after a value: a `#` or `;` after white space.
fn without_comment(value: &str) -> &str {
    let starts = [" #", "\t#", " ;", "\t;"];
    let end = starts.iter().filter_map(|start| value.find(start)).min();
    value[..end.unwrap_or(value.len())].trim_end()
}

fn printable(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(config: &str, credentials: &str) -> Profiles {
        Profiles {
            config: parse(config).unwrap(),
            credentials: parse(credentials).unwrap(),
            files: ["credentials".into(), "config".into()],
        }
    }

    #[test]
    fn a_profile_is_what_both_files_say_of_it() {
        let profiles = profiles(
            "\u{feff}# comment\r\n[default]\r\nregion = eu-1\r\n\
             [profile a b]\nRegion=us-1 # comment\n\n[profile \"quoted\"]\nx=\n[a]\nregion=no\n",
            "[a b]\naws_access_key_id = AK\nregion = us-2\n[only]\nx = y#z\n",
        );
        assert_eq!(profiles.get("default").unwrap().get("region"), Some("eu-1"));
        let both = profiles.get("a b").unwrap();
        assert_eq!(both.get("region"), Some("us-2"), "credentials take precedence over config");
        assert_eq!(both.get("aws_access_key_id"), Some("AK"));
        assert_eq!(profiles.get("only").unwrap().get("x"), Some("y#z"));
        assert_eq!(profiles.get("quoted").unwrap().get("x"), None, "empty is absent");
        assert!(profiles.get("a").is_none(), "a section of config that is no profile");
        assert!(profiles.get("nobody").is_none());
    }

    #[test]
    fn nested_values_belong_to_their_name() {
        let profiles = profiles(
            "[profile p]\ns3 =\n  endpoint_url = http://a\n  addressing_style=path\n\
             region = x\n  more\nservices = s\n[services s]\ns3 = \n\tendpoint_url = http://b\n\
             ec2 =\n\tendpoint_url = http://c\n",
            "",
        );
        let profile = profiles.get("p").unwrap();
        assert_eq!(profile.get("s3.endpoint_url"), Some("http://a"));
        assert_eq!(profile.get("s3.addressing_style"), Some("path"));
        assert_eq!(profile.get("region"), Some("x"));
        let services = profiles.section("services", "s").unwrap();
        assert_eq!(services.get("s3.endpoint_url"), Some("http://b"));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_by_its_number() {
        assert_eq!(parse("[a]\nhunter2").unwrap_err(), 2);
        assert_eq!(parse("x = 1").unwrap_err(), 1);
        assert_eq!(parse("\n[a").unwrap_err(), 2);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[default]\nhunter2\n").unwrap();
        let error = read(file.path()).unwrap_err();
        assert!(error.message.contains("line 2") && !error.message.contains("hunter2"));
        assert!(read(Path::new("/nowhere/config")).unwrap().is_empty());
        assert!(read(Path::new("/")).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let profiles = profiles("", "[default]\naws_secret_access_key = hunter2\n");
        assert!(!format!("{profiles:?}").contains("hunter2"));
    }
}
