//! Files with holes: where their data lies, and the map that says so in the tar (GNU sparse format, PAX 1.0).

use crate::base::digest::{Digest, Hasher};
use crate::base::fault::into_io;
use crate::base::interrupt;
use crate::component::{Error, Progress, Result};
use rustix::fs::{seek, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;

/// Pieces of data above which a file is packed as if it had no holes, and a map is refused.
const MAX_PIECES: usize = 100_000;
/// Bytes of a map, at most: two numbers of up to 20 digits a piece, and the padding.
pub const MAX_MAP: u64 = (MAX_PIECES as u64 + 2) * 42 + 512;

/// Where a file's data lies: (offset, length) in order, without touching or overlapping. Everything else is a hole.
pub type Pieces = Vec<(u64, u64)>;

/// The data of an open file of `size` bytes. `None` if it has no holes worth it or the file system cannot say.
pub fn pieces(fd: impl AsFd, size: u64) -> io::Result<Option<Pieces>> {
    let mut found: Pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(&fd, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let end = seek(&fd, SeekFrom::Hole(start))?.min(size);
        if end <= start || found.len() == MAX_PIECES {
            return Ok(None);
        }
        found.push((start, end - start));
        at = end;
    }
    seek(&fd, SeekFrom::Start(0))?;
    let whole = found.len() == 1 && found[0] == (0, size);
    Ok((!whole).then_some(found))
}

/// The map as it stands before the data: decimal lines, padded to a block. A hole at the end is told by an
/// empty piece there.
pub fn map(pieces: &Pieces, size: u64) -> Vec<u8> {
    use std::fmt::Write;
    let ends_in_hole = pieces.last().is_none_or(|(at, len)| at + len < size);
    let mut text = format!("{}\n", pieces.len() + usize::from(ends_in_hole));
    let tail = ends_in_hole.then_some((size, 0));
    for (at, len) in pieces.iter().copied().chain(tail) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{at}\n{len}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Takes a hole of `len` bytes into a digest.
///
/// An index may claim any size for a hole: this can take long, so it stops at a signal.
pub fn hash_hole(hasher: &mut Hasher, mut len: u64, progress: &dyn Progress) -> io::Result<()> {
    static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
    while len > 0 {
        let n = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..n as usize]);
        progress.advance(n);
        len -= n;
        interrupt::check().map_err(into_io)?;
    }
    Ok(())
}

/// The digest of an open file. Its holes are not read.
pub fn digest(file: &mut File, progress: &dyn Progress) -> io::Result<Digest> {
    let size = file.metadata()?.len();
    let pieces = pieces(&*file, size)?.unwrap_or_else(|| vec![(0, size)]);
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; size.min(256 * 1024) as usize];
    for (start, len) in pieces {
        if hasher.len() < start {
            let hole = start - hasher.len();
            hash_hole(&mut hasher, hole, progress)?;
            file.seek(io::SeekFrom::Start(start))?;
        }
        let mut data = (&mut *file).take(len);
        loop {
            let n = match data.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            progress.advance(n as u64);
        }
    }
    let end = size.saturating_sub(hasher.len());
    hash_hole(&mut hasher, end, progress)?;
    Ok(hasher.finish())
}

/// Bytes of data.
pub fn data(pieces: &Pieces) -> u64 {
    pieces.iter().map(|(_, len)| len).sum()
}

/// Reads the map of a file of `size` bytes of which `stored` stand in the tar, map included. Only the one
/// form that [`map`] writes is taken.
pub fn read_map(
    source: &mut impl Read,
    size: u64,
    stored: u64,
) -> io::Result<std::result::Result<Pieces, Error>> {
    let mut raw = Vec::new();
    let mut block = [0; 512];
    let mut lines = 0;
    // The first line says how many lines follow it: two a piece.
    let mut want = 1;
    while lines < want {
        if raw.len() as u64 + 512 > stored.min(MAX_MAP) {
            return Ok(Err(bad()));
        }
        source.read_exact(&mut block)?;
        lines += block.iter().filter(|&&c| c == b'\n').count();
        raw.extend_from_slice(&block);
        if want == 1 {
            let Some(count) = first_number(&raw) else { return Ok(Err(bad())) };
            want = 1 + 2 * count;
        }
    }
    Ok(parse(&raw, size, stored))
}

