//! The names that members of a bundle have: six kinds, each name in exactly one spelling (rule C4).

use crate::base::limits;
use std::fmt;

/// A member of the archive, by its name inside the bundle's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberName {
    /// `README.txt`
    Readme,
    /// `KBPACK`
    Id,
    /// `keys/<n>.age`, from 0, without leading zeros.
    Key(u32),
    /// `s/<stream>/<part>`, both from 1, of exactly six digits.
    Part {
        /// The stream's number.
        stream: u32,
        /// The part's number inside the stream.
        part: u32,
    },
    /// `SHA256SUMS`
    Sums,
    /// `SHA256SUMS.sig`
    Seal,
}

impl MemberName {
    /// Reads a name in its one spelling; anything else is `None`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "README.txt" => return Some(MemberName::Readme),
            "KBPACK" => return Some(MemberName::Id),
            "SHA256SUMS" => return Some(MemberName::Sums),
            "SHA256SUMS.sig" => return Some(MemberName::Seal),
            _ => {}
        }
        let number = |digits: &str, max: u32| digits.parse().ok().filter(|n| (1..=max).contains(n));
        let member = if let Some(rest) = name.strip_prefix("keys/") {
            MemberName::Key(rest.strip_suffix(".age")?.parse().ok()?)
        } else {
            let (stream, part) = name.strip_prefix("s/")?.split_once('/')?;
            MemberName::Part {
                stream: number(stream, limits::MAX_STREAMS)?,
                part: number(part, limits::MAX_PARTS)?,
            }
        };
        (member.to_string() == name).then_some(member)
    }

    /// The most bytes that a member of this kind may have (rule C10).
    pub(super) fn max_size(&self) -> u64 {
        match self {
            MemberName::Readme | MemberName::Id | MemberName::Seal => limits::MAX_SMALL_MEMBER,
            MemberName::Key(_) => limits::MAX_KEY_FILE,
            MemberName::Part { .. } => limits::PART_SIZE as u64,
            MemberName::Sums => limits::MAX_SUMS,
        }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemberName::Readme => f.write_str("README.txt"),
            MemberName::Id => f.write_str("KBPACK"),
            MemberName::Key(n) => write!(f, "keys/{n}.age"),
            MemberName::Part { stream, part } => write!(f, "s/{stream:06}/{part:06}"),
            MemberName::Sums => f.write_str("SHA256SUMS"),
            MemberName::Seal => f.write_str("SHA256SUMS.sig"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_spelling() {
        for good in [
            "README.txt",
            "KBPACK",
            "keys/0.age",
            "keys/31.age",
            "s/000001/000001",
            "s/999999/999999",
            "SHA256SUMS",
            "SHA256SUMS.sig",
        ] {
            assert_eq!(MemberName::parse(good).map(|m| m.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "",
            "readme.txt",
            "KBPACK/",
            "./KBPACK",
            "keys/00.age",
            "keys/01.age",
            "keys/+1.age",
            "keys/-1.age",
            "keys/.age",
            "keys/4294967296.age",
            "keys/0.age.age",
            "keys/ 0.age",
            "s/000000/000001",
            "s/000001/000000",
            "s/1/1",
            "s/0000001/000001",
            "s/1000000/000001",
            "s/000001/1000000",
            "s/+00001/000001",
            "s/000001",
            "s/000001/",
            "s/000001/000001/000001",
            "s/../KBPACK",
            "s/00000\u{661}/000001",
            "sha256sums",
        ] {
            assert_eq!(MemberName::parse(bad), None, "{bad:?}");
        }
    }
}
