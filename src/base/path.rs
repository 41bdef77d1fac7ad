//! Paths that come out of a bundle. They are bytes, relative, and cannot climb.

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A relative path inside a component: one or more segments joined by `/`, no segment empty, `.` or
/// `..`, no NUL, at most 255 bytes a segment and 4,095 in all. Any other byte may occur, for Linux allows it.
///
/// Its text form (JSON, messages) is UTF-8 in which `%`, control characters and bytes that are not part
/// of valid UTF-8 stand as `%XX` with upper-case hex digits. There is exactly one text form for each path, and only it is read back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath(Vec<u8>);

/// Why bytes are not a [`BundlePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No byte at all.
    #[error("the path is empty")]
    Empty,
    /// Begins with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// Has an empty segment (`//`, or a slash at the end).
    #[error("the path has an empty segment")]
    EmptySegment,
    /// Has a segment `.`.
    #[error("the path has a segment '.'")]
    Dot,
    /// Has a segment `..`.
    #[error("the path has a segment '..'")]
    DotDot,
    /// Has a NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
    /// Over 4,095 bytes, or a segment over 255.
    #[error("the path is too long")]
    TooLong,
    /// The text form is not the canonical one.
    #[error("the path's text form is not canonical")]
    NotCanonical,
}

impl BundlePath {
    /// Takes `bytes` if they are a valid relative path.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes[0] == b'/' {
            return Err(PathError::Absolute);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.len() > 4095 {
            return Err(PathError::TooLong);
        }
        for segment in bytes.split(|&c| c == b'/') {
            match segment {
                b"" => return Err(PathError::EmptySegment),
                b"." => return Err(PathError::Dot),
                b".." => return Err(PathError::DotDot),
                s if s.len() > 255 => return Err(PathError::TooLong),
                _ => {}
            }
        }
        Ok(BundlePath(bytes))
    }

    /// The bytes, as the file system has them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a relative [`Path`].
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path without its last segment; `None` at the top.
    pub fn parent(&self) -> Option<BundlePath> {
        let cut = self.0.iter().rposition(|&c| c == b'/')?;
        Some(BundlePath(self.0[..cut].to_vec()))
    }

    /// The last segment.
    pub fn file_name(&self) -> &OsStr {
        let start = self.0.iter().rposition(|&c| c == b'/').map_or(0, |cut| cut + 1);
        OsStr::from_bytes(&self.0[start..])
    }

    /// The path of `name` beside this one.
    pub fn sibling(&self, name: &OsStr) -> Result<BundlePath, PathError> {
        let parent = self.0.iter().rposition(|&c| c == b'/').map_or(0, |cut| cut + 1);
        BundlePath::new([&self.0[..parent], name.as_bytes()].concat())
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &BundlePath) -> bool {
        self.0.strip_prefix(other.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Reads the canonical text form.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        BundlePath::new(text_path(text)?)
    }
}

/// The text form of any bytes: see [`BundlePath`].
pub fn path_text(bytes: &[u8]) -> String {
    // Most paths are their own text form.
    if let Ok(plain) = std::str::from_utf8(bytes) {
        if !plain.bytes().any(|b| b == b'%' || b < 0x20 || b == 0x7f || b == 0xc2) {
            return plain.to_owned();
        }
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut utf8 = [0; 4];
                c.encode_utf8(&mut utf8).bytes().for_each(|b| text.push_str(&format!("%{b:02X}")));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| text.push_str(&format!("%{b:02X}")));
    }
    text
}

/// The bytes that a text form stands for: the inverse of [`path_text`]. Only the canonical form is read.
pub fn text_path(text: &str) -> Result<Vec<u8>, PathError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(PathError::NotCanonical) };
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(PathError::NotCanonical),
        }
        rest = tail;
    }
    match path_text(&bytes) == text {
        true => Ok(bytes),
        false => Err(PathError::NotCanonical),
    }
}

/// A path of this machine in a report or a journal: shown, written and read in the text form of [`path_text`], for it may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPath(pub PathBuf);

impl From<&Path> for ShownPath {
    fn from(path: &Path) -> Self {
        ShownPath(path.to_owned())
    }
}

/// A path of this machine for people.
pub fn shown(path: &Path) -> String {
    path_text(path.as_os_str().as_bytes())
}

/// Each of `paths` as a [`ShownPath`].
pub fn shown_paths(paths: &[PathBuf]) -> Vec<ShownPath> {
    paths.iter().map(|path| path.as_path().into()).collect()
}

impl fmt::Display for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path_text(self.0.as_os_str().as_bytes()))
    }
}

impl Serialize for ShownPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShownPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = text_path(&String::deserialize(d)?).map_err(de::Error::custom)?;
        Ok(ShownPath(OsString::from_vec(bytes).into()))
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path_text(&self.0))
    }
}

impl fmt::Debug for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BundlePath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BundlePath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        BundlePath::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_paths_are_refused() {
        for (bytes, why) in [
            (&b""[..], PathError::Empty),
            (b"/etc/passwd", PathError::Absolute),
            (b"../x", PathError::DotDot),
            (b"a/../b", PathError::DotDot),
            (b".", PathError::Dot),
            (b"a/./b", PathError::Dot),
            (b"a//b", PathError::EmptySegment),
            (b"a/", PathError::EmptySegment),
            (b"a\0b", PathError::Nul),
        ] {
            assert_eq!(BundlePath::new(bytes), Err(why), "{bytes:?}");
        }
        assert_eq!(BundlePath::new(vec![b'a'; 256]), Err(PathError::TooLong));
    }

    #[test]
    fn text_form_is_a_bijection() {
        for bytes in
            [&b"plain/name"[..], b"100%", b"caf\xc3\xa9", b"caf\xe9", b"a\nb", b"\xff\xfe/x", b"\xc2\x85"]
        {
            let path = BundlePath::new(bytes).unwrap();
            assert_eq!(BundlePath::parse(&path.to_string()), Ok(path));
        }
        assert_eq!(BundlePath::new(&b"a%\xff"[..]).unwrap().to_string(), "a%25%FF");
        for bad in ["%41", "%ff", "%", "%4", "%GG", "100%", "%2F"] {
            assert!(BundlePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_of_this_machine_come_back_from_a_journal_as_they_were() {
        let path = ShownPath(OsString::from_vec(b"/srv/100%/caf\xe9\n".to_vec()).into());
        let text = serde_json::to_string(&path).unwrap();
        assert_eq!(text, r#""/srv/100%25/caf%E9%0A""#);
        assert_eq!(serde_json::from_str::<ShownPath>(&text).unwrap(), path);
        assert!(serde_json::from_str::<ShownPath>(r#""/srv/%41""#).is_err());
    }

    #[test]
    fn within() {
        let path = |s: &str| BundlePath::new(s).unwrap();
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
    }
}
