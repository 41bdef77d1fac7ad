//! `keys/<n>.age`: one plaintext, sealed for everyone who may open it, and opened by any of them.

use crate::base::limits::{MAX_KEY_FILE, MAX_KEY_FILES, MAX_KEY_PLAINTEXT, SCRYPT_WRITE_LOG_N};
use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::identity::{open_scrypt, open_with, Failure, Identities, Keys, LockedSsh};
use crate::crypto::passphrase::{as_age, until_right, Never, PassphraseError, Prompt};
use crate::crypto::plugin;
use crate::crypto::prescan::{scan_header, Header};
use crate::crypto::printable::printable;
use crate::crypto::recipient::{Group, Recipients};
use std::io::Write;

/// Encrypts `plaintext` (at most 4 KiB) to all `recipients`: one age file for each group that age lets share one.
pub fn seal(recipients: &Recipients, plaintext: &Secret) -> Result<Vec<Vec<u8>>, CryptoError> {
    let groups = recipients.groups();
    if groups.is_empty() {
        return Err(CryptoError::NoRecipients);
    }
    if groups.len() > MAX_KEY_FILES {
        return Err(CryptoError::TooManyRecipients { files: groups.len() });
    }
    if plaintext.len() > MAX_KEY_PLAINTEXT {
        return Err(CryptoError::Making("the content of a key file is too long"));
    }
    let files = groups.iter().map(|group| {
        let file = match group {
            Group::Native(some) => encrypt(some.iter().copied(), plaintext)?,
            Group::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(as_age(passphrase)?);
                recipient.set_work_factor(SCRYPT_WRITE_LOG_N);
                encrypt(std::iter::once(&recipient as &dyn age::Recipient), plaintext)?
            }
            Group::Plugin { name, recipients: some } => {
                plugin::wrap(name, some, plaintext, recipients.prompt())?
            }
        };
        // A plugin may have written more than a reader takes.
        check_size(&file)?;
        scan_header(&file)?;
        Ok(file)
    });
    files.collect()
}

pub(super) fn encrypt<'a>(
    recipients: impl Iterator<Item = &'a dyn age::Recipient>,
    plaintext: &Secret,
) -> Result<Vec<u8>, CryptoError> {
    let failed = |_| CryptoError::Making("the key file could not be encrypted");
    let encryptor = age::Encryptor::with_recipients(recipients)
        .map_err(|_| CryptoError::Making("its recipients do not go together"))?;
    let mut writer = encryptor.wrap_output(Vec::new()).map_err(failed)?;
    writer.write_all(plaintext.expose()).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Opens the first of `key_files` that an identity opens. Every header is bounded before any work.
///
/// The order: keys in memory, locked OpenSSH keys that are meant, plugins, encrypted identity files,
/// and last, once for all files, the passphrase. A file that is damaged does not stop the others.
pub fn open(key_files: &[Vec<u8>], identities: &Identities) -> Result<Secret, CryptoError> {
    let mut files = Vec::with_capacity(key_files.len());
    for bytes in key_files {
        check_size(bytes)?;
        files.push(File { bytes, header: scan_header(bytes)? });
    }
    let prompt = identities.prompt.as_deref().unwrap_or(&Never);
    let mut search = Search { files: &files, prompt, failed: None };
    let opened = search
        .with_keys(&identities.keys)
        .or_else(|| search.with_locked_ssh(identities))
        .or_else(|| search.with_plugins(&identities.keys))
        .or_else(|| search.with_locked_files(identities))
        .or_else(|| search.with_passphrase(identities));
    match (opened, search.failed) {
        (Some(plaintext), _) => Ok(plaintext),
        (None, Some(error)) => Err(error),
        (None, None) => Err(CryptoError::NoMatch { wanted: wanted(&files), tried: identities.describe() }),
    }
}

fn check_size(file: &[u8]) -> Result<(), CryptoError> {
    if file.len() as u64 > MAX_KEY_FILE {
        return Err(CryptoError::HeaderTooBig);
    }
    Ok(())
}

struct File<'a> {
    bytes: &'a [u8],
    header: Header<'a>,
}

