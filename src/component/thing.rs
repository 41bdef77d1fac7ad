//! What a component holds, as a list of things that two of can be compared: for `diff` and `status`.

use super::StreamSource;
use crate::base::digest::Digest;
use crate::base::path::BundlePath;
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Ordering;

/// One thing that a component holds, and what tells it from another of the same name. What is `None` is not known, and
/// then not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thing {
    /// A path inside the component, or another name; each once.
    pub name: String,
    /// What it is: `file`, `table`, `ref`...
    pub what: Cow<'static, str>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Rows of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What can be shown of it: a commit, a version, where a symlink leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When its content was last modified, as its kind writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Owner and group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Of its content, or of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Of its extended attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Digest>,
    /// Whether it is a secret: only its name is ever shown or kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_secret: bool,
    /// Whether a bundle names it and does not bring it: a source need not have it.
    #[serde(skip)]
    pub is_outside: bool,
    /// A secret's value, to be compared in memory and nowhere else.
    #[serde(skip)]
    pub secret: Option<Secret>,
    /// How many commits it has that the thing it is held against has not, and the other way round.
    #[serde(skip)]
    pub ahead_behind: Option<(u64, u64)>,
}

impl Thing {
    /// A thing of which nothing more is known.
    pub fn new(name: impl Into<String>, what: &'static str) -> Self {
        Thing { name: name.into(), what: Cow::Borrowed(what), ..Thing::default() }
    }

    /// In what the two differ, as far as both are known.
    pub fn differs(&self, other: &Thing) -> Vec<&'static str> {
        fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.zip(b).is_some_and(|(a, b)| a != b)
        }
        if self.what != other.what {
            return vec!["kind"];
        }
        let content = differ(self.content.as_ref(), other.content.as_ref());
        let aspects = [
            ("size", differ(self.size.as_ref(), other.size.as_ref())),
            ("rows", differ(self.rows.as_ref(), other.rows.as_ref())),
            ("content", content),
            ("value", differ(self.value.as_ref(), other.value.as_ref())),
            ("value", differ(self.secret.as_ref(), other.secret.as_ref())),
            ("mode", differ(self.mode.as_ref(), other.mode.as_ref())),
            ("owner", differ(self.owner.as_ref(), other.owner.as_ref())),
            ("attributes", differ(self.attributes.as_ref(), other.attributes.as_ref())),
            ("time", differ(self.time.as_ref(), other.time.as_ref())),
        ];
        aspects.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect()
    }

    /// Whether the two are secrets of which a value is not known, so that no one can say whether it is the same.
    pub fn is_open(&self, other: &Thing) -> bool {
        (self.is_secret || other.is_secret) && (self.secret.is_none() || other.secret.is_none())
    }
}

/// What a list of things will be held against.
#[derive(Clone, Copy)]
pub struct Against<'a> {
    /// The other side's things, in the order of their names. What need not be looked at again can be taken from them.
    pub things: &'a [Thing],
    /// Where the other side is a bundle: its streams of this component.
    pub streams: Option<&'a dyn StreamSource>,
    /// The part of the component that counts, as [`Scope::only`](super::Scope::only); empty: all of it.
    pub only: &'a [BundlePath],
}

impl<'a> Against<'a> {
    /// Nothing.
    pub const NOTHING: Against<'static> = Against { things: &[], streams: None, only: &[] };

    /// The other side's thing called `name`.
    pub fn find(&self, name: &str) -> Option<&'a Thing> {
        let at = self.things.binary_search_by(|thing| thing.name.as_str().cmp(name)).ok()?;
        self.things.get(at)
    }
}

/// Two lists of things, each in the order of their names, held against each other.
#[derive(Default)]
pub struct Contrast<'a> {
    /// What is not the same, in the order of names: the two things, of which one may be missing, and in what they differ.
    pub differences: Vec<(Option<&'a Thing>, Option<&'a Thing>, Vec<&'static str>)>,
    /// How many are the same, as far as is known.
    pub same: u64,
    /// Of how many of these nobody can say: secrets of which a value is not known.
    pub open: u64,
}

impl<'a> Contrast<'a> {
    /// Holds `left` against `right`.
    pub fn of(left: &'a [Thing], right: &'a [Thing]) -> Self {
        let mut contrast = Contrast::default();
        let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let order = match (lefts.peek(), rights.peek()) {
                (None, None) => return contrast,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.name.cmp(&right.name),
            };
            let left = lefts.next_if(|_| order.is_le());
            let right = rights.next_if(|_| order.is_ge());
            let aspects = left.zip(right).map_or_else(Vec::new, |(left, right)| left.differs(right));
            match left.zip(right).filter(|_| aspects.is_empty()) {
                None => contrast.differences.push((left, right, aspects)),
                Some((left, right)) => {
                    contrast.same += 1;
                    contrast.open += u64::from(left.is_open(right));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_compared() {
        let a = Thing { size: Some(1), time: Some("1".into()), mode: Some(0o644), ..Thing::new("a", "file") };
        let b = Thing { size: Some(2), time: Some("2".into()), ..Thing::new("a", "file") };
        assert_eq!(a.differs(&b), ["size", "time"]);
        assert_eq!(a.differs(&Thing::new("a", "file")), [""; 0]);
        assert_eq!(a.differs(&Thing::new("a", "directory")), ["kind"]);
    }

    #[test]
    fn a_secret_is_compared_and_never_written() {
        let secret = |value: &[u8]| Thing {
            is_secret: true,
            secret: Some(Secret::from(value.to_vec())),
            ..Thing::new("$K", "variable")
        };
        let (one, two) = (secret(b"hunter2"), secret(b"hunter3"));
        assert_eq!(one.differs(&two), ["value"]);
        assert!(one.differs(&secret(b"hunter2")).is_empty() && !one.is_open(&two));
        let written = serde_json::to_string(&one).unwrap();
        assert_eq!(written, r#"{"name":"$K","what":"variable","is_secret":true}"#);
        assert!(!format!("{one:?}").contains("hunter"));
        let read: Thing = serde_json::from_str(&written).unwrap();
        assert!(read.differs(&one).is_empty() && read.is_open(&one));
    }

    #[test]
    fn lists_are_merged_by_name() {
        let sized = |name: &str, size| Thing { size: Some(size), ..Thing::new(name, "file") };
        let left = [sized("a", 1), sized("b", 1), sized("d", 1)];
        let right = [sized("b", 2), sized("c", 1), sized("d", 1), sized("e", 1)];
        let contrast = Contrast::of(&left, &right);
        let named = |(left, right, aspects): &(Option<&Thing>, Option<&Thing>, Vec<_>)| {
            let name = |thing: &Option<&Thing>| thing.map_or_else(String::new, |thing| thing.name.clone());
            format!("{}|{}|{}", name(left), name(right), aspects.join(","))
        };
        let named: Vec<String> = contrast.differences.iter().map(named).collect();
        assert_eq!(named, ["a||", "b|b|size", "|c|", "|e|"]);
        assert_eq!((contrast.same, contrast.open), (1, 0));
        let secret = [Thing { is_secret: true, ..Thing::new("$K", "variable") }];
        assert_eq!(Contrast::of(&secret, &secret).open, 1);
    }

    #[test]
    fn things_are_found_by_name() {
        let things = ["a", "b", "b.c"].map(|name| Thing::new(name, "file"));
        let against = Against { things: &things, ..Against::NOTHING };
        assert_eq!(against.find("b").unwrap().name, "b");
        assert!(against.find("c").is_none() && Against::NOTHING.find("a").is_none());
    }
}
