//! Pointer files, as the git-lfs specification has them.

use crate::base::digest::Digest;
use git2::{ObjectType, Odb, Oid};

/// The longest pointer file.
const MAX: usize = 1024;
const VERSION: &str = "version https://git-lfs.github.com/spec/v1";

/// What a pointer file points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    /// The SHA-256 of the content.
    pub oid: Digest,
    /// Its bytes.
    pub size: u64,
}

impl Pointer {
    /// Reads a pointer file: the version first, then keys in their order, each with a value. One with extensions is no
    /// pointer here: what stands in its place is made by a program.
    pub fn parse(text: &[u8]) -> Option<Pointer> {
        if text.len() > MAX {
            return None;
        }
        let mut lines = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(VERSION) {
            return None;
        }
        let oid = Digest::parse(lines.next()?.strip_prefix("oid sha256:")?)?;
        let digits = lines.next()?.strip_prefix("size ")?;
        let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        let size = digits.parse().ok().filter(|size| plain && *size <= i64::MAX as u64)?;
        lines.next().is_none().then_some(Pointer { oid, size })
    }

    /// The pointer that a blob is.
    pub fn of_blob(odb: &Odb<'_>, id: Oid) -> Option<Pointer> {
        // Most blobs are too large: their sizes are told without reading them.
        let (size, kind) = odb.read_header(id).ok()?;
        if kind != ObjectType::Blob || size > MAX {
            return None;
        }
        Pointer::parse(odb.read(id).ok()?.data())
    }

    /// The file.
    pub fn text(&self) -> String {
        format!("{VERSION}\noid sha256:{}\nsize {}\n", self.oid, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_as_git_lfs_writes_them_and_nothing_else_is_one() {
        let oid = Digest::of(b"x");
        let pointer = Pointer { oid, size: 12345 };
        let good = pointer.text();
        assert_eq!(Pointer::parse(good.as_bytes()), Some(pointer));
        for bad in [
            String::new(),
            "text\n".to_owned(),
            good.trim_end().to_owned(),
            good.replace("v1", "v2"),
            good.replace("sha256", "sha512"),
            good.replace("size 12345", "size -1"),
            good.replace("size 12345", "size +1"),
            good.replace("size 12345", "size 99999999999999999999"),
            good.replace("oid ", "ext-0-foo sha256:00\noid "),
            good.replace(&oid.to_string(), &oid.to_string().to_uppercase()),
            good.replace(&oid.to_string(), "../../../../x"),
            format!("{good}more 1\n"),
            format!("{good}{}", "\n".repeat(2000)),
        ] {
            assert_eq!(Pointer::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
