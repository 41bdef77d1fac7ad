//! One stream: plaintext, zstd, padding, age. FORMAT.md chapter T.

use crate::base::digest::{Digest, Hasher};
use crate::base::fault::{carried, carried_as, into_io, Fault, Faulty};
use crate::base::interrupt;
use crate::base::limits::{PAD_BELOW, PAD_TO, ZSTD_WINDOW_LOG_MAX};
use crate::crypto::bundle_key::{BundleKey, Plaintext};
use crate::crypto::error::CryptoError;
use crate::pipeline::parts::{PartReader, PartSink, PartSource, PartWriter, Stored};
use std::io::{self, BufRead, BufReader, Read, Write};
use zstd::zstd_safe::{CParameter, DParameter};

/// The compression level of streams: zstd's own default.
pub const LEVEL: i32 = 3;
/// Bytes that such a thread takes at a time: memory grows with it, and what is lost at the seams shrinks.
const JOB_SIZE: u32 = 4 * 1024 * 1024;
/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const FRAME_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// First bytes of the skippable frame used as padding (RFC 8878, 3.1.2).
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];
/// zstd's name for the error that a window over the limit gives (`ZSTD_error_frameParameter_windowTooLarge`).
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory";
/// Magic and length of a skippable frame (bytes).
const SKIPPABLE_HEADER: u64 = 8;

/// A stream that is not as chapters T and B lay down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// T2: age cannot decrypt it, it ends early, or something follows.
    #[error("stream {0} is cut short or not encrypted with this bundle's key (rule T2)")]
    BadAge(u32),
    /// T3: it does not begin with a zstd frame that has a checksum and no dictionary.
    #[error(
        "stream {0} does not begin with a zstd frame with a checksum and without a dictionary (rule T3)"
    )]
    NotZstd(u32),
    /// T3: zstd cannot decode it.
    #[error("stream {0} is not a valid zstd frame (rule T3)")]
    BadZstd(u32),
    /// T3: its window asks for too much memory.
    #[error("stream {0} needs a zstd window of more than 8 MiB (rule T3)")]
    Window(u32),
    /// T4: what follows the frame is not padding.
    #[error("stream {0} has something other than padding after its zstd frame (rule T4)")]
    AfterFrame(u32),
    /// T6: more plaintext than the manifest says.
    #[error("stream {0} is longer than the manifest says (rule T6)")]
    TooLong(u32),
    /// T6: more manifest than a manifest may be.
    #[error("the manifest is longer than 64 MiB (rule T6)")]
    LongManifest,
    /// B5: other plaintext than the manifest says.
    #[error("stream {0} is not what the manifest says (rule B5)")]
    Differs(u32),
}

impl Faulty for StreamError {
    fn fault(&self) -> Fault {
        match self {
            StreamError::Window(_) | StreamError::LongManifest => Fault::Limit,
            _ => Fault::Rule,
        }
    }
    fn remedy(&self) -> Option<String> {
        Some("this bundle was not written by kbpack as it stands; ask its maker for a new export".into())
    }
}

/// Counts what passes.
struct Counting<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.count += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

type AgeWriter<S> = age::stream::StreamWriter<PartWriter<S>>;

/// Writes one stream. Each layer is ended by [`finish`](StreamEncoder::finish), from the inside out.
pub struct StreamEncoder<S: PartSink> {
    plain: Hasher,
    zstd: zstd::stream::write::Encoder<'static, Counting<AgeWriter<S>>>,
}

/// What a finished stream was.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Bytes of plaintext.
    pub size: u64,
    /// SHA-256 of the plaintext.
    pub sha256: Digest,
    /// What the parts hold.
    pub stored: Stored,
}

