//! Writes a bundle's archive, member by member (chapters C and S).

use super::header::{header_block, padding, BLOCK};
use super::id::BundleId;
use super::member::MemberName;
use super::order::Order;
use super::readme::README;
use crate::base::digest::Digest;
use crate::base::fault::into_io;
use std::io::{self, Write};

/// An archive being written. After an error it is spoiled: what was written must not be used.
pub struct ContainerWriter<W: Write> {
    out: W,
    id: BundleId,
    order: Order,
    /// The lines of `SHA256SUMS` so far.
    sums: Vec<u8>,
}

impl<W: Write> ContainerWriter<W> {
    /// Begins an archive: writes `README.txt` and `KBPACK`.
    pub fn new(out: W, id: BundleId) -> io::Result<Self> {
        let mut writer = ContainerWriter { out, id, order: Order::default(), sums: Vec::new() };
        writer.listed(&MemberName::Readme, README.as_bytes())?;
        writer.listed(&MemberName::Id, id.file().as_bytes())?;
        Ok(writer)
    }

    /// Adds a key file or a part, whole, and returns its content's digest.
    ///
    /// Key files come first, from 0; then parts, each stream's from 1, all but its last of exactly
    /// [`PART_SIZE`](crate::base::limits::PART_SIZE); the manifest's, the highest stream's, last of all.
    /// An error carries the [`FormatError`](super::FormatError) of the rule that would be broken.
    pub fn add(&mut self, name: &MemberName, content: &[u8]) -> io::Result<Digest> {
        if matches!(name, MemberName::Sums | MemberName::Seal) {
            let what = "SHA256SUMS and its seal are written when the archive is finished";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.listed(name, content)
    }

    /// Ends the archive: writes `SHA256SUMS`, has `sign` make the seal over its exact bytes, writes that
    /// (armored SSHSIG, rules S4 and S5) and the end mark, and flushes.
    pub fn finish<E: From<io::Error>>(
        mut self,
        sign: impl FnOnce(&[u8]) -> Result<String, E>,
    ) -> Result<W, E> {
        let sums = std::mem::take(&mut self.sums);
        self.member(&MemberName::Sums, &sums)?;
        let seal = sign(&sums)?;
        self.member(&MemberName::Seal, seal.as_bytes())?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// A member with a line in `SHA256SUMS`.
    fn listed(&mut self, name: &MemberName, content: &[u8]) -> io::Result<Digest> {
        self.member(name, content)?;
        let digest = Digest::of(content);
        writeln!(self.sums, "{digest}  {name}")?;
        Ok(digest)
    }

    fn member(&mut self, name: &MemberName, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.order.admit(name, size).map_err(into_io)?;
        self.out.write_all(&header_block(&self.id, name, size))?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; BLOCK][..padding(size)])
    }
}
