//! Who we are: the keys that may open something.

use crate::base::limits::SCRYPT_MAX_LOG_N;
use crate::base::secret::Secret;
use crate::crypto::bundle_key::read_error;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::{as_age, until_right, Prompt};
use crate::crypto::paths::{guard, read_small, KeyPaths, OTHERS_ANY};
use crate::crypto::prescan::scan_header;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use std::fmt;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Bytes of an identity file.
const MAX_FILE: u64 = 64 * 1024;

/// Keys of ours, in the order in which they are tried: plain ones first, then those that need a
/// person. A locked one is unlocked at most once, and only when it is its turn.
#[derive(Default)]
pub struct Identities {
    pub(super) keys: Keys,
    pub(super) locked_ssh: Vec<LockedSsh>,
    pub(super) locked_files: Vec<LockedFile>,
    pub(super) prompt: Option<Arc<dyn Prompt>>,
}

/// Keys that are ready for use.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) native: Vec<age::x25519::Identity>,
    pub(super) ssh: Vec<age::ssh::Identity>,
    /// Name of the plugin, and the identity's text.
    pub(super) plugin: Vec<(String, Secret)>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.describe())
    }
}

impl Identities {
    /// None yet.
    pub fn new() -> Self {
        Identities::default()
    }

    /// Who is asked for the passphrase of what is to be opened, and answers plugins. Without one, nobody is.
    pub fn set_passphrase_prompt(&mut self, prompt: Arc<dyn Prompt>) {
        self.prompt = Some(prompt);
    }

    /// Adds a file (`-i`): an age identity file, plain or encrypted with a passphrase, with plugin
    /// identities or without, or an OpenSSH ed25519 private key. `prompt` is asked if the file turns out to be needed and is locked.
    ///
    /// Each as its own tool takes it: `age` does not look at a file's mode, `ssh` refuses a key of one's
    /// own that others can read.
    pub fn add_file(&mut self, path: &Path, prompt: Arc<dyn Prompt>) -> Result<(), CryptoError> {
        self.add(path, prompt, |_| Ok(()))
    }

