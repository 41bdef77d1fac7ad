//! Signatures: SSHSIG (OpenSSH `PROTOCOL.sshsig`), ed25519 and sha512 only, over exact bytes.
//!
//! `ssh-keygen -Y sign` and `-Y verify` make and check the same armored text.

use crate::base::fault::{Fault, Faulty};
use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::{until_right, Prompt};
use crate::crypto::paths::{guard, guard_dir, read_small, OTHERS_ANY};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use std::fmt;
use std::path::Path;

/// Bytes of an armored signature: more than any that ed25519 makes.
const MAX_ARMORED: usize = 4096;
/// Bytes of a private key file.
const MAX_KEY: u64 = 64 * 1024;

/// What a signature is for. One made for one purpose never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// A bundle for a peer.
    Bundle,
    /// A backup that an import made, for this machine alone.
    Backup,
    /// A target's request: whom to encrypt to.
    Ticket,
    /// A target's word that it applied a bundle.
    Receipt,
    /// Not signed under: a signer trusted with it may have commands run on the target.
    Hooks,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Namespace; 5] =
        [Namespace::Bundle, Namespace::Backup, Namespace::Ticket, Namespace::Receipt, Namespace::Hooks];

    /// The word for it in signatures and in `trusted_signers`.
    pub fn as_str(self) -> &'static str {
        match self {
            Namespace::Bundle => "kbpack-bundle",
            Namespace::Backup => "kbpack-backup",
            Namespace::Ticket => "kbpack-ticket",
            Namespace::Receipt => "kbpack-receipt",
            Namespace::Hooks => "kbpack-hooks",
        }
    }

    /// The namespace that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Namespace::ALL.into_iter().find(|namespace| namespace.as_str() == word)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ed25519 public key that signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signer([u8; 32]);

impl Signer {
    /// `SHA256:` and the unpadded base64 of the key's SHA-256, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The line of a `.pub` file, without its end: `ssh-ed25519 BASE64 comment`.
    pub fn to_line(&self, comment: &str) -> String {
        let line = format!("ssh-ed25519 {}", self.base64());
        if comment.is_empty() {
            line
        } else {
            format!("{line} {comment}")
        }
    }

    /// Reads `ssh-ed25519 BASE64 [comment]`. `None` for any other text, encoding or type of key.
    pub fn parse_line(line: &str) -> Option<Self> {
        let key = PublicKey::from_openssh(line).ok()?;
        let signer = Signer::of(key.key_data())?;
        // The parser is lenient with white space; the canonical beginning is the only one.
        let rest = line.strip_prefix(&signer.to_line(""))?;
        (rest.is_empty() || rest.starts_with(' ')).then_some(signer)
    }

    /// The base64 of the key's wire encoding: what stands in a `.pub` line.
    fn base64(&self) -> String {
        let line = self.key().to_openssh().unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn of(key: &KeyData) -> Option<Self> {
        key.ed25519().map(|key| Signer(key.0))
    }

    fn key(&self) -> PublicKey {
        PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(self.0)), "")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// An ed25519 private key that signs. Wiped on drop; `Debug` shows the public half's fingerprint.
pub struct SigningKey {
    key: PrivateKey,
    signer: Signer,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.signer)
    }
}