impl<S: PartSink> StreamEncoder<S> {
    /// A stream that is encrypted to `key` and goes to `sink` in parts. `workers` threads compress it, beside the
    /// one that writes it.
    pub fn new(key: &BundleKey, sink: S, workers: u32) -> io::Result<Self> {
        let age = key.encrypt(PartWriter::new(sink))?;
        let mut zstd = zstd::stream::write::Encoder::new(Counting { inner: age, count: 0 }, LEVEL)?;
        zstd.set_parameter(CParameter::ChecksumFlag(true))?;
        // A worker compresses while the next bytes are read and digested; and its input is contiguous,
        // where the plain streaming mode searches a ring buffer in two halves, at half the speed.
        zstd.set_parameter(CParameter::NbWorkers(workers))?;
        zstd.set_parameter(CParameter::JobSize(JOB_SIZE))?;
        Ok(StreamEncoder { plain: Hasher::new(), zstd })
    }

    /// Ends the frame, pads it, ends the age file and the last part.
    pub fn finish(self) -> io::Result<Written> {
        let mut counting = self.zstd.finish()?;
        let padding = padding_for(counting.count);
        counting.inner.write_all(&padding)?;
        let stored = counting.inner.finish()?.finish()?;
        let size = self.plain.len();
        Ok(Written { size, sha256: self.plain.finish(), stored })
    }
}

impl<S: PartSink> Write for StreamEncoder<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.zstd.write_all(buf)?;
        self.plain.update(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a frame header's descriptor (RFC 8878, 3.1.1.1.1) has the checksum flag, no reserved bit and no dictionary id.
fn has_checksum_and_no_dictionary(descriptor: u8) -> bool {
    descriptor & 0b0000_1111 == 0b0000_0100
}

/// T4: the skippable frame of zeros that takes `compressed` bytes to a multiple of [`PAD_TO`]; nothing for
/// long streams and for those that are there already.
fn padding_for(compressed: u64) -> Vec<u8> {
    if compressed >= PAD_BELOW || compressed.is_multiple_of(PAD_TO) {
        return Vec::new();
    }
    let mut room = PAD_TO - compressed % PAD_TO;
    if room < SKIPPABLE_HEADER {
        room += PAD_TO;
    }
    let zeros = (room - SKIPPABLE_HEADER) as u32;
    let mut frame = Vec::with_capacity(room as usize);
    frame.extend_from_slice(&SKIPPABLE_MAGIC);
    frame.extend_from_slice(&zeros.to_le_bytes());
    frame.resize(room as usize, 0);
    frame
}

/// Whether `rest`, after a frame, is what T4 allows: nothing, or one skippable frame of zeros.
fn is_padding(rest: &[u8]) -> bool {
    let Some((header, zeros)) = rest.split_at_checked(SKIPPABLE_HEADER as usize) else {
        return rest.is_empty();
    };
    (zeros.len() as u64) < PAD_TO
        && header[..4] == SKIPPABLE_MAGIC
        && header[4..] == (zeros.len() as u32).to_le_bytes()
        && zeros.iter().all(|&byte| byte == 0)
}

/// What a stream must turn out to be.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The stream's number, for messages.
    pub number: u32,
    /// Bytes of plaintext: exactly, or at most if there is no digest.
    pub size: u64,
    /// SHA-256 of the plaintext. `None` only for the manifest, whose digest is nowhere.
    pub sha256: Option<Digest>,
}

type AgeReader<S> = BufReader<AgeErrors<Plaintext<BufReader<PartReader<S>>>>>;

/// Reads one stream. At its end, all that can be checked has been: the frame, the padding, the age
/// file's last chunk, the end of the parts, size and digest.
pub struct StreamDecoder<S: PartSource> {
    zstd: Option<zstd::stream::read::Decoder<'static, AgeReader<S>>>,
    plain: Hasher,
    expected: Expected,
}