    fn add(
        &mut self,
        path: &Path,
        prompt: Arc<dyn Prompt>,
        check: impl FnOnce(&Metadata) -> Result<(), CryptoError>,
    ) -> Result<(), CryptoError> {
        let mut meta = None;
        let bytes = read_small(path, MAX_FILE, |opened| {
            meta = Some(opened.clone());
            check(opened)
        })?
        .ok_or_else(|| CryptoError::missing(path))?;
        let unusable = |why| Err(CryptoError::UnusableKey { path: path.to_owned(), why });
        if bytes.starts_with(b"age-encryption.org/") {
            if !scan_header(&bytes)?.is_scrypt() {
                return unusable("it is encrypted, and not with a passphrase; decrypt it with age first");
            }
            let (path, sealed) = (path.to_owned(), bytes.to_vec());
            self.locked_files.push(LockedFile { path, prompt, sealed, keys: OnceLock::new() });
            return Ok(());
        }
        if bytes.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----") {
            let ours = rustix::process::geteuid().as_raw();
            if let Some(meta) = meta.filter(|meta| meta.uid() == ours) {
                guard(path, &meta, OTHERS_ANY)?;
            }
            return self.add_ssh(path, &bytes, prompt);
        }
        if bytes.starts_with(b"-----BEGIN AGE") {
            return unusable(
                "it is an armored encrypted file; give it to age -d first, or encrypt it without armor",
            );
        }
        if bytes.starts_with(b"-----BEGIN") {
            return unusable("of private keys, only ed25519 in OpenSSH's own format is taken");
        }
        let keys = Keys::parse(path, &bytes)?;
        self.keys.native.extend(keys.native);
        self.keys.plugin.extend(keys.plugin);
        Ok(())
    }

    /// Adds this machine's own identity if there is one. True if there is. One that others can read, or
    /// that lies where others can write, is refused.
    pub fn add_default(&mut self, paths: &KeyPaths, prompt: Arc<dyn Prompt>) -> Result<bool, CryptoError> {
        let path = paths.identity();
        if path.symlink_metadata().is_err() {
            return Ok(false);
        }
        paths.check_dir()?;
        self.add(&path, prompt, |meta| guard(&path, meta, OTHERS_ANY)).map(|()| true)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Keys { native, ssh, plugin } = &self.keys;
        native.is_empty()
            && ssh.is_empty()
            && plugin.is_empty()
            && self.locked_ssh.is_empty()
            && self.locked_files.is_empty()
    }

    /// What kinds of keys there are, for people.
    pub(super) fn describe(&self) -> String {
        let counted = [
            (self.keys.native.len(), "age identity", "age identities"),
            (self.keys.ssh.len() + self.locked_ssh.len(), "OpenSSH key", "OpenSSH keys"),
            (self.keys.plugin.len(), "plugin identity", "plugin identities"),
            (self.locked_files.len(), "encrypted identity file", "encrypted identity files"),
        ];
        let words: Vec<String> = counted
            .iter()
            .filter(|(n, ..)| *n > 0)
            .map(|(n, one, many)| format!("{n} {}", if *n == 1 { one } else { many }))
            .collect();
        if words.is_empty() {
            "no key at all".into()
        } else {
            words.join(", ")
        }
    }

    fn add_ssh(&mut self, path: &Path, pem: &[u8], prompt: Arc<dyn Prompt>) -> Result<(), CryptoError> {
        let unusable = |why| CryptoError::UnusableKey { path: path.to_owned(), why };
        let key =
            PrivateKey::from_openssh(pem).map_err(|_| unusable("it is not a whole OpenSSH private key"))?;
        match key.algorithm() {
            Algorithm::Ed25519 => {}
            Algorithm::Rsa { .. } => {
                return Err(unusable(
                    "RSA keys are not taken: using one can give it away (RUSTSEC-2023-0071)",
                ))
            }
            _ => return Err(unusable("of OpenSSH keys, only ed25519 is taken")),
        }
        if key.is_encrypted() {
            self.locked_ssh.push(LockedSsh { path: path.to_owned(), prompt, key, open: OnceLock::new() });
        } else {
            self.keys.ssh.push(for_age(&key).ok_or_else(|| unusable("age cannot use it"))?);
        }
        Ok(())
    }
}

/// The form in which age uses an unencrypted key.
fn for_age(key: &PrivateKey) -> Option<age::ssh::Identity> {
    let pem = key.to_openssh(LineEnding::LF).ok()?;
    match age::ssh::Identity::from_buffer(pem.as_bytes(), None) {
        Ok(identity @ age::ssh::Identity::Unencrypted(_)) => Some(identity),
        _ => None,
    }
}

impl Keys {
    /// Reads the lines of an age identity file. No line is ever repeated in an error.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CryptoError> {
        let broken =
            |line: usize, why: &str| CryptoError::Line { path: path.to_owned(), line, why: why.into() };
        let text = std::str::from_utf8(bytes).map_err(|_| broken(1, "the file is not an identity file"))?;
        let mut keys = Keys::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Ok(identity) = line.parse::<age::x25519::Identity>() {
                keys.native.push(identity);
            } else if let Ok(identity) = line.parse::<age::plugin::Identity>() {
                keys.plugin.push((identity.plugin().to_owned(), Secret::from(line.as_bytes().to_vec())));
            } else {
                return Err(broken(i + 1, why_not(line)));
            }
        }
        if keys.native.is_empty() && keys.plugin.is_empty() {
            return Err(CryptoError::UnusableKey {
                path: path.to_owned(),
                why: "there is no identity in it",
            });
        }
        Ok(keys)
    }
}

fn why_not(line: &str) -> &'static str {
    if line.starts_with("age1") || line.starts_with("ssh-") {
        "it is a public key; the private one opens things"
    } else if line.starts_with("AGE-SECRET-KEY-PQ-") {
        "age's own post-quantum identities need age-plugin-pq; convert it with that"
    } else if line.starts_with("AGE-SECRET-KEY-") || line.starts_with("AGE-PLUGIN-") {
        "the identity is not whole; copy it again"
    } else {
        "it is not an age identity"
    }
}

/// An OpenSSH key under a passphrase.
pub(super) struct LockedSsh {
    path: PathBuf,
    prompt: Arc<dyn Prompt>,
    key: PrivateKey,
    open: OnceLock<age::ssh::Identity>,
}

