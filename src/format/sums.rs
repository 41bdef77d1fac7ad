//! `SHA256SUMS`: the digest of every member above it (rules S1 and S2).

use super::error::FormatError;
use super::member::MemberName;
use super::reader::Container;
use crate::base::digest::Digest;
use std::io::Write;

/// The digests of an archive's members, 32 bytes each and four a stream, found without searching.
#[derive(Debug, Clone)]
pub struct Sums {
    /// In the order `README.txt`, `KBPACK`, key files, parts by stream and part.
    digests: Vec<Digest>,
    /// Where the parts of each stream begin in `digests`, stream 1 first.
    streams: Vec<u32>,
}

impl Sums {
    /// Reads `bytes`, the content of `SHA256SUMS`: exactly the lines that `container` calls for, in archive order.
    ///
    /// Only the form is checked here. What stands in the lines is worth as much as the seal over them.
    pub fn parse(bytes: &[u8], container: &Container) -> Result<Sums, FormatError> {
        let listed = &container.members()[..container.members().len() - 2];
        let mut sums = Sums { digests: vec![Digest([0; 32]); listed.len()], streams: streams(container) };
        let mut rest = bytes;
        let mut ending = Vec::new();
        for (index, member) in listed.iter().enumerate() {
            ending.clear();
            writeln!(ending, "  {}", member.name)?;
            let broken = || FormatError::SumsLine { line: index + 1, expected: member.name };
            let (hex, tail) = rest.split_at_checked(64).ok_or_else(broken)?;
            let digest = std::str::from_utf8(hex).ok().and_then(Digest::parse).ok_or_else(broken)?;
            rest = tail.strip_prefix(&ending[..]).ok_or_else(broken)?;
            let position = sums.position(&member.name);
            sums.digests[position] = digest;
        }
        if !rest.is_empty() {
            return Err(FormatError::SumsEnd { lines: listed.len() });
        }
        Ok(sums)
    }

    /// The digest that a member's content must have.
    ///
    /// `name` must be a member of the container that the sums were read with, and above `SHA256SUMS`.
    ///
    /// # Panics
    /// For `SHA256SUMS` and its seal, which have no digest here, and for streams and key files that are not there.
    pub fn digest_of(&self, name: &MemberName) -> Digest {
        self.digests[self.position(name)]
    }

    fn position(&self, name: &MemberName) -> usize {
        match *name {
            MemberName::Readme => 0,
            MemberName::Id => 1,
            MemberName::Key(n) => 2 + n as usize,
            MemberName::Part { stream, part } => (self.streams[stream as usize - 1] + part - 1) as usize,
            MemberName::Sums | MemberName::Seal => usize::MAX,
        }
    }
}

/// Where the parts of each stream begin, after the members that are no parts.
fn streams(container: &Container) -> Vec<u32> {
    let mut next = 2 + container.keys().count() as u32;
    let begin = |stream| {
        let begin = next;
        next += container.parts(stream).len() as u32;
        begin
    };
    (1..=container.stream_count()).map(begin).collect()
}
