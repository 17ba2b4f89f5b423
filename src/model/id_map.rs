//! Owners and groups that take the place of others: rsync's `--usermap` and `--groupmap`.

use gix_glob::wildmatch;
use gix_glob::wildmatch::Mode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// Rules by which a user or group takes the place of another. The first that matches counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    from: Ids,
    to: u32,
}

/// Users or groups, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
enum Ids {
    /// All of them.
    All,
    /// Those with these numbers.
    Numbers(RangeInclusive<u32>),
    /// Those whose name matches a pattern of a shell; an empty one matches those without a name.
    Named(String),
}

impl Ids {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(is_digit);
        if !is_number(first) || !is_number(last) {
            return Ok(Self::Named(text.to_owned()));
        }
        let ids = first.parse().ok().zip(last.parse().ok());
        let ids = ids.map(|(first, last)| RangeInclusive::new(first, last));
        let ids = ids.filter(|ids| !ids.is_empty());
        ids.map(Self::Numbers).ok_or_else(|| format!("\"{text}\" is not a range of ids"))
    }

    fn contains(&self, id: u32, name: &dyn Fn(u32) -> Option<String>) -> bool {
        match self {
            Self::All => true,
            Self::Numbers(ids) => ids.contains(&id),
            Self::Named(pattern) => {
                let name = name(id).unwrap_or_default();
                wildmatch(pattern.as_str().into(), name.as_str().into(), Mode::empty())
            }
        }
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

impl fmt::Display for Ids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("*"),
            Self::Numbers(ids) if ids.start() == ids.end() => write!(out, "{}", ids.start()),
            Self::Numbers(ids) => write!(out, "{}-{}", ids.start(), ids.end()),
            Self::Named(pattern) => out.write_str(pattern),
        }
    }
}

impl From<Ids> for String {
    fn from(ids: Ids) -> Self {
        ids.to_string()
    }
}

impl TryFrom<String> for Ids {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl IdMap {
    /// Makes the map in which everybody becomes this one.
    pub fn all_to(id: u32) -> Self {
        Self { rules: vec![Rule { from: Ids::All, to: id }] }
    }

    /// Parses pairs `FROM:TO` with commas between them. FROM is a number, a range (`0-99`), a name,
    /// which may be a pattern, `*` for all, or nothing for those without a name. TO is a number, or
    /// a name whose number `id_of` returns.
    ///
    /// # Errors
    /// Says what is wrong, for people.
    pub fn parse(text: &str, id_of: &dyn Fn(&str) -> Result<u32, String>) -> Result<Self, String> {
        let parse_pair = |pair: &str| {
            let (from, to) = pair
                .rsplit_once(':')
                .ok_or_else(|| format!("\"{}\" is not a pair FROM:TO", pair.escape_debug()))?;
            Ok(Rule { from: Ids::parse(from)?, to: id_of(to)? })
        };
        let rules = text.split(',').map(parse_pair).collect::<Result<_, String>>()?;
        Ok(Self { rules })
    }

    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns what takes the place of a user or group; `None` if no rule matches. `name` returns
    /// the name of a number, if there is one.
    pub fn map(&self, id: u32, name: &dyn Fn(u32) -> Option<String>) -> Option<u32> {
        self.rules.iter().find(|rule| rule.from.contains(id, name)).map(|rule| rule.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(name: &str) -> Result<u32, String> {
        match name {
            "nobody" => Ok(65534),
            "admin" => Ok(7),
            number => number.parse().map_err(|_| format!("no {number}")),
        }
    }

    fn name_of(id: u32) -> Option<String> {
        Some(["root", "wayne", "web1", "web2"].get(id as usize)?.to_string())
    }

    fn mapped(rules: &str, ids: [u32; 5]) -> [Option<u32>; 5] {
        let map = IdMap::parse(rules, &id_of).unwrap();
        ids.map(|id| map.map(id, &name_of))
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let ids = [0, 1, 2, 3, 4];
        assert_eq!(
            mapped("0-1:nobody,wayne:admin,*:5", ids),
            [Some(65534), Some(65534), Some(5), Some(5), Some(5)]
        );
        assert_eq!(mapped("wayne:admin,2:9", ids), [None, Some(7), Some(9), None, None]);
        assert_eq!(mapped("web*:8,:9", ids), [None, None, Some(8), Some(8), Some(9)]);
        assert_eq!(mapped("1-3:0", ids), [None, Some(0), Some(0), Some(0), None]);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["", "1", "1:", "1:nosuch", "3-1:0", "4294967296:0", "1:2,"] {
            assert!(IdMap::parse(text, &id_of).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_recorded_with_the_numbers_they_lead_to() {
        let map = IdMap::parse("0-9:nobody,web*:1,:2,*:3,4:5", &id_of).unwrap();
        let json = serde_json::to_string(&map).unwrap();
        assert!(json.starts_with(r#"[{"from":"0-9","to":65534},{"from":"web*","to":1}"#), "{json}");
        assert_eq!(serde_json::from_str::<IdMap>(&json).unwrap(), map);
        assert_eq!(IdMap::all_to(3).map(9, &|_| None), Some(3));
    }
}
