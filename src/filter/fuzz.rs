//! Random patterns: decisions about a key, its parents and a recorded filter agree.

use super::*;
use crate::model::fuzz::{Input, assert_printable, config, inputs};
use proptest::prelude::*;

/// Random rules, half of which include.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (inputs("filter"), any::<bool>()).prop_map(|(Input(bytes), includes)| {
        let pattern = String::from_utf8_lossy(&bytes).into_owned();
        if includes { Rule::Include(pattern) } else { Rule::Exclude(pattern) }
    });
    prop::collection::vec(rule, 0..4)
}

/// Names that patterns of the corpus match or nearly match.
const NAMES: [&str; 17] = [
    "a",
    "b",
    "build",
    "cache",
    "docs",
    "src",
    "x.tmp",
    "z.o",
    "foo.log",
    "caf\u{e9}",
    "9x",
    ".a",
    "#sharp",
    "node_modules",
    "\n",
    "a b",
    "trailing ",
];

/// Keys made of such names and of random ones, some of them directories.
fn keys() -> impl Strategy<Value = Vec<Key>> {
    let name = prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        prop::collection::vec(1..=255_u8, 1..4),
    ];
    let legal = |name: &Vec<u8>| !name.contains(&b'/') && name != b"." && name != b"..";
    let path = prop::collection::vec(name.prop_filter("a name", legal), 1..5);
    let key = (path, any::<bool>()).prop_map(|(path, is_directory)| {
        let mut bytes = path.join(&b'/');
        bytes.extend(is_directory.then_some(b'/'));
        Key::new(bytes)
    });
    prop::collection::vec(key, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

    /// A directory's exclusion applies to everything below it, a filter that was recorded decides
    /// as the original, and the last rule wins.
    #[test]
    fn decisions_agree_for_any_patterns(rules in rules(), keys in keys()) {
        let filter = match Filter::new(&rules, None, None) {
            Ok(filter) => filter,
            Err(error) => {
                assert_printable(&error);
                return Ok(());
            }
        };
        let json = serde_json::to_string(&filter).unwrap();
        let recorded: Filter = serde_json::from_str(&json).unwrap();
        let all = [&rules[..], &[Rule::Exclude("*".to_owned())]].concat();
        let all = Filter::new(&all, None, None).unwrap();
        let none = [&rules[..], &[Rule::Include("*".to_owned())]].concat();
        let none = Filter::new(&none, None, None).unwrap();
        for key in keys {
            let is_within = filter.excludes_within(&key);
            prop_assert_eq!(recorded.excludes_within(&key), is_within);
            prop_assert_eq!(recorded.excludes(&key), filter.excludes(&key));
            prop_assert!(is_within || !filter.excludes(&key), "{:?}", key);
            prop_assert!(all.excludes(&key) && !none.excludes_within(&key), "{:?}", key);
            let parent = Key::new(key.parent());
            if filter.excludes_within(&parent) {
                prop_assert!(is_within, "{:?} below {:?}", key, parent);
            } else {
                prop_assert_eq!(is_within, filter.excludes(&key), "{:?}", key);
            }
        }
    }
}
