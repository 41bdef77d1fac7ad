//! `kbpack keygen`: the identity that opens bundles made for this machine, and the key that signs those made here.

use crate::base::secret::Secret;
use crate::crypto::allowed::Entry;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::Never;
use crate::crypto::paths::{create_new, guard, read_small, KeyPaths, OTHERS_ANY, OTHERS_WRITE};
use crate::crypto::sign::{Namespace, Signer, SigningKey};
use secrecy::ExposeSecret;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of an identity file.
const MAX_IDENTITY: u64 = 64 * 1024;

/// What keygen made, in the public words that others need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The age recipient (`age1...`): whoever exports for this machine encrypts to it.
    pub recipient: String,
    /// A line for the `trusted_signers` of those who import from this machine. It does not grant hooks.
    pub signer_line: String,
    /// The signing key's fingerprint (`SHA256:...`), to compare by voice or by eye.
    pub fingerprint: String,
}

/// Makes `identity.txt`, `signing_key` and `signing_key.pub`, in that order, each whole, on disk and 0600.
///
/// Nothing is ever overwritten. All three there: [`CryptoError::Exists`]. Some there (a run that was
/// interrupted, an age identity brought along): the missing ones are made, those that are there are
/// kept and must be usable. A public key without its private one is refused: a signing key that others
/// trust has gone missing, and a new one in its place would go unnoticed.
pub fn keygen(paths: &KeyPaths) -> Result<Made, CryptoError> {
    paths.ensure_dir()?;
    let there = |path: &Path| path.symlink_metadata().is_ok();
    let (has_identity, has_key, has_public) =
        (there(&paths.identity()), there(&paths.signing_key()), there(&paths.signing_key_pub()));
    if has_public && !has_key {
        return Err(CryptoError::OnlyPublic { path: paths.signing_key_pub() });
    }
    if has_public && has_identity {
        return Err(CryptoError::Exists { path: paths.identity() });
    }
    let comment = user_at_host();
    // Looked at before anything is made: a useless file among those that are there stops it all.
    let key = if has_key { SigningKey::load(&paths.signing_key(), &Never)? } else { SigningKey::generate()? };
    let recipient =
        if has_identity { recipient_of(&paths.identity())? } else { make_identity(&paths.identity())? };
    if !has_key {
        create_new(&paths.signing_key(), key.to_openssh(&comment)?.expose())?;
    }
    let signer = key.public();
    if !has_public {
        create_new(&paths.signing_key_pub(), format!("{}\n", signer.to_line(&comment)).as_bytes())?;
    }
    Ok(Made { recipient, signer_line: signer_line(signer, comment), fingerprint: signer.fingerprint() })
}

/// What `keygen` printed when the keys were made, read from the files that are there (`keygen --show`).
pub fn made(paths: &KeyPaths) -> Result<Made, CryptoError> {
    paths.check_dir()?;
    let path = paths.signing_key_pub();
    let unusable =
        CryptoError::UnusableKey { path: path.clone(), why: "it is not the line of an ssh-ed25519 key" };
    let text = read_small(&path, MAX_IDENTITY, |meta| guard(&path, meta, OTHERS_WRITE))?
        .ok_or_else(|| CryptoError::NoKey { path: path.clone() })?;
    let line = std::str::from_utf8(&text).unwrap_or_default().trim_end();
    let signer = Signer::parse_line(line).ok_or(unusable)?;
    let recipient = recipient_of(&paths.identity())?;
    Ok(Made {
        recipient,
        signer_line: signer_line(signer, user_at_host()),
        fingerprint: signer.fingerprint(),
    })
}

fn signer_line(signer: Signer, principals: String) -> String {
    let entry = Entry {
        principals,
        namespaces: Some(vec![Namespace::Bundle, Namespace::Ticket, Namespace::Receipt]),
        valid_after: None,
        valid_before: None,
        signer,
        comment: String::new(),
    };
    entry.to_string()
}

fn make_identity(path: &Path) -> Result<String, CryptoError> {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let text =
        Zeroizing::new(format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret()));
    create_new(path, Secret::from(text.as_bytes().to_vec()).expose())?;
    Ok(recipient)
}

