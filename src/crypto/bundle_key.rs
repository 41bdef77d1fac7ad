//! The one key of a bundle: an age X25519 identity made for it alone. `keys/` carries it, its streams need it.

use crate::base::digest::decode_hex;
use crate::base::fault::{carried, into_io};
use crate::base::limits::MAX_KEY_PLAINTEXT;
use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::prescan::read_header;
use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::ExposeSecret;
use std::fmt;
use std::io::{self, BufReader, Chain, Cursor, Read, Write};
use zeroize::Zeroizing;

/// The identity that opens every stream of one bundle. Wiped on drop; its public half is never written anywhere.
#[derive(Clone)]
pub struct BundleKey(age::x25519::Identity);

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BundleKey")
    }
}

/// What a key file says (`keys/<n>.age`, opened): which bundle it is for, who made it, and the key.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The bundle's id: 64 lower-case hex digits.
    pub id_hex: String,
    /// The fingerprint of the key that made the seal: `SHA256:` and 43 characters.
    pub signer_fpr: String,
    /// The key.
    pub key: BundleKey,
}

impl BundleKey {
    /// A new one from the operating system's random bytes.
    pub fn generate() -> Self {
        BundleKey(age::x25519::Identity::generate())
    }

    /// The plaintext of the key files. `signer_fpr` is what [`Signer::fingerprint`] gives (`SHA256:...`).
    /// As it is an age identity file too, `age -d -i` takes it.
    ///
    /// [`Signer::fingerprint`]: crate::crypto::sign::Signer::fingerprint
    pub fn key_file(&self, id_hex: &str, signer_fpr: &str) -> Secret {
        let identity = self.0.to_string();
        let head = format!("# kbpack 1 id={id_hex} signer={signer_fpr}\n");
        let bytes = [head.as_bytes(), identity.expose_secret().as_bytes(), b"\n"].concat();
        Secret::from(bytes)
    }

    /// Encrypts what is written to `w`, as an age file. The writer must be finished.
    pub fn encrypt<W: Write>(&self, w: W) -> io::Result<StreamWriter<W>> {
        let recipient = self.0.to_public();
        let recipients = std::iter::once(&recipient as &dyn age::Recipient);
        let failed = |_| io::Error::other("the stream's encryption could not be set up");
        Encryptor::with_recipients(recipients).map_err(failed)?.wrap_output(w)
    }

    /// Decrypts the age file in `r`, whose header is bounded first. The reader gives an error, never a
    /// short end, for a file that is cut off, changed, or followed by anything.
    pub fn decrypt<R: Read>(&self, mut r: R) -> Result<Plaintext<R>, CryptoError> {
        let prefix = Cursor::new(read_header(&mut r)?);
        let decryptor = Decryptor::new_buffered(prefix.chain(BufReader::new(r))).map_err(read_error)?;
        let identities = std::iter::once(&self.0 as &dyn age::Identity);
        let inner = decryptor.decrypt(identities).map_err(|error| match error {
            DecryptError::NoMatchingKeys => CryptoError::Damaged("it is not encrypted to the bundle's key"),
            other => read_error(other),
        })?;
        Ok(Plaintext { inner })
    }
}

/// age's words for what it read, in ours.
pub(super) fn read_error(error: DecryptError) -> CryptoError {
    match error {
        DecryptError::Io(error) if not_of_age(&error) => CryptoError::Read(error),
        DecryptError::Io(_) => CryptoError::Damaged("it is cut off"),
        DecryptError::UnknownFormat => CryptoError::Damaged("it is not of version 1 of age's format"),
        _ => CryptoError::Damaged("its header was changed"),
    }
}

/// age makes errors of plain text; those of the system and those that we sent through it are neither.
fn not_of_age(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || carried(error).is_some()
}

/// The plaintext of an age file as it is decrypted, authenticated piece by piece.
pub struct Plaintext<R> {
    inner: StreamReader<Chain<Cursor<Vec<u8>>, BufReader<R>>>,
}

impl<R: Read> Read for Plaintext<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.inner.read(buf).map_err(|error| {
            if not_of_age(&error) {
                error
            } else {
                into_io(CryptoError::Damaged("it is cut off, or its content was changed"))
            }
        })
    }
}

/// Reads the plaintext of a key file, strictly: it is what [`BundleKey::key_file`] writes, or an error.
pub fn parse_key_file(plaintext: &Secret) -> Result<KeyFile, CryptoError> {
    parse(plaintext).ok_or(CryptoError::KeyFile)
}