impl<S: PartSource> StreamDecoder<S> {
    /// Opens the stream in `source` with `key`.
    pub fn new(key: &BundleKey, source: S, expected: Expected) -> io::Result<Self> {
        let parts = BufReader::with_capacity(64 * 1024, PartReader::new(source));
        let age = key.decrypt(parts).map_err(|e| age_error(into_io(e), expected.number))?;
        let mut age = BufReader::with_capacity(64 * 1024, AgeErrors { inner: age, number: expected.number });
        // T3: the magic first, so that neither legacy nor skippable frames reach the decoder.
        let start = age.fill_buf()?;
        if !start.starts_with(&FRAME_MAGIC)
            || !start.get(4).copied().is_some_and(has_checksum_and_no_dictionary)
        {
            return Err(into_io(StreamError::NotZstd(expected.number)));
        }
        let mut zstd = zstd::stream::read::Decoder::with_buffer(age)?.single_frame();
        zstd.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(StreamDecoder { zstd: Some(zstd), plain: Hasher::new(), expected })
    }

    /// The frame has ended: reads what is left of every layer, and compares.
    fn end(&mut self, zstd: zstd::stream::read::Decoder<'static, AgeReader<S>>) -> Result<(), io::Error> {
        let number = self.expected.number;
        let mut rest = Vec::new();
        zstd.finish().take(2 * PAD_TO + 1).read_to_end(&mut rest)?;
        if !is_padding(&rest) {
            return Err(into_io(StreamError::AfterFrame(number)));
        }
        let hasher = std::mem::take(&mut self.plain);
        if let Some(sha256) = self.expected.sha256 {
            if hasher.len() != self.expected.size || hasher.finish() != sha256 {
                return Err(into_io(StreamError::Differs(number)));
            }
        }
        Ok(())
    }
}

impl<S: PartSource> Read for StreamDecoder<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        interrupt::check().map_err(into_io)?;
        let Some(zstd) = &mut self.zstd else { return Ok(0) };
        if buf.is_empty() {
            return Ok(0);
        }
        let number = self.expected.number;
        let n = zstd.read(buf).map_err(|e| match carried(&e) {
            Some(_) => e,
            None if e.to_string().contains(WINDOW_TOO_LARGE) => into_io(StreamError::Window(number)),
            None => into_io(StreamError::BadZstd(number)),
        })?;
        self.plain.update(&buf[..n]);
        if self.plain.len() > self.expected.size {
            return Err(into_io(match self.expected.sha256 {
                Some(_) => StreamError::TooLong(number),
                None => StreamError::LongManifest,
            }));
        }
        if n == 0 {
            if let Some(zstd) = self.zstd.take() {
                self.end(zstd)?;
            }
        }
        Ok(n)
    }
}

/// Gives age's I/O errors our own type. What the layer below already typed passes through.
struct AgeErrors<R> {
    inner: R,
    number: u32,
}

impl<R: Read> Read for AgeErrors<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|e| age_error(e, self.number))
    }
}

/// T2: under a seal that is right, an age file that is not is a broken rule, not damage on the way. What
/// the layer below found (a part that differs) stays what it is.
fn age_error(error: io::Error, number: u32) -> io::Error {
    match carried_as(&error) {
        Some(CryptoError::Damaged(_)) => into_io(StreamError::BadAge(number)),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_to_the_block_and_is_recognised() {
        for compressed in [1, 9, 4088, 4089, 4095, 4097, PAD_BELOW - 1] {
            let padding = padding_for(compressed);
            assert_eq!((compressed + padding.len() as u64) % PAD_TO, 0, "{compressed}");
            assert!(is_padding(&padding));
        }
        for none in [4096, PAD_BELOW, PAD_BELOW + 1] {
            assert!(padding_for(none).is_empty(), "{none}");
        }
        let mut not_zero = padding_for(100);
        *not_zero.last_mut().unwrap() = 1;
        assert!(!is_padding(&not_zero));
        let mut twice = padding_for(100);
        twice.extend(padding_for(100));
        assert!(!is_padding(&twice));
        assert!(!is_padding(&SKIPPABLE_MAGIC));
        let zeros = |n: u32| [&SKIPPABLE_MAGIC[..], &n.to_le_bytes(), &vec![0; n as usize]].concat();
        assert!(is_padding(&zeros(4095)) && !is_padding(&zeros(4096)));
    }
}
