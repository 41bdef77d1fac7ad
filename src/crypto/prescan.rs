//! The header of an age v1 file, looked at before the age crate parses it (<https://c2sp.org/age>).
//!
//! age's parser takes headers of any size and parses them again for every line it reads; whatever
//! comes from outside is bounded here first. The scan is as strict as the specification.

use crate::base::limits::{MAX_AGE_HEADER, MAX_AGE_STANZAS, SCRYPT_MAX_LOG_N};
use crate::crypto::error::CryptoError;
use std::io::{self, Read};

/// Bytes of a line with a stanza's type and arguments. The longest known one (a hybrid recipient's
/// encapsulated key, 1,120 bytes in base64) stays far below.
const MAX_LINE: usize = 4096;
/// Characters of a full line of a stanza's body.
const BODY_LINE: usize = 64;

/// What a header says of itself. Nothing in it is authenticated yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Bytes of the header, from its first line to the end of the MAC line.
    pub len: usize,
    /// Type and arguments of each stanza, in their order.
    pub stanzas: Vec<Vec<&'a str>>,
}

impl Header<'_> {
    /// Whether a passphrase opens the file.
    pub fn is_scrypt(&self) -> bool {
        self.stanzas.iter().any(|stanza| stanza[0] == "scrypt")
    }
}

/// How a scan ends: with a header, or for want of more bytes.
enum Scan<'a> {
    Whole(Header<'a>),
    Incomplete,
}

/// The length of the age header at the beginning of `prefix`, which must hold all of it.
///
/// Errors: [`CryptoError::HeaderTooBig`] above 64 KiB, 32 stanzas or 4 KiB a line;
/// [`CryptoError::ExcessiveWork`] for scrypt above 2^20; [`CryptoError::Damaged`] for anything that is
/// not such a header, and for one that does not end within `prefix`.
pub fn scan_age_header(prefix: &[u8]) -> Result<usize, CryptoError> {
    scan_header(prefix).map(|header| header.len)
}

/// The same, with the stanzas' types and arguments.
pub fn scan_header(prefix: &[u8]) -> Result<Header<'_>, CryptoError> {
    match scan(prefix)? {
        Scan::Whole(header) => Ok(header),
        Scan::Incomplete => Err(CryptoError::Damaged("its header is cut off")),
    }
}

/// Reads from `reader` until the header is whole, and scans it. Returns all bytes read: the header, and what came with its end.
pub(super) fn read_header(reader: &mut impl Read) -> Result<Vec<u8>, CryptoError> {
    let mut prefix = Vec::new();
    let mut room = [0; 1024];
    loop {
        let n = match reader.read(&mut room) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CryptoError::Read(error)),
        };
        if n == 0 {
            return Err(CryptoError::Damaged("its header is cut off"));
        }
        prefix.extend_from_slice(&room[..n]);
        // Only a new line can end a header: most reads need no scan.
        if room[..n].contains(&b'\n') {
            if let Scan::Whole(_) = scan(&prefix)? {
                return Ok(prefix);
            }
        }
        if prefix.len() > MAX_AGE_HEADER {
            return Err(CryptoError::HeaderTooBig);
        }
    }
}

fn scan(prefix: &[u8]) -> Result<Scan<'_>, CryptoError> {
    let mut lines = Lines { rest: &prefix[..prefix.len().min(MAX_AGE_HEADER)], taken: 0 };
    let incomplete = || {
        if prefix.len() >= MAX_AGE_HEADER {
            Err(CryptoError::HeaderTooBig)
        } else {
            Ok(Scan::Incomplete)
        }
    };
    let not_age = CryptoError::Damaged("it does not begin like an age file");
    let magic = b"age-encryption.org/v1\n";
    if !prefix.starts_with(&magic[..prefix.len().min(magic.len())]) {
        return Err(not_age);
    }
    let Some(_) = lines.next()? else { return incomplete() };
    let mut stanzas = Vec::new();
    loop {
        let Some(line) = lines.next()? else { return incomplete() };
        if let Some(mac) = line.strip_prefix("--- ") {
            check_mac(mac)?;
            check_stanzas(&stanzas)?;
            return Ok(Scan::Whole(Header { len: lines.taken, stanzas }));
        }
        if stanzas.len() == MAX_AGE_STANZAS {
            return Err(CryptoError::HeaderTooBig);
        }
        stanzas.push(arguments(line)?);
        // The body: full lines, then one that is shorter, if need be empty.
        loop {
            let Some(line) = lines.next()? else { return incomplete() };
            if !line.bytes().all(is_base64) || line.len() > BODY_LINE || line.len() % 4 == 1 {
                return Err(MALFORMED);
            }
            if line.len() < BODY_LINE {
                break;
            }
        }
    }
}

const MALFORMED: CryptoError = CryptoError::Damaged("its header is malformed");

fn arguments(line: &str) -> Result<Vec<&str>, CryptoError> {
    let rest = line.strip_prefix("-> ").ok_or(MALFORMED)?;
    let words: Vec<&str> = rest.split(' ').collect();
    let printable = |word: &&str| !word.is_empty() && word.bytes().all(|c| (33..=126).contains(&c));
    if words.iter().all(printable) {
        Ok(words)
    } else {
        Err(MALFORMED)
    }
}

fn check_mac(mac: &str) -> Result<(), CryptoError> {
    if mac.len() == 43 && mac.bytes().all(is_base64) {
        Ok(())
    } else {
        Err(MALFORMED)
    }
}