fn parse(plaintext: &Secret) -> Option<KeyFile> {
    if plaintext.len() > MAX_KEY_PLAINTEXT {
        return None;
    }
    let text = std::str::from_utf8(plaintext.expose()).ok()?;
    let (head, identity) = text.split_once('\n')?;
    let (id_hex, signer_fpr) = head.strip_prefix("# kbpack 1 id=")?.split_once(" signer=")?;
    let key = BundleKey(identity.strip_suffix('\n')?.parse().ok()?);
    if !decode_hex(id_hex, &mut [0; 32]) || !is_fingerprint(signer_fpr) {
        return None;
    }
    // Bech32 has an upper and a lower case; whoever writes one of several forms could mark copies.
    let canonical = Zeroizing::new(key.key_file(id_hex, signer_fpr).expose().to_vec());
    (canonical.as_slice() == plaintext.expose()).then(|| KeyFile {
        id_hex: id_hex.to_owned(),
        signer_fpr: signer_fpr.to_owned(),
        key,
    })
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:").is_some_and(|digest| {
        digest.len() == 43 && digest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::{io_fault, Fault};
    use crate::crypto::sign::SigningKey;
    use crate::crypto::testing::must;
    use std::fs;

    fn encrypted(key: &BundleKey, plaintext: &[u8]) -> Vec<u8> {
        let mut writer = key.encrypt(Vec::new()).unwrap();
        writer.write_all(plaintext).unwrap();
        writer.finish().unwrap()
    }

    fn decrypted(key: &BundleKey, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        key.decrypt(bytes).map_err(|e| e.to_string())?.read_to_end(&mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn streams_are_age_files_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let key = BundleKey::generate();
        let file = key.key_file(&"ab".repeat(32), &SigningKey::generate().unwrap().public().fingerprint());
        fs::write(dir.join("key"), file.expose()).unwrap();
        for size in [0, 1, 65535, 65536, 65537, 300_000] {
            let plaintext = vec![7; size];
            let ours = encrypted(&key, &plaintext);
            assert_eq!(must(dir, "age", &["-d", "-i", "key"], &ours), plaintext);
            assert_eq!(decrypted(&key, &ours).unwrap(), plaintext);
            let recipient = must(dir, "age-keygen", &["-y", "key"], b"");
            let recipient = String::from_utf8(recipient).unwrap();
            let theirs = must(dir, "age", &["-r", recipient.trim()], &plaintext);
            assert_eq!(decrypted(&key, &theirs).unwrap(), plaintext);
        }
    }

    #[test]
    fn every_cut_and_every_change_is_an_error() {
        let key = BundleKey::generate();
        let bytes = encrypted(&key, b"some secret words");
        for n in 0..bytes.len() {
            assert!(decrypted(&key, &bytes[..n]).is_err(), "cut at {n}");
            let mut bad = bytes.clone();
            bad[n] ^= 1;
            assert!(decrypted(&key, &bad).is_err(), "changed at {n}");
        }
        assert!(decrypted(&key, &[&bytes[..], b"x"].concat()).is_err());
        assert!(decrypted(&BundleKey::generate(), &bytes).is_err());
        let large = encrypted(&key, &[7; 65536 * 2]);
        assert!(decrypted(&key, &large[..large.len() - 65536 - 16]).is_err());
        assert!(decrypted(&key, &[&large[..], b"x"].concat()).is_err());
    }

    #[test]
    fn errors_have_our_words_and_kind_and_those_below_pass() {
        let key = BundleKey::generate();
        let mut bytes = encrypted(&key, b"x");
        *bytes.last_mut().unwrap() ^= 1;
        let error = key.decrypt(&bytes[..]).unwrap().read(&mut [0; 9]).unwrap_err();
        assert_eq!(io_fault(&error), Fault::Damaged);
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(into_io(CryptoError::WrongPassphrase))
            }
        }
        let cut = encrypted(&key, &[7; 200_000]);
        let error =
            io::copy(&mut key.decrypt(cut[..100_000].chain(Broken)).unwrap(), &mut io::sink()).unwrap_err();
        assert_eq!(io_fault(&error), Fault::CannotDecrypt);
        assert!(matches!(key.decrypt(Broken), Err(CryptoError::Read(_))));
    }

    #[test]
    fn key_files_are_exact() {
        let key = BundleKey::generate();
        let (id, fpr) = ("0f".repeat(32), SigningKey::generate().unwrap().public().fingerprint());
        let good = key.key_file(&id, &fpr);
        let read = parse_key_file(&good).unwrap();
        assert_eq!((read.id_hex, read.signer_fpr), (id.clone(), fpr.clone()));
        assert_eq!(decrypted(&read.key, &encrypted(&key, b"hi")).unwrap(), b"hi");
        let text = String::from_utf8(good.expose().to_vec()).unwrap();
        let identity = text.lines().nth(1).unwrap();
        for bad in [
            String::new(),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            format!("{text}{identity}\n"),
            text.replace("kbpack 1", "kbpack 2"),
            text.replace(&id, &id.to_uppercase()),
            text.replace(&id, &id[2..]),
            text.replace("SHA256:", "SHA512:"),
            text.replace(&fpr, &fpr[..40]),
            text.replace(identity, &identity.to_lowercase()),
            text.replace('\n', "\r\n"),
            text.replace(" signer", "  signer"),
        ] {
            assert!(
                matches!(parse_key_file(&Secret::from(bad.clone().into_bytes())), Err(CryptoError::KeyFile)),
                "{bad}"
            );
        }
        assert_eq!(format!("{key:?}"), "BundleKey");
    }
}