/// The search for a key that opens one of the files, and the first thing that went wrong on the way.
struct Search<'a> {
    files: &'a [File<'a>],
    prompt: &'a dyn Prompt,
    failed: Option<CryptoError>,
}

impl Search<'_> {
    /// Takes a result apart: what was opened, or nothing, and the error remembered.
    fn note(&mut self, result: Result<Option<Secret>, CryptoError>) -> Option<Secret> {
        result.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            None
        })
    }

    fn try_all<'k>(&mut self, keys: impl Iterator<Item = &'k dyn age::Identity> + Clone) -> Option<Secret> {
        self.files.iter().filter(|file| !file.header.is_scrypt()).find_map(|file| {
            let result =
                open_with(file.bytes, keys.clone(), MAX_KEY_PLAINTEXT).map_err(|failure| match failure {
                    Failure::Key => CryptoError::Damaged("what it holds for this key was changed"),
                    Failure::File(error) => error,
                });
            self.note(result)
        })
    }

    fn with_keys(&mut self, keys: &Keys) -> Option<Secret> {
        let native = keys.native.iter().map(|key| key as &dyn age::Identity);
        let ssh = keys.ssh.iter().map(|key| key as &dyn age::Identity);
        self.try_all(native.chain(ssh))
    }

    fn with_locked_ssh(&mut self, identities: &Identities) -> Option<Secret> {
        let files = self.files;
        let is_meant = |key: &&LockedSsh| {
            files.iter().flat_map(|file| &file.header.stanzas).any(|stanza| key.is_meant(stanza))
        };
        let mut meant = identities.locked_ssh.iter().filter(is_meant);
        meant.find_map(|key| match key.unlock() {
            Ok(identity) => self.try_all(std::iter::once(identity as &dyn age::Identity)),
            Err(error) => self.note(Err(error)),
        })
    }

    fn with_plugins(&mut self, keys: &Keys) -> Option<Secret> {
        let mut names: Vec<&str> = keys.plugin.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().find_map(|name| {
            let mine = keys.plugin.iter().filter(|(of, _)| of == name).map(|(_, text)| text);
            let mine: Vec<&Secret> = mine.collect();
            self.files.iter().filter(|file| !file.header.is_scrypt()).find_map(|file| {
                let result = plugin::unwrap(name, &mine, file.bytes, self.prompt);
                self.note(result)
            })
        })
    }

    fn with_locked_files(&mut self, identities: &Identities) -> Option<Secret> {
        if self.files.iter().all(|file| file.header.is_scrypt()) {
            return None;
        }
        identities.locked_files.iter().find_map(|file| match file.unlock() {
            Ok(keys) => self.with_keys(keys).or_else(|| self.with_plugins(keys)),
            Err(error) => self.note(Err(error)),
        })
    }

    fn with_passphrase(&mut self, identities: &Identities) -> Option<Secret> {
        let locked: Vec<&File<'_>> = self.files.iter().filter(|file| file.header.is_scrypt()).collect();
        let others = locked.len() < self.files.len();
        if locked.is_empty() || identities.prompt.is_none() {
            return None;
        }
        let prompt = self.prompt;
        let opened = until_right(prompt, "the bundle", |passphrase| {
            Ok(locked.iter().find_map(|file| {
                let result = open_scrypt(file.bytes, passphrase, MAX_KEY_PLAINTEXT);
                self.note(result)
            }))
        });
        match opened {
            // Nobody to ask, and keys could have opened it: that no key does is the better answer.
            Err(PassphraseError::NoTerminal { .. }) if others => None,
            Err(error) => self.note(Err(error.into())),
            Ok(None) => self.note(Err(CryptoError::WrongPassphrase)),
            Ok(opened) => opened,
        }
    }
}