impl SigningKey {
    /// A new key from the operating system's random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)
            .map_err(|_| CryptoError::Making("no ed25519 key could be generated"))?;
        SigningKey::of(key).ok_or(CryptoError::Making("no ed25519 key could be generated"))
    }

    /// Reads an OpenSSH private key file. `prompt` is asked if the key is passphrase-protected.
    ///
    /// Refuses a file that others can read, as `ssh` does, and one in a directory that others can write to.
    pub fn load(path: &Path, prompt: &dyn Prompt) -> Result<Self, CryptoError> {
        let unusable = |why| CryptoError::UnusableKey { path: path.to_owned(), why };
        if let Some(dir) = path.parent() {
            guard_dir(dir)?;
        }
        let pem = read_small(path, MAX_KEY, |meta| guard(path, meta, OTHERS_ANY))?
            .ok_or_else(|| CryptoError::NoKey { path: path.to_owned() })?;
        let key = PrivateKey::from_openssh(pem.as_slice())
            .map_err(|_| unusable("it is not an OpenSSH private key"))?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(unusable("kbpack signs with ed25519 keys only"));
        }
        let key = if key.is_encrypted() {
            let what = format!("the signing key {}", path.display());
            until_right(prompt, &what, |passphrase| {
                Ok::<_, CryptoError>(key.decrypt(passphrase.expose()).ok())
            })?
            .ok_or_else(|| CryptoError::WrongKeyPassphrase { path: path.to_owned() })?
        } else {
            key
        };
        SigningKey::of(key).ok_or_else(|| unusable("kbpack signs with ed25519 keys only"))
    }

    fn of(key: PrivateKey) -> Option<Self> {
        let signer = Signer::of(key.public_key().key_data())?;
        Some(SigningKey { key, signer })
    }

    /// The public half.
    pub fn public(&self) -> Signer {
        self.signer
    }

    /// The unencrypted OpenSSH private key file.
    pub fn to_openssh(&self, comment: &str) -> Result<Secret, CryptoError> {
        let mut key = self.key.clone();
        key.set_comment(comment);
        let pem = key
            .to_openssh(LineEnding::LF)
            .map_err(|_| CryptoError::Making("the signing key could not be encoded"))?;
        Ok(Secret::from(pem.as_bytes().to_vec()))
    }

    /// The armored signature of `msg`, its lines and its end as `ssh-keygen -Y sign` writes them.
    pub fn sign(&self, namespace: Namespace, msg: &[u8]) -> Result<String, CryptoError> {
        self.key
            .sign(namespace.as_str(), HashAlg::Sha512, msg)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|_| CryptoError::Making("the signature could not be made"))
    }
}

/// Why a seal does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no signature at all.
    #[error("it is not signed")]
    Empty,
    /// The text is not an armored SSHSIG of version 1.
    #[error("its signature is not an SSH signature (SSHSIG, version 1)")]
    NotSshsig,
    /// The signature was made for another purpose.
    #[error("its signature was made for {}, not for {wanted}", found.map_or("another purpose", Namespace::as_str))]
    WrongNamespace {
        /// The purpose it has, if it is one of ours.
        found: Option<Namespace>,
        /// The purpose it must have.
        wanted: Namespace,
    },
    /// The key is not ed25519.
    #[error("its signature is by a key of type {found}, and only ed25519 is accepted")]
    WrongAlgorithm {
        /// The type of the key.
        found: String,
    },
    /// The digest is not sha512.
    #[error("its signature uses sha256, and only sha512 is accepted")]
    WrongHash,
    /// The text differs from the one way to write this signature, or its reserved field is not empty.
    #[error("its signature is not in canonical form")]
    NotCanonical,
    /// The signature is not one of these bytes by this key.
    #[error("its signature does not fit its content: one of the two was changed")]
    BadSignature,
}

impl Faulty for SealError {
    fn fault(&self) -> Fault {
        Fault::Untrusted
    }
    fn remedy(&self) -> Option<String> {
        Some(match self {
            SealError::BadSignature | SealError::NotCanonical | SealError::NotSshsig => {
                "copy it again from where it came; if it is the same there, get it again from its source".into()
            }
            SealError::WrongNamespace { found: Some(Namespace::Backup), .. } => {
                "it is the backup of an import; on the machine where it was made, `kbpack rollback` puts back what is in it".into()
            }
            _ => "have it made again by kbpack on its source".into(),
        })
    }
}

/// Checks that `armored` is a signature of `msg` for `namespace`, and by whom. Says nothing of trust.
pub fn verify(namespace: Namespace, armored: &[u8], msg: &[u8]) -> Result<Signer, SealError> {
    if armored.is_empty() {
        return Err(SealError::Empty);
    }
    if armored.len() > MAX_ARMORED {
        return Err(SealError::NotSshsig);
    }
    let signature = SshSig::from_pem(armored).map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown => SealError::WrongAlgorithm { found: "unknown".into() },
        _ => SealError::NotSshsig,
    })?;
    if signature.version() != SshSig::VERSION {
        return Err(SealError::NotSshsig);
    }
    if signature.namespace() != namespace.as_str() {
        let found = Namespace::parse(signature.namespace());
        return Err(SealError::WrongNamespace { found, wanted: namespace });
    }
    let signer = Signer::of(signature.public_key());
    let (Some(signer), Algorithm::Ed25519) = (signer, signature.algorithm()) else {
        let found = known_name(&signature.public_key().algorithm()).to_owned();
        return Err(SealError::WrongAlgorithm { found });
    };
    if signature.hash_alg() != HashAlg::Sha512 {
        return Err(SealError::WrongHash);
    }
    let canonical = signature.to_pem(LineEnding::LF).map_err(|_| SealError::NotCanonical)?;
    if !signature.reserved().is_empty() || canonical.as_bytes() != armored {
        return Err(SealError::NotCanonical);
    }
    signer.key().verify(namespace.as_str(), msg, &signature).map_err(|_| SealError::BadSignature)?;
    Ok(signer)
}