fn bad() -> Error {
    Error::rule("F8", "the map of a sparse file is not in order")
}

fn first_number(raw: &[u8]) -> Option<usize> {
    let end = raw.iter().position(|&c| c == b'\n')?;
    let count = std::str::from_utf8(&raw[..end]).ok()?.parse().ok()?;
    (1..=MAX_PIECES + 1).contains(&count).then_some(count)
}

fn parse(raw: &[u8], size: u64, stored: u64) -> Result<Pieces> {
    let end = raw.iter().position(|&c| c == 0).unwrap_or(raw.len());
    let text = std::str::from_utf8(&raw[..end]).map_err(|_| bad())?;
    let numbers: Vec<u64> =
        text.lines().skip(1).map(|n| n.parse().map_err(|_| bad())).collect::<Result<_>>()?;
    let mut pieces: Pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if pieces.last() == Some(&(size, 0)) {
        pieces.pop();
    }
    let mut at = 0;
    for (i, &(start, len)) in pieces.iter().enumerate() {
        let end = start.checked_add(len).filter(|&end| end <= size).ok_or_else(bad)?;
        if len == 0 || start < at || (i > 0 && start == at) {
            return Err(bad());
        }
        at = end;
    }
    // The bytes must be the ones that we would write for these pieces, and the rest of the entry the data.
    if map(&pieces, size) != raw || stored.checked_sub(raw.len() as u64) != Some(data(&pieces)) {
        return Err(bad());
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(raw: &[u8], size: u64, data: u64) -> bool {
        let stored = raw.len() as u64 + data;
        read_map(&mut &raw[..], size, stored).is_ok_and(|r| r.is_ok())
    }

    #[derive(Default)]
    struct Counter(std::sync::atomic::AtomicU64);

    impl Progress for Counter {
        fn expect(&self, _: u64) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_digest_takes_holes_as_zeros_and_tells_how_far_it_is() {
        use std::os::unix::fs::FileExt;
        let size = 3_000_000;
        for places in [&[][..], &[0], &[1_000_000], &[0, 2_999_990]] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            let mut plain = vec![0; size as usize];
            for &at in places {
                file.write_all_at(b"ten bytes.", at).unwrap();
                plain[at as usize..at as usize + 10].copy_from_slice(b"ten bytes.");
            }
            let counter = Counter::default();
            assert_eq!(digest(&mut file, &counter).unwrap(), Digest::of(&plain));
            assert_eq!(counter.0.into_inner(), size);
        }
    }

    #[test]
    fn maps_come_back() {
        for (pieces, size) in
            [(vec![], 10), (vec![(0, 5)], 10), (vec![(5, 5)], 10), (vec![(0, 1), (4, 2)], 9), (vec![], 0)]
        {
            let raw = map(&pieces, size);
            let stored = raw.len() as u64 + data(&pieces);
            assert_eq!(read_map(&mut &raw[..], size, stored).unwrap().unwrap(), pieces);
        }
    }

    #[test]
    fn maps_out_of_order_are_refused() {
        let padded = |text: &str| {
            let mut raw = text.as_bytes().to_vec();
            raw.resize(512, 0);
            raw
        };
        assert!(read_back(&padded("2\n0\n5\n10\n0\n"), 10, 5));
        for (text, data) in [
            ("2\n0\n5\n3\n7\n", 12),             // overlapping
            ("2\n0\n5\n5\n5\n", 10),             // touching
            ("1\n0\n20\n", 20),                  // beyond the end
            ("1\n0\n5\n", 5),                    // the hole at the end is not told
            ("2\n00\n5\n10\n0\n", 5),            // another form of zero
            ("1\n18446744073709551615\n1\n", 1), // overflow
            ("0\n", 0),
            ("x\n", 0),
            ("", 0),
        ] {
            assert!(!read_back(&padded(text), 10, data), "{text:?}");
        }
    }
}
