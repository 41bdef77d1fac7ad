//! The bundle's id, and the member `KBPACK` that says it first.

use super::error::FormatError;
use crate::base::digest::{decode_hex, encode_hex};
use crate::base::path::path_text;
use rustix::rand::{getrandom, GetRandomFlags};
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;

/// The version of the format that this program writes and reads (rule C2).
pub const FORMAT_VERSION: u32 = 1;

/// 32 random bytes that name one bundle. Shown and serialised as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId(pub [u8; 32]);

impl BundleId {
    /// A new id from the kernel's random source.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(n) => filled += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(BundleId(bytes))
    }

    /// Reads exactly 64 lower-case hex digits; anything else is `None`.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        decode_hex(hex, &mut bytes).then_some(BundleId(bytes))
    }

    /// The folder that all members lie under: `kbpack-` and the id's first 16 hex digits (rule C5).
    pub fn folder(&self) -> String {
        format!("kbpack-{}", encode_hex(&self.0[..8]))
    }

    /// The content of the member `KBPACK` (rule C2).
    pub(super) fn file(&self) -> String {
        format!("kbpack {FORMAT_VERSION}\nid {self}\n")
    }

    /// Reads the content of the member `KBPACK`. A newer version is told apart before anything else is
    /// looked at, for whatever else may have changed in it.
    pub(super) fn parse_file(content: &[u8]) -> Result<Self, FormatError> {
        let broken = || FormatError::IdFile;
        let text = std::str::from_utf8(content).map_err(|_| broken())?;
        let (version, rest) =
            text.strip_prefix("kbpack ").and_then(|t| t.split_once('\n')).ok_or_else(broken)?;
        if version != FORMAT_VERSION.to_string() {
            let found = path_text(&version.as_bytes()[..version.len().min(16)]);
            return Err(FormatError::Version { found });
        }
        let hex = rest.strip_prefix("id ").and_then(|t| t.strip_suffix('\n'));
        hex.and_then(BundleId::parse).ok_or_else(broken)
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BundleId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BundleId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(d)?;
        BundleId::parse(&hex).ok_or_else(|| de::Error::custom("a bundle id is 64 lower-case hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_read_back() {
        let (a, b) = (BundleId::random().unwrap(), BundleId::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(BundleId::parse(&a.to_string()), Some(a));
        assert_eq!(serde_json::from_str::<BundleId>(&serde_json::to_string(&a).unwrap()).unwrap(), a);
        assert_eq!(BundleId([0xab; 32]).folder(), "kbpack-abababababababab");
        assert_eq!(BundleId::parse(&BundleId([0xab; 32]).to_string().to_uppercase()), None);
    }

    #[test]
    fn the_id_file_has_one_form() {
        let id = BundleId([0xab; 32]);
        let good = id.file();
        assert_eq!(good, format!("kbpack 1\nid {}\n", "ab".repeat(32)));
        assert_eq!(BundleId::parse_file(good.as_bytes()).unwrap(), id);
        for bad in [
            "".to_owned(),
            "kbpack 1".to_owned(),
            good.replace("kbpack 1", "kbpack"),
            good.replace('\n', "\r\n"),
            good.replace("id ", "id  "),
            good.to_uppercase(),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            format!("{good}more 1\n"),
        ] {
            let error = BundleId::parse_file(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::IdFile | FormatError::Version { .. }), "{bad:?}: {error}");
        }
        assert!(BundleId::parse_file(b"kbpack 1\nid \xff\n").is_err());
        for version in ["2", "01", "10", "1.1", "", "\u{1b}[2J", "ééééééééééé"] {
            let error = BundleId::parse_file(format!("kbpack {version}\nwhatever").as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Version { .. }), "{version:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }
}