/// The name of a key type, from a list of ours: the signature's own words are not repeated.
fn known_name(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rsa { .. } => "RSA",
        Algorithm::Dsa => "DSA",
        Algorithm::Ecdsa { .. } => "ECDSA",
        Algorithm::SkEd25519 => "ed25519-sk",
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-sk",
        Algorithm::Ed25519 => "ed25519 with a signature of another type",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::passphrase::{Fixed, Never};
    use crate::crypto::paths::create_new;
    use crate::crypto::testing::{must, ssh_keygen};
    use std::fs;

    const MSG: &[u8] = b"the exact bytes\n";

    fn signed_by_ssh(dir: &Path, key: &str, namespace: &str, options: &[&str]) -> Vec<u8> {
        let mut args = vec!["-q", "-Y", "sign", "-f", key, "-n", namespace];
        args.extend(options);
        must(dir, "ssh-keygen", &args, MSG)
    }

    #[test]
    fn signatures_are_what_ssh_keygen_makes_and_takes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let ours = SigningKey::generate().unwrap();
        let armored = ours.sign(Namespace::Bundle, MSG).unwrap();
        assert_eq!(verify(Namespace::Bundle, armored.as_bytes(), MSG), Ok(ours.public()));
        fs::write(dir.join("sig"), &armored).unwrap();
        fs::write(dir.join("allowed"), format!("me {}\n", ours.public().to_line(""))).unwrap();
        let args = ["-Y", "verify", "-f", "allowed", "-I", "me", "-n", "kbpack-bundle", "-s", "sig"];
        must(dir, "ssh-keygen", &args, MSG);

        ssh_keygen(dir, "key", "ed25519", "");
        let theirs = SigningKey::load(&dir.join("key"), &Never).unwrap();
        let armored = signed_by_ssh(dir, "key", "kbpack-bundle", &[]);
        assert_eq!(verify(Namespace::Bundle, &armored, MSG), Ok(theirs.public()));
        // ed25519 is deterministic: the two texts are one.
        assert_eq!(theirs.sign(Namespace::Bundle, MSG).unwrap().as_bytes(), armored);

        let line = fs::read_to_string(dir.join("key.pub")).unwrap();
        assert_eq!(Signer::parse_line(line.trim_end()), Some(theirs.public()));
        assert_eq!(theirs.public().to_line("tester"), line.trim_end());
        let listed = must(dir, "ssh-keygen", &["-l", "-f", "key.pub"], b"");
        assert!(String::from_utf8_lossy(&listed).contains(&theirs.public().fingerprint()));
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        ssh_keygen(dir, "key", "ed25519", "");
        ssh_keygen(dir, "rsa", "rsa", "");
        ssh_keygen(dir, "ec", "ecdsa", "");
        let good = String::from_utf8(signed_by_ssh(dir, "key", "kbpack-bundle", &[])).unwrap();
        let check = |armored: &[u8]| verify(Namespace::Bundle, armored, MSG).map(|_| ());

        assert_eq!(check(good.as_bytes()), Ok(()));
        assert_eq!(check(b""), Err(SealError::Empty));
        assert_eq!(check(b"hello"), Err(SealError::NotSshsig));
        assert_eq!(check(&[b'x'; 10_000]), Err(SealError::NotSshsig));
        let other = signed_by_ssh(dir, "key", "kbpack-backup", &[]);
        assert!(matches!(check(&other), Err(SealError::WrongNamespace { found: Some(_), .. })));
        let git = signed_by_ssh(dir, "key", "git", &[]);
        assert!(matches!(check(&git), Err(SealError::WrongNamespace { found: None, .. })));
        let weak = signed_by_ssh(dir, "key", "kbpack-bundle", &["-O", "hashalg=sha256"]);
        assert_eq!(check(&weak), Err(SealError::WrongHash));
        let rsa = signed_by_ssh(dir, "rsa", "kbpack-bundle", &[]);
        assert_eq!(check(&rsa), Err(SealError::WrongAlgorithm { found: "RSA".into() }));
        let ec = signed_by_ssh(dir, "ec", "kbpack-bundle", &[]);
        assert!(matches!(check(&ec), Err(SealError::WrongAlgorithm { .. })));
        assert_eq!(verify(Namespace::Bundle, good.as_bytes(), b"other bytes"), Err(SealError::BadSignature));
    }

    #[test]
    fn only_one_text_is_the_signature() {
        let key = SigningKey::generate().unwrap();
        let good = key.sign(Namespace::Bundle, MSG).unwrap();
        let check = |armored: &str| verify(Namespace::Bundle, armored.as_bytes(), MSG);
        assert!(check(&good).is_ok());
        for other in [
            format!("{good}\n"),
            format!(" {good}"),
            format!("note\n{good}"),
            format!("{good}{good}"),
            good.trim_end().to_owned(),
            good.replace('\n', "\r\n"),
            good.replacen("\n", "\n ", 1),
            good.lines().map(|l| format!("{l} \n")).collect(),
        ] {
            assert!(
                matches!(check(&other), Err(SealError::NotCanonical | SealError::NotSshsig)),
                "{other:?}"
            );
        }
        // Another line width.
        let body: String = good.lines().filter(|l| !l.starts_with('-')).collect();
        let wide = format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n");
        assert!(matches!(check(&wide), Err(SealError::NotCanonical | SealError::NotSshsig)));
    }

    #[test]
    fn no_changed_byte_passes() {
        let key = SigningKey::generate().unwrap();
        let good = key.sign(Namespace::Bundle, MSG).unwrap().into_bytes();
        for i in 0..good.len() {
            for flip in [1u8, 2, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[i] ^= flip;
                assert!(verify(Namespace::Bundle, &bad, MSG) != Ok(key.public()), "byte {i} ^ {flip}");
            }
        }
    }

    #[test]
    fn a_reserved_field_is_refused() {
        // A signature whose reserved field is not empty, else well formed, put together by hand.
        let key = SigningKey::generate().unwrap();
        let string = |b: &[u8]| [&(b.len() as u32).to_be_bytes()[..], b].concat();
        let public = [string(b"ssh-ed25519"), string(&key.public().0)].concat();
        let inner = [string(b"ssh-ed25519"), string(&[0; 64])].concat();
        let blob = [
            b"SSHSIG\0\0\0\x01".to_vec(),
            string(&public),
            string(b"kbpack-bundle"),
            string(b"extra"),
            string(b"sha512"),
            string(&inner),
        ]
        .concat();
        let dir = tempfile::tempdir().unwrap();
        let body = must(dir.path(), "base64", &["-w", "70"], &blob);
        let armored =
            [&b"-----BEGIN SSH SIGNATURE-----\n"[..], &body, b"-----END SSH SIGNATURE-----\n"].concat();
        assert_eq!(verify(Namespace::Bundle, &armored, MSG), Err(SealError::NotCanonical));
    }

    #[test]
    fn keys_are_read_tightly() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        ssh_keygen(dir, "locked", "ed25519", "open sesame");
        let locked = dir.join("locked");
        assert!(SigningKey::load(&locked, &Fixed::new("open sesame")).is_ok());
        assert!(matches!(
            SigningKey::load(&locked, &Fixed::new("wrong")),
            Err(CryptoError::WrongKeyPassphrase { .. })
        ));
        must(dir, "chmod", &["644", "locked"], b"");
        assert!(matches!(SigningKey::load(&locked, &Never), Err(CryptoError::TooOpen { .. })));
        ssh_keygen(dir, "rsa", "rsa", "");
        assert!(matches!(SigningKey::load(&dir.join("rsa"), &Never), Err(CryptoError::UnusableKey { .. })));
    }

    #[test]
    fn our_key_file_is_one_for_ssh_keygen() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let key = SigningKey::generate().unwrap();
        create_new(&dir.join("k"), key.to_openssh("me").unwrap().expose()).unwrap();
        let line = must(dir, "ssh-keygen", &["-y", "-f", "k"], b"");
        assert_eq!(String::from_utf8(line).unwrap().trim_end(), key.public().to_line("me"));
        let again = SigningKey::load(&dir.join("k"), &Never).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(!format!("{again:?}").contains("PRIVATE"));
    }

    #[test]
    fn public_lines_are_strict() {
        let signer = SigningKey::generate().unwrap().public();
        let line = signer.to_line("a b");
        assert_eq!(Signer::parse_line(&line), Some(signer));
        for bad in [
            format!(" {line}"),
            line.replacen(' ', "  ", 1),
            line.replacen(' ', "\t", 1),
            line.replace("ssh-ed25519 ", "ssh-rsa "),
            line.replace(" a b", "x"),
            "ssh-ed25519".into(),
        ] {
            assert_eq!(Signer::parse_line(&bad), None, "{bad:?}");
        }
    }
}
