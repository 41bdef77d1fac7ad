//! A stream cut into parts of [`PART_SIZE`], written and read.

use crate::base::digest::{Digest, Hasher};
use crate::base::limits::PART_SIZE;
use std::io::{self, Read, Write};

/// Takes finished parts. What stands behind it may be shared by many streams.
pub trait PartSink: Send {
    /// Writes part number `part` (from 1) and returns its digest.
    fn put(&mut self, part: u32, content: &[u8]) -> io::Result<Digest>;
}

/// Cuts what is written into parts. Holds at most one part in memory.
pub struct PartWriter<S> {
    sink: S,
    buffer: Vec<u8>,
    part: u32,
    hasher: Hasher,
}

/// What a finished [`PartWriter`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Bytes in all parts.
    pub size: u64,
    /// SHA-256 of all parts, one after the other.
    pub sha256: Digest,
}

impl<S: PartSink> PartWriter<S> {
    /// A writer whose parts go to `sink`.
    pub fn new(sink: S) -> Self {
        PartWriter { sink, buffer: Vec::new(), part: 1, hasher: Hasher::new() }
    }

    /// Writes the last part.
    pub fn finish(mut self) -> io::Result<Stored> {
        let digest = self.sink.put(self.part, &self.buffer)?;
        if self.part == 1 {
            // The only part: its digest is the stream's.
            return Ok(Stored { size: self.buffer.len() as u64, sha256: digest });
        }
        self.hasher.update(&self.buffer);
        Ok(Stored { size: self.hasher.len(), sha256: self.hasher.finish() })
    }
}

impl<S: PartSink> Write for PartWriter<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == PART_SIZE {
            // Only now is it known that this part is not the last.
            self.sink.put(self.part, &self.buffer)?;
            self.hasher.update(&self.buffer);
            self.buffer.clear();
            self.part += 1;
        }
        let n = buf.len().min(PART_SIZE - self.buffer.len());
        if self.buffer.len() + n > self.buffer.capacity() {
            // Doubling, but never past a part: the default would.
            let room = (2 * self.buffer.capacity()).clamp(self.buffer.len() + n, PART_SIZE);
            self.buffer.reserve_exact(room - self.buffer.len());
        }
        self.buffer.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives parts back, in order, each already checked against the seal.
pub trait PartSource: Send {
    /// The next part, or `None` after the last.
    fn next_part(&mut self) -> io::Result<Option<Vec<u8>>>;
}

/// Reads a stream's parts one after the other. Holds one part in memory.
pub struct PartReader<S> {
    source: S,
    current: Vec<u8>,
    at: usize,
}

impl<S: PartSource> PartReader<S> {
    /// A reader over all parts of `source`.
    pub fn new(source: S) -> Self {
        PartReader { source, current: Vec::new(), at: 0 }
    }
}

impl<S: PartSource> Read for PartReader<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            self.current = Vec::new();
            self.at = 0;
            match self.source.next_part()? {
                Some(part) => self.current = part,
                None => return Ok(0),
            }
        }
        let n = buf.len().min(self.current.len() - self.at);
        buf[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Vec<Vec<u8>>);
    impl PartSink for &mut Kept {
        fn put(&mut self, part: u32, content: &[u8]) -> io::Result<Digest> {
            assert_eq!(part as usize, self.0.len() + 1);
            self.0.push(content.to_vec());
            Ok(Digest::of(content))
        }
    }

    #[test]
    fn cuts_at_the_part_size_and_digests_the_whole() {
        for (len, parts) in [(0, 1), (1, 1), (PART_SIZE, 1), (PART_SIZE + 1, 2), (3 * PART_SIZE, 3)] {
            let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let mut kept = Kept::default();
            let mut writer = PartWriter::new(&mut kept);
            writer.write_all(&content).unwrap();
            let stored = writer.finish().unwrap();
            assert_eq!(stored, Stored { size: len as u64, sha256: Digest::of(&content) });
            assert_eq!(kept.0.len(), parts, "{len}");
            assert_eq!(kept.0.concat(), content);
        }
    }
}
