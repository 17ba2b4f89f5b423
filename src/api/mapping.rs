//! Owners, groups and modes that a mirror gives to its source's entries, as they are typed.

use crate::backend::local::LocalNames;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, IdMap, MetadataMapping, ModeChanges, Setting};

/// What was typed; names of users and groups are those of this machine.
#[derive(Default)]
pub(super) struct Mappings {
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) user_map: Option<String>,
    pub(super) group_map: Option<String>,
    pub(super) by_name: bool,
    pub(super) umask: u32,
}

impl Mappings {
    /// Parses all of it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for what isn't well-formed, unknown names, and settings that contradict
    /// each other.
    pub(super) fn build(&self) -> Result<MetadataMapping, Error> {
        let (user, group) = self
            .chown
            .as_deref()
            .map_or(("", ""), |chown| chown.split_once(':').unwrap_or((chown, "")));
        if self.chown.as_deref().is_some_and(|chown| chown.trim_matches(':').is_empty()) {
            return Err(unusable(Setting::Chown, "it names neither a user nor a group"));
        }
        let modes = self.chmod.as_deref().map(|text| ModeChanges::parse(text, self.umask));
        let modes = modes.transpose().map_err(|why| unusable(Setting::Chmod, &why))?;
        Ok(MetadataMapping {
            users: map(user, self.user_map.as_deref(), Setting::Usermap, &user_id)?,
            groups: map(group, self.group_map.as_deref(), Setting::Groupmap, &group_id)?,
            modes: modes.unwrap_or_default(),
            by_name: self.by_name,
        })
    }
}

/// Makes the map of users, or of groups: all become the one that is named, or the rules hold.
fn map(
    all: &str,
    rules: Option<&str>,
    setting: Setting,
    id_of: &dyn Fn(&str) -> Result<u32, String>,
) -> Result<IdMap, Error> {
    match (all, rules) {
        ("", None) => Ok(IdMap::default()),
        ("", Some(rules)) => IdMap::parse(rules, id_of).map_err(|why| unusable(setting, &why)),
        (all, None) => id_of(all).map(IdMap::all_to).map_err(|why| unusable(Setting::Chown, &why)),
        (_, Some(_)) => Err(Error::new(ErrorKind::Usage, "an owner or a group is given twice")
            .help(hint!["leave out ", Setting::Chown, " or ", setting])),
    }
}

fn user_id(name: &str) -> Result<u32, String> {
    id(name, "user", LocalNames.user_id(name))
}

fn group_id(name: &str) -> Result<u32, String> {
    id(name, "group", LocalNames.group_id(name))
}

/// Returns the id of a name, or the number that stands in its place.
fn id(name: &str, what: &str, found: Option<u32>) -> Result<u32, String> {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    // No file can belong to the highest number: chown(2) takes it for "leave it as it is".
    let number = || name.parse().ok().filter(|id| is_number && *id != u32::MAX);
    found
        .or_else(number)
        .ok_or_else(|| format!("this machine has no {what} \"{}\"", name.escape_debug()))
}

fn unusable(setting: Setting, why: &str) -> Error {
    Error::new(ErrorKind::Usage, why.to_owned()).help(hint!["see ", setting])
}