/// The kinds of recipients in the headers, for people.
fn wanted(files: &[File<'_>]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for stanza in files.iter().flat_map(|file| &file.header.stanzas) {
        let kind = match stanza[0] {
            "X25519" => "an age recipient".to_owned(),
            "ssh-ed25519" => "an OpenSSH key".to_owned(),
            "scrypt" => "a passphrase".to_owned(),
            "p256tag" | "mlkem768p256tag" => "a hardware key".to_owned(),
            grease if grease.ends_with("-grease") => continue,
            other => format!("a recipient of type {}", printable(other, 20)),
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, n)) => *n += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let words: Vec<String> = kinds
        .into_iter()
        .map(|(kind, n)| if n == 1 { kind } else { format!("{kind} ({n} of them)") })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::{Fault, Faulty};
    use crate::crypto::paths::KeyPaths;
    use crate::crypto::testing::{must, ssh_keygen, Counting};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;

    const TEXT: &[u8] = b"# kbpack 1 ...\nAGE-SECRET-KEY-1...\n";

    fn secret(bytes: &[u8]) -> Secret {
        Secret::from(bytes.to_vec())
    }

    /// `dir/name`, made by age-keygen; its recipient.
    fn age_keygen(dir: &Path, name: &str) -> String {
        must(dir, "age-keygen", &["-o", name], b"");
        let recipient = must(dir, "age-keygen", &["-y", name], b"");
        String::from_utf8(recipient).unwrap().trim().to_owned()
    }

    fn keys(dir: &Path, names: &[&str], prompt: &Arc<Counting>) -> Identities {
        let mut identities = Identities::new();
        for name in names {
            identities.add_file(&dir.join(name), prompt.clone()).unwrap();
        }
        identities.set_passphrase_prompt(prompt.clone());
        identities
    }

    /// A passphrase-encrypted file as age would write it, with a work factor that tests can afford.
    fn scrypt(passphrase: &str, plaintext: &[u8]) -> Vec<u8> {
        let mut recipient = age::scrypt::Recipient::new(as_age(&secret(passphrase.as_bytes())).unwrap());
        recipient.set_work_factor(10);
        encrypt(std::iter::once(&recipient as &dyn age::Recipient), &secret(plaintext)).unwrap()
    }

    #[test]
    fn what_we_seal_age_opens_and_the_other_way_round() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (first, second) = (age_keygen(dir, "one"), age_keygen(dir, "two"));
        ssh_keygen(dir, "ssh", "ed25519", "");
        let ssh = fs::read_to_string(dir.join("ssh.pub")).unwrap();
        let mut recipients = Recipients::new();
        for text in [&first, &second, &ssh] {
            recipients.add_str(text).unwrap();
        }
        let files = seal(&recipients, &secret(TEXT)).unwrap();
        assert_eq!(files.len(), 1);
        let prompt = Counting::new("");
        for key in ["one", "two", "ssh"] {
            assert_eq!(must(dir, "age", &["-d", "-i", key], &files[0]), TEXT);
            assert_eq!(open(&files, &keys(dir, &[key], &prompt)).unwrap().expose(), TEXT);
            let (flag, whom) = if key == "ssh" { ("-R", "ssh.pub") } else { ("-r", first.as_str()) };
            let theirs = must(dir, "age", &[flag, whom], TEXT);
            let opened = open(&[theirs], &keys(dir, &["one", "ssh"], &prompt)).unwrap();
            assert_eq!(opened.expose(), TEXT);
        }
        assert_eq!(prompt.asked(), 0);
    }

    #[test]
    fn a_passphrase_stands_alone_and_is_asked_for_once_and_last() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut recipients = Recipients::new();
        recipients.add_str(&age_keygen(dir, "one")).unwrap();
        recipients.add_passphrase(secret(b"open sesame"));
        let mut files = seal(&recipients, &secret(TEXT)).unwrap();
        assert_eq!(files.len(), 2);
        assert!(String::from_utf8_lossy(&files[1]).contains("-> scrypt "));
        assert_eq!(scan_header(&files[1]).unwrap().stanzas[0][2], "18");
        // Another passphrase's file is passed over.
        files.insert(0, scrypt("other", TEXT));

        let prompt = Counting::new("open sesame");
        assert_eq!(open(&files, &keys(dir, &["one"], &prompt)).unwrap().expose(), TEXT);
        assert_eq!(prompt.asked(), 0);
        assert_eq!(open(&files, &keys(dir, &[], &prompt)).unwrap().expose(), TEXT);
        assert_eq!(prompt.asked(), 1);
        let wrong = Counting::new("wrong");
        let error = open(&[scrypt("a", TEXT), scrypt("b", TEXT)], &keys(dir, &[], &wrong)).unwrap_err();
        assert!(matches!(error, CryptoError::WrongPassphrase));
        assert_eq!(wrong.asked(), 1);
    }

    #[test]
    fn post_quantum_recipients_are_kept_apart_and_fit() {
        let dir = tempfile::tempdir().unwrap();
        let mut recipients = Recipients::new();
        recipients.add_str(&age_keygen(dir.path(), "one")).unwrap();
        // The test vector of the age crate.
        recipients.add_str(include_str!("../../fixtures/keys/recipient-tagpq.txt")).unwrap();
        let files = seal(&recipients, &secret(TEXT)).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(scan_header(&files[0]).unwrap().stanzas[0][0], "X25519");
        assert_eq!(scan_header(&files[1]).unwrap().stanzas[0][0], "mlkem768p256tag");
        // As many of them as a file may have stay below the limit of its header.
        assert!(files[1].len() * 31 < crate::base::limits::MAX_AGE_HEADER);
    }

    #[test]
    fn work_is_bounded_before_anyone_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = String::from_utf8_lossy(&scrypt("a", b"")).into_owned();
        let greedy: String = file.replacen(" 10\n", " 30\n", 1);
        let prompt = Counting::new("a");
        let error = open(&[greedy.into_bytes()], &keys(dir.path(), &[], &prompt)).unwrap_err();
        assert!(matches!(error, CryptoError::ExcessiveWork { log_n: 30 }));
        assert_eq!((error.fault(), prompt.asked()), (Fault::Limit, 0));
        let huge = vec![b'x'; MAX_KEY_FILE as usize + 1];
        assert!(matches!(open(&[huge], &Identities::new()), Err(CryptoError::HeaderTooBig)));
    }

    #[test]
    fn no_match_says_what_was_wanted_and_tried() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let recipient = age_keygen(dir, "one");
        age_keygen(dir, "two");
        let mut recipients = Recipients::new();
        recipients.add_str(&recipient).unwrap();
        let files = seal(&recipients, &secret(TEXT)).unwrap();
        let error = open(&files, &keys(dir, &["two"], &Counting::new(""))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no key opens it: it is encrypted to an age recipient; tried 1 age identity"
        );
        assert_eq!(error.fault(), Fault::CannotDecrypt);
        let error = open(&files, &Identities::new()).unwrap_err();
        assert!(error.to_string().ends_with("tried no key at all"));
        assert!(matches!(seal(&Recipients::new(), &secret(TEXT)), Err(CryptoError::NoRecipients)));
    }

    #[test]
    fn a_locked_ssh_key_is_unlocked_once_and_only_if_it_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        ssh_keygen(dir, "ssh", "ed25519", "open sesame");
        ssh_keygen(dir, "other", "ed25519", "another");
        let theirs = must(dir, "age", &["-R", "ssh.pub"], TEXT);
        let prompt = Counting::new("open sesame");
        let both = keys(dir, &["other", "ssh"], &prompt);
        for _ in 0..2 {
            assert_eq!(open(std::slice::from_ref(&theirs), &both).unwrap().expose(), TEXT);
        }
        assert_eq!(prompt.asked(), 1);
        let prompt = Counting::new("open sesame");
        let other = keys(dir, &["other"], &prompt);
        assert!(matches!(open(std::slice::from_ref(&theirs), &other), Err(CryptoError::NoMatch { .. })));
        assert_eq!(prompt.asked(), 0);
        let wrong = keys(dir, &["ssh"], &Counting::new("wrong"));
        assert!(matches!(open(&[theirs], &wrong), Err(CryptoError::WrongKeyPassphrase { .. })));
    }

    #[test]
    fn an_encrypted_identity_file_opens_with_its_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let recipient = age_keygen(dir, "plain");
        let plain = fs::read(dir.join("plain")).unwrap();
        fs::write(dir.join("locked"), scrypt("open sesame", &plain)).unwrap();
        let theirs = must(dir, "age", &["-r", &recipient], TEXT);
        let prompt = Counting::new("open sesame");
        let locked = keys(dir, &["locked"], &prompt);
        for _ in 0..2 {
            assert_eq!(open(std::slice::from_ref(&theirs), &locked).unwrap().expose(), TEXT);
        }
        assert_eq!(prompt.asked(), 1);
        let wrong = keys(dir, &["locked"], &Counting::new("wrong"));
        assert!(matches!(open(&[theirs], &wrong), Err(CryptoError::WrongKeyPassphrase { .. })));
    }

    #[test]
    fn damage_is_told_and_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let recipient = age_keygen(dir, "one");
        let good = must(dir, "age", &["-r", &recipient], TEXT);
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        let one = keys(dir, &["one"], &Counting::new(""));
        let error = open(std::slice::from_ref(&bad), &one).unwrap_err();
        assert_eq!(error.fault(), Fault::Damaged);
        assert_eq!(open(&[bad, good.clone()], &one).unwrap().expose(), TEXT);
        for n in 0..good.len() {
            assert!(open(&[good[..n].to_vec()], &one).is_err());
        }
        let long = must(dir, "age", &["-r", &recipient], &[b'x'; 5000]);
        assert_eq!(open(&[long], &one).unwrap_err().fault(), Fault::Rule);
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = KeyPaths::new(dir.path());
        let chmod = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let prompt = Counting::new("");
        ssh_keygen(dir.path(), "ssh", "ed25519", "");
        must(dir.path(), "age-keygen", &["-o", "identity.txt"], b"");
        let (ssh, own) = (dir.path().join("ssh"), paths.identity());
        for mode in [0o640, 0o644, 0o602, 0o620] {
            chmod(&ssh, mode);
            chmod(&own, mode);
            let open = |error| matches!(error, CryptoError::TooOpen { .. });
            assert!(open(Identities::new().add_file(&ssh, prompt.clone()).unwrap_err()), "{mode:o}");
            assert!(open(Identities::new().add_default(&paths, prompt.clone()).unwrap_err()), "{mode:o}");
            // Given by hand, an age identity is taken as age takes it.
            Identities::new().add_file(&own, prompt.clone()).unwrap();
        }
        for mode in [0o600, 0o400] {
            chmod(&ssh, mode);
            chmod(&own, mode);
            Identities::new().add_file(&ssh, prompt.clone()).unwrap();
            assert!(Identities::new().add_default(&paths, prompt.clone()).unwrap());
        }
        chmod(dir.path(), 0o777);
        let error = Identities::new().add_default(&paths, prompt).unwrap_err();
        assert_eq!(error.fault(), Fault::NotReady);
        assert_eq!(error.remedy(), Some(format!("chmod 700 {}", dir.path().display())));
    }

    #[test]
    fn files_that_are_no_identity_are_refused_without_an_echo() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        ssh_keygen(dir, "rsa", "rsa", "");
        must(dir, "ssh-keygen", &["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", "pem"], b"");
        let recipient = age_keygen(dir, "one");
        fs::write(dir.join("public"), &recipient).unwrap();
        fs::write(dir.join("short"), "# x\nAGE-SECRET-KEY-1HUNTER2\n").unwrap();
        fs::write(dir.join("empty"), "# nothing\n").unwrap();
        fs::write(dir.join("armored"), must(dir, "age", &["-a", "-r", &recipient], TEXT)).unwrap();
        fs::write(dir.join("sealed"), must(dir, "age", &["-r", &recipient], TEXT)).unwrap();
        for name in ["rsa", "pem", "public", "short", "empty", "armored", "sealed", "rsa.pub", "missing"] {
            let error = Identities::new().add_file(&dir.join(name), Counting::new("")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.to_string().contains("HUNTER2"));
        }
    }

    #[test]
    fn a_sealed_passphrase_file_opens_with_age_at_a_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut recipients = Recipients::new();
        recipients.add_passphrase(secret(b"open sesame"));
        fs::write(dir.join("f"), &seal(&recipients, &secret(TEXT)).unwrap()[0]).unwrap();
        // `script` gives age the terminal that it insists on.
        must(dir, "script", &["-qec", "age -d -o out f", "/dev/null"], b"open sesame\n");
        assert_eq!(fs::read(dir.join("out")).unwrap(), TEXT);
    }
}