impl LockedSsh {
    /// Whether a stanza may be meant for this key, so that nobody is asked in vain.
    pub(super) fn is_meant(&self, stanza: &[&str]) -> bool {
        // The tag is the base64 of 4 bytes of the key's SHA-256; its first 5 characters are the fingerprint's.
        let fingerprint = self.key.fingerprint(HashAlg::Sha256).to_string();
        let digest = fingerprint.strip_prefix("SHA256:").and_then(|digest| digest.get(..5));
        matches!(stanza, ["ssh-ed25519", tag, ..] if tag.len() == 6 && tag.get(..5) == digest)
    }

    pub(super) fn unlock(&self) -> Result<&age::ssh::Identity, CryptoError> {
        if let Some(identity) = self.open.get() {
            return Ok(identity);
        }
        let what = format!("the key {}", self.path.display());
        let opened = until_right(&*self.prompt, &what, |passphrase| {
            let key = self.key.decrypt(passphrase.expose()).ok();
            Ok::<_, CryptoError>(key.and_then(|key| for_age(&key)))
        })?;
        let identity = opened.ok_or_else(|| CryptoError::WrongKeyPassphrase { path: self.path.clone() })?;
        Ok(self.open.get_or_init(|| identity))
    }
}

/// An age identity file under a passphrase.
pub(super) struct LockedFile {
    path: PathBuf,
    prompt: Arc<dyn Prompt>,
    sealed: Vec<u8>,
    keys: OnceLock<Keys>,
}

impl LockedFile {
    pub(super) fn unlock(&self) -> Result<&Keys, CryptoError> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let what = format!("the identity file {}", self.path.display());
        let plaintext = until_right(&*self.prompt, &what, |passphrase| {
            open_scrypt(&self.sealed, passphrase, MAX_FILE as usize)
        })?
        .ok_or_else(|| CryptoError::WrongKeyPassphrase { path: self.path.clone() })?;
        let keys = Keys::parse(&self.path, plaintext.expose())?;
        Ok(self.keys.get_or_init(|| keys))
    }
}

/// Opens a passphrase-encrypted age file, whose header was scanned. `None` if the passphrase is another.
pub(super) fn open_scrypt(
    file: &[u8],
    passphrase: &Secret,
    max: usize,
) -> Result<Option<Secret>, CryptoError> {
    let mut identity = age::scrypt::Identity::new(as_age(passphrase)?);
    identity.set_max_work_factor(SCRYPT_MAX_LOG_N);
    match open_with(file, std::iter::once(&identity as &dyn age::Identity), max) {
        Err(Failure::Key) => Ok(None),
        Err(Failure::File(error)) => Err(error),
        Ok(opened) => Ok(opened),
    }
}

/// Why an age file did not open.
pub(super) enum Failure {
    /// A key was meant, and its decryption failed: another passphrase, or a changed stanza.
    Key,
    /// The file itself.
    File(CryptoError),
}

/// Opens an age file, whose header was scanned, with keys in our memory. `None` if none of them is meant.
pub(super) fn open_with<'a>(
    file: &[u8],
    keys: impl Iterator<Item = &'a dyn age::Identity>,
    max: usize,
) -> Result<Option<Secret>, Failure> {
    let decryptor = age::Decryptor::new_buffered(file).map_err(|error| Failure::File(read_error(error)))?;
    let reader = match decryptor.decrypt(keys) {
        Ok(reader) => reader,
        Err(age::DecryptError::NoMatchingKeys) => return Ok(None),
        Err(age::DecryptError::DecryptionFailed) => return Err(Failure::Key),
        Err(error) => return Err(Failure::File(read_error(error))),
    };
    let mut plaintext = Zeroizing::new(Vec::with_capacity(max + 1));
    let read = reader.take(max as u64 + 1).read_to_end(&mut plaintext);
    if read.is_err() {
        return Err(Failure::File(CryptoError::Damaged("it is cut off, or its content was changed")));
    }
    if plaintext.len() > max {
        return Err(Failure::File(CryptoError::ContentTooBig { max }));
    }
    Ok(Some(Secret::from(std::mem::take(&mut *plaintext))))
}