/// The recipient of the first identity in an identity file that is there.
fn recipient_of(path: &Path) -> Result<String, CryptoError> {
    let text = read_small(path, MAX_IDENTITY, |meta| guard(path, meta, OTHERS_ANY))?
        .ok_or_else(|| CryptoError::NoKey { path: path.to_owned() })?;
    let first = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.trim().parse::<age::x25519::Identity>().ok()));
    first.map(|identity| identity.to_public().to_string()).ok_or(CryptoError::UnusableKey {
        path: path.to_owned(),
        why: "its recipient cannot be told: there is no plain age X25519 identity in it",
    })
}

/// `user@host`, of the characters that a principal may have.
fn user_at_host() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(|&c| c.is_ascii_alphanumeric() || "-._".contains(c));
        kept.take(64).collect()
    };
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    format!("{}@{}", or(plain(&user.unwrap_or_default()), "user"), or(plain(&host), "host"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Faulty;
    use crate::crypto::testing::must;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn paths() -> (tempfile::TempDir, KeyPaths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = KeyPaths::new(dir.path().join("kbpack"));
        (dir, paths)
    }

    #[test]
    fn the_stock_tools_know_the_keys() {
        let (_dir, paths) = paths();
        let first = keygen(&paths).unwrap();
        let dir = paths.dir();
        let recipient = must(dir, "age-keygen", &["-y", "identity.txt"], b"");
        assert_eq!(String::from_utf8(recipient).unwrap().trim(), first.recipient);
        let public = must(dir, "ssh-keygen", &["-y", "-f", "signing_key"], b"");
        assert_eq!(fs::read(paths.signing_key_pub()).unwrap(), public);
        let entry = Entry::parse(&first.signer_line).unwrap();
        assert_eq!(entry.signer.fingerprint(), first.fingerprint);
        assert!(!entry.is_for(Namespace::Hooks));
        for file in [paths.identity(), paths.signing_key(), paths.signing_key_pub()] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(made(&paths).unwrap(), first);
        let text = fs::read_to_string(paths.identity()).unwrap();
        assert!(text.starts_with(&format!("# public key: {}\nAGE-SECRET-KEY-1", first.recipient)));
    }

    #[test]
    fn nothing_is_overwritten_and_a_half_made_set_is_completed() {
        let (_dir, paths) = paths();
        let first = keygen(&paths).unwrap();
        assert!(matches!(keygen(&paths), Err(CryptoError::Exists { .. })));

        fs::remove_file(paths.signing_key_pub()).unwrap();
        assert_eq!(keygen(&paths).unwrap(), first);

        fs::remove_file(paths.identity()).unwrap();
        let second = keygen(&paths).unwrap();
        assert_eq!(second.fingerprint, first.fingerprint);
        assert_ne!(second.recipient, first.recipient);

        // A public key whose private one is gone.
        fs::remove_file(paths.signing_key()).unwrap();
        assert!(matches!(keygen(&paths), Err(CryptoError::OnlyPublic { .. })));
    }

    #[test]
    fn a_useless_file_among_them_stops_it_all() {
        let (_dir, paths) = paths();
        paths.ensure_dir().unwrap();
        create_new(&paths.identity(), b"AGE-SECRET-KEY-1QQQQ\n").unwrap();
        let error = keygen(&paths).unwrap_err();
        assert!(matches!(error, CryptoError::UnusableKey { .. }));
        assert!(!error.to_string().contains("QQQQ"));
        assert!(!paths.signing_key().exists());
    }

    #[test]
    fn what_others_could_read_is_not_shown() {
        let (_dir, paths) = paths();
        assert!(matches!(made(&paths), Err(CryptoError::NoKey { .. })));
        let first = keygen(&paths).unwrap();
        fs::set_permissions(paths.identity(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = made(&paths).unwrap_err();
        assert_eq!(error.remedy(), Some(format!("chmod 600 {}", paths.identity().display())));
        fs::set_permissions(paths.identity(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(paths.dir(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(made(&paths), Err(CryptoError::TooOpen { .. })));
        fs::set_permissions(paths.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(made(&paths).unwrap(), first);
    }
}