/// At least one stanza; a passphrase alone, and with a work factor that we are ready to pay.
fn check_stanzas(stanzas: &[Vec<&str>]) -> Result<(), CryptoError> {
    if stanzas.is_empty() {
        return Err(MALFORMED);
    }
    for stanza in stanzas.iter().filter(|stanza| stanza[0] == "scrypt") {
        let ([_, _, log_n], 1) = (&stanza[..], stanzas.len()) else { return Err(MALFORMED) };
        let digits = log_n.len() <= 2 && log_n.bytes().all(|c| c.is_ascii_digit()) && !log_n.starts_with('0');
        match log_n.parse::<u64>() {
            Ok(log_n) if log_n > u64::from(SCRYPT_MAX_LOG_N) => {
                return Err(CryptoError::ExcessiveWork { log_n })
            }
            Ok(_) if digits => {}
            _ => return Err(MALFORMED),
        }
    }
    Ok(())
}

fn is_base64(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'+' || c == b'/'
}

struct Lines<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end; `None` if it does not end within the prefix.
    fn next(&mut self) -> Result<Option<&'a str>, CryptoError> {
        let end = self.rest.iter().take(MAX_LINE + 1).position(|&c| c == b'\n');
        let Some(end) = end else {
            return if self.rest.len() > MAX_LINE { Err(CryptoError::HeaderTooBig) } else { Ok(None) };
        };
        let line = std::str::from_utf8(&self.rest[..end]).map_err(|_| MALFORMED)?;
        self.rest = &self.rest[end + 1..];
        self.taken += end + 1;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

    fn header(stanzas: &str) -> Vec<u8> {
        format!("age-encryption.org/v1\n{stanzas}{MAC}").into_bytes()
    }

    #[test]
    fn a_header_is_measured_and_named() {
        let full = "A".repeat(64);
        let bytes = header(&format!("-> X25519 abc\nAAAA\n-> odd a b\n{full}\n\n"));
        let scanned = scan_header(&bytes).unwrap();
        assert_eq!(scanned.len, bytes.len());
        assert_eq!(scanned.stanzas, [vec!["X25519", "abc"], vec!["odd", "a", "b"]]);
        assert!(!scanned.is_scrypt());
        let more = [&bytes[..], b"payload\n\xff"].concat();
        assert_eq!(scan_age_header(&more).unwrap(), bytes.len());
    }

    #[test]
    fn every_cut_is_incomplete_never_a_header() {
        let bytes = header("-> X25519 abc\nAAAA\n");
        for n in 0..bytes.len() {
            assert!(matches!(scan(&bytes[..n]), Ok(Scan::Incomplete)), "{n}");
            assert!(matches!(scan_age_header(&bytes[..n]), Err(CryptoError::Damaged(_))));
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for bad in [
            "",
            "-> \nAAAA\n",
            "->  X\nAAAA\n",
            "-> X \nAAAA\n",
            "-> X\tY\nAAAA\n",
            "->X\nAAAA\n",
            "-> X\nAAAA=\n",
            "-> X\nA\n",
            "-> X\nAAAA\nAAAA\n",
            "-> X\r\nAAAA\n",
            "-> X\u{e9}\nAAAA\n",
            "-> scrypt salt 18\nAAAA\n-> X\nAAAA\n",
            "-> scrypt salt\nAAAA\n",
            "-> scrypt salt 018\nAAAA\n",
            "-> scrypt salt +8\nAAAA\n",
            "-> scrypt salt 0\nAAAA\n",
        ] {
            assert!(matches!(scan_age_header(&header(bad)), Err(CryptoError::Damaged(_))), "{bad:?}");
        }
        assert!(matches!(
            scan_age_header(&header(&format!("-> X\n{}\n\n", "A".repeat(68)))),
            Err(CryptoError::Damaged(_))
        ));
        for bad in ["age-encryption.org/v2\n-> X\n\n", "PK\x03\x04", "-----BEGIN AGE ENCRYPTED FILE-----\n"] {
            assert!(matches!(scan_age_header(bad.as_bytes()), Err(CryptoError::Damaged(_))), "{bad:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let stanza = "-> X a\nAAAA\n";
        assert!(scan_age_header(&header(&stanza.repeat(32))).is_ok());
        assert!(matches!(scan_age_header(&header(&stanza.repeat(33))), Err(CryptoError::HeaderTooBig)));
        let long = format!("-> X {}\nAAAA\n", "a".repeat(5000));
        assert!(matches!(scan_age_header(&header(&long)), Err(CryptoError::HeaderTooBig)));
        let endless = format!("-> X\n{}", format!("{}\n", "A".repeat(64)).repeat(2000));
        assert!(matches!(scan_age_header(&header(&endless)), Err(CryptoError::HeaderTooBig)));
        assert!(matches!(
            scan_age_header(&header("-> scrypt salt 21\nAAAA\n")),
            Err(CryptoError::ExcessiveWork { log_n: 21 })
        ));
        assert!(matches!(
            scan_age_header(&header("-> scrypt salt 99999\nAAAA\n")),
            Err(CryptoError::ExcessiveWork { .. })
        ));
        assert!(scan_age_header(&header("-> scrypt salt 20\nAAAA\n")).is_ok());
    }

    #[test]
    fn reading_stops_with_the_header() {
        let bytes = [header("-> X25519 abc\nAAAA\n"), vec![b'\n'; 5000]].concat();
        let prefix = read_header(&mut &bytes[..]).unwrap();
        assert!(prefix.len() <= 2048 && bytes.starts_with(&prefix));
        let mut endless = io::Read::chain(&b"age-encryption.org/v1\n-> X\n"[..], io::repeat(b'A'));
        assert!(read_header(&mut endless).is_err());
        let mut slow = io::Read::chain(&b"age-encryption.org/v1"[..], io::empty());
        assert!(matches!(read_header(&mut slow), Err(CryptoError::Damaged(_))));
    }
}
