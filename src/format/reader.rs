//! Finds the members of a bundle's archive, and refuses everything that is not exactly one (chapter C).
//!
//! Reads by position only, and nothing of the contents but `KBPACK`: as quick for a terabyte as for its headers.

use super::error::FormatError;
use super::header::{guess, header_block, padding, BLOCK};
use super::id::BundleId;
use super::member::MemberName;
use super::order::Order;
use crate::base::path::path_text;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A member, and where its content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: MemberName,
    /// Where the content begins in the file, in bytes.
    pub offset: u64,
    /// Bytes of the content.
    pub size: u64,
}

/// An archive that keeps every rule of chapter C. Says nothing yet of what is in the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    id: BundleId,
    /// In archive order.
    members: Vec<Member>,
    /// The parts alone, by stream and part.
    parts: Vec<Member>,
}

impl Container {
    /// Reads all headers of `file`, a regular file that is a bundle from its first byte to its last.
    pub fn scan(file: &File) -> Result<Container, FormatError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(FormatError::NotABundle);
        }
        let input = Input { file, len: metadata.len() };
        let id = input.id()?;
        let mut order = Order::default();
        let mut members = Vec::new();
        let mut at = 0;
        while !order.is_complete() {
            let (name, size) = input.header(&id, at)?;
            order.admit(&name, size)?;
            let member = Member { name, offset: at + BLOCK as u64, size };
            at = input.end_of(&member)?;
            members.push(member);
        }
        input.end_mark(at)?;

        let mut parts: Vec<Member> =
            members.iter().filter(|m| matches!(m.name, MemberName::Part { .. })).copied().collect();
        parts.sort_by_key(|part| part.name);
        Ok(Container { id, members, parts })
    }

    /// The bundle's id, as `KBPACK` and the folder's name have it.
    pub fn id(&self) -> BundleId {
        self.id
    }

    /// All members, in archive order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The key files, from 0. There is at least one.
    pub fn keys(&self) -> impl Iterator<Item = &Member> {
        self.members[2..].iter().take_while(|m| matches!(m.name, MemberName::Key(_)))
    }

    /// The parts of a stream, from 1. Empty for a number that no stream has.
    pub fn parts(&self, stream: u32) -> &[Member] {
        let below = |limit: u32| {
            self.parts
                .partition_point(|m| matches!(m.name, MemberName::Part { stream, .. } if stream < limit))
        };
        &self.parts[below(stream)..below(stream.saturating_add(1))]
    }

    /// How many streams there are, numbered from 1. The highest, the manifest, is always there.
    pub fn stream_count(&self) -> u32 {
        match self.parts.last().map(|m| m.name) {
            Some(MemberName::Part { stream, .. }) => stream,
            _ => 0,
        }
    }

    /// `SHA256SUMS`.
    pub fn sums(&self) -> &Member {
        &self.members[self.members.len() - 2]
    }

    /// `SHA256SUMS.sig`.
    pub fn seal(&self) -> &Member {
        &self.members[self.members.len() - 1]
    }

    /// The whole content of a member, at most as large as its kind may be (rule C10).
    pub fn read(&self, file: &File, member: &Member) -> Result<Vec<u8>, FormatError> {
        let max = member.name.max_size();
        if member.size > max {
            return Err(FormatError::TooLarge { name: member.name, size: member.size, max });
        }
        let input = Input { file, len: file.metadata()?.len() };
        input.bytes(member.offset, member.size as usize, member.name)
    }
}

/// A file and the length it had at first.
struct Input<'a> {
    file: &'a File,
    len: u64,
}

impl Input<'_> {
    /// The id, from the first two members. Less strict than what follows, so as to tell a file that is no
    /// bundle, or one of a newer version, from a broken one.
    fn id(&self) -> Result<BundleId, FormatError> {
        if self.len < BLOCK as u64 {
            return Err(FormatError::NotABundle);
        }
        let (readme, size) = self.opening(0, MemberName::Readme)?;
        let (id_file, size) = self.opening(readme + size + padding(size) as u64, MemberName::Id)?;
        BundleId::parse_file(&self.bytes(id_file, size as usize, MemberName::Id)?)
    }

    /// Where the content begins and how long it is, if the header at `at` can be `name`'s.
    fn opening(&self, at: u64, name: MemberName) -> Result<(u64, u64), FormatError> {
        let block = self.block(at)?;
        guess(&block)
            .filter(|(path, size)| {
                split(path).is_some_and(|(_, rest)| rest == name.to_string().as_bytes())
                    && *size <= name.max_size()
            })
            .map(|(_, size)| (at + BLOCK as u64, size))
            .ok_or(FormatError::NotABundle)
    }

    /// Rules C3 to C5: the header at `at`, built again from what it says and compared.
    fn header(&self, id: &BundleId, at: u64) -> Result<(MemberName, u64), FormatError> {
        let block = self.block(at)?;
        if block == [0; BLOCK] {
            return Err(FormatError::NoSeal { at });
        }
        let odd = |what| FormatError::Header { at, what };
        let (path, size) = guess(&block).ok_or(odd("the size is not eleven octal digits"))?;
        let unnamed = || FormatError::Name { at, name: path_text(path) };
        let (folder, name) = split(path).ok_or_else(unnamed)?;
        if folder != id.folder().as_bytes() {
            return Err(FormatError::Folder { at, folder: path_text(folder), expected: id.folder() });
        }
        let name = std::str::from_utf8(name).ok().and_then(MemberName::parse).ok_or_else(unnamed)?;
        if block != header_block(id, &name, size) {
            return Err(odd(match block[156] {
                b'0' => "a field is not as it must be",
                b'x' | b'g' => "it is a PAX extension",
                b'L' | b'K' | b'S' => "it is a GNU extension",
                _ => "it is no regular file's",
            }));
        }
        Ok((name, size))
    }

    /// Where the next header begins. Rules C1 and C12: the content and its padding are there.
    fn end_of(&self, member: &Member) -> Result<u64, FormatError> {
        let end = member.offset + member.size;
        let zeros = self.bytes(end, padding(member.size), member.name)?;
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Padding { name: member.name });
        }
        Ok(end + zeros.len() as u64)
    }

    /// Rule C13: two blocks of zeros from `at`, and the end of the file.
    fn end_mark(&self, at: u64) -> Result<(), FormatError> {
        let mark = 2 * BLOCK;
        if self.bytes(at, mark, "the end mark")?.iter().any(|&byte| byte != 0) || self.len != at + mark as u64
        {
            return Err(FormatError::End { at });
        }
        Ok(())
    }

    fn block(&self, at: u64) -> Result<[u8; BLOCK], FormatError> {
        let mut block = [0; BLOCK];
        self.fill(at, &mut block, "a header")?;
        Ok(block)
    }

    fn bytes(&self, at: u64, size: usize, inside: impl Display) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![0; size];
        self.fill(at, &mut bytes, inside)?;
        Ok(bytes)
    }

    fn fill(&self, at: u64, bytes: &mut [u8], inside: impl Display) -> Result<(), FormatError> {
        let cut = |end| FormatError::Cut { end, inside: inside.to_string() };
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return Err(cut(self.len));
        }
        self.file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
            // It became shorter since its length was taken.
            io::ErrorKind::UnexpectedEof => cut(at),
            _ => error.into(),
        })
    }
}

/// The folder and the rest of a path.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().position(|&byte| byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}
