//! Whom something is encrypted to.

use crate::base::limits::MAX_RECIPIENTS;
use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::{Never, Prompt};
use crate::crypto::paths::read_small;
use crate::crypto::printable::printable;
use crate::crypto::sign::Signer;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a recipients file.
const MAX_FILE: u64 = 1024 * 1024;

/// Everyone who is to be able to open something. The same recipient twice counts once.
pub struct Recipients {
    list: Vec<(String, Kind)>,
    prompt: Arc<dyn Prompt>,
}

enum Kind {
    /// X25519, tagged P-256 (hardware) and OpenSSH ed25519: age puts these into one file.
    Ordinary(Box<dyn age::Recipient + Send + Sync>),
    /// Post-quantum: age keeps these apart, as one ordinary recipient would undo their point.
    PostQuantum(Box<dyn age::Recipient + Send + Sync>),
    Plugin(String),
    Passphrase(Secret),
}

/// Recipients that share one age file.
pub(super) enum Group<'a> {
    Native(Vec<&'a dyn age::Recipient>),
    Plugin { name: &'a str, recipients: Vec<&'a str> },
    Passphrase(&'a Secret),
}

impl Default for Recipients {
    fn default() -> Self {
        Recipients { list: Vec::new(), prompt: Arc::new(Never) }
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.labels()).finish()
    }
}

impl Recipients {
    /// None yet.
    pub fn new() -> Self {
        Recipients::default()
    }

    /// Who answers when a plugin asks something while it encrypts.
    pub fn set_prompt(&mut self, prompt: Arc<dyn Prompt>) {
        self.prompt = prompt;
    }

    /// Adds `age1...` (X25519, `age1tag`, `age1tagpq`, a plugin's) or an `ssh-ed25519` public key line.
    pub fn add_str(&mut self, text: &str) -> Result<(), CryptoError> {
        let (label, kind) = parse(text.trim())?;
        if !self.list.iter().any(|(known, _)| *known == label) {
            self.list.push((label, kind));
        }
        Ok(())
    }

    /// Adds those in a file (`-R`): one a line; blank lines and lines that begin with `#` are skipped.
    pub fn add_file(&mut self, path: &Path) -> Result<(), CryptoError> {
        let bytes = read_small(path, MAX_FILE, |_| Ok(()))?.ok_or_else(|| CryptoError::missing(path))?;
        let line_error =
            |line: usize, why: &str| CryptoError::Line { path: path.to_owned(), line, why: why.to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(|_| line_error(1, "the file is not UTF-8 text"))?;
        for (i, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            self.add_str(line).map_err(|error| match error {
                CryptoError::Recipient { why, .. } => line_error(i + 1, why),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Adds a passphrase: whoever knows it can open it.
    pub fn add_passphrase(&mut self, passphrase: Secret) {
        self.list.push(("a passphrase".to_owned(), Kind::Passphrase(passphrase)));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, a passphrase being one.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Their public forms, in the order in which they were added, for people.
    pub fn labels(&self) -> Vec<String> {
        self.list.iter().map(|(label, _)| label.clone()).collect()
    }

    pub(super) fn prompt(&self) -> &dyn Prompt {
        &*self.prompt
    }

    /// The files that age lets these share. A plugin runs in a process of its own, so its recipients are apart too.
    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let (mut ordinary, mut quantum) = (Vec::new(), Vec::new());
        let mut plugins: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut passphrases = Vec::new();
        for (label, kind) in &self.list {
            match kind {
                Kind::Ordinary(recipient) => ordinary.push(&**recipient as &dyn age::Recipient),
                Kind::PostQuantum(recipient) => quantum.push(&**recipient as &dyn age::Recipient),
                Kind::Plugin(name) => match plugins.iter_mut().find(|(known, _)| known == name) {
                    Some((_, recipients)) => recipients.push(label),
                    None => plugins.push((name, vec![label])),
                },
                Kind::Passphrase(passphrase) => passphrases.push(Group::Passphrase(passphrase)),
            }
        }
        let mut groups = Vec::new();
        groups.extend(ordinary.chunks(MAX_RECIPIENTS).map(|some| Group::Native(some.to_vec())));
        groups.extend(quantum.chunks(MAX_RECIPIENTS).map(|some| Group::Native(some.to_vec())));
        for (name, recipients) in &plugins {
            let chunks = recipients.chunks(MAX_RECIPIENTS);
            groups.extend(chunks.map(|some| Group::Plugin { name, recipients: some.to_vec() }));
        }
        groups.extend(passphrases);
        groups
    }
}

/// Whether `text` is an age X25519 recipient in its one form. Encrypting to one runs no other program.
pub fn is_x25519(text: &str) -> bool {
    text.parse::<age::x25519::Recipient>().is_ok_and(|recipient| recipient.to_string() == text)
}

fn parse(text: &str) -> Result<(String, Kind), CryptoError> {
    let shown = || printable(text, 60);
    let refuse = |what: String, why| Err(CryptoError::Recipient { what, why });
    let upper = text.to_ascii_uppercase();
    if ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"].iter().any(|mark| upper.contains(mark)) {
        return refuse(
            "a recipient".into(),
            "it is a secret key; give its public half instead, and keep the secret out of command lines",
        );
    }
    if text.starts_with("age1") {
        if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
            return Ok((recipient.to_string(), Kind::Ordinary(Box::new(recipient))));
        }
        if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
            return Ok((recipient.to_string(), Kind::Ordinary(Box::new(recipient))));
        }
        if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
            return Ok((recipient.to_string(), Kind::PostQuantum(Box::new(recipient))));
        }
        // age's own types are not names of plugins: `age1tag1` with a typing error must not start one.
        return match text.parse::<age::plugin::Recipient>() {
            Ok(recipient) if !matches!(recipient.plugin(), "tag" | "tagpq") => {
                Ok((recipient.to_string(), Kind::Plugin(recipient.plugin().to_owned())))
            }
            _ => refuse(shown(), "it is not a whole age recipient; copy it again"),
        };
    }
    if text.starts_with("ssh-ed25519 ") {
        let signer = Signer::parse_line(text);
        let line = signer.map(|signer| signer.to_line("")).unwrap_or_default();
        return match line.parse::<age::ssh::Recipient>() {
            Ok(recipient) => Ok((line, Kind::Ordinary(Box::new(recipient)))),
            Err(_) => refuse(shown(), "it is not a whole ssh-ed25519 public key; copy it again"),
        };
    }
    if text.starts_with("ssh-rsa ") {
        return refuse(
            shown(),
            "RSA keys are not taken: using one can give it away (RUSTSEC-2023-0071), and there is no fix",
        );
    }
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start)) {
        return refuse(shown(), "of SSH keys, only ssh-ed25519 is taken");
    }
    refuse("a recipient".into(), "it begins neither with age1 nor with ssh-ed25519")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use secrecy::ExposeSecret;

    const TAG: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

    fn x25519() -> String {
        age::x25519::Identity::generate().to_public().to_string()
    }

    #[test]
    fn kinds_are_told_apart_and_grouped() {
        let mut all = Recipients::new();
        assert!(all.is_empty());
        for _ in 0..33 {
            all.add_str(&x25519()).unwrap();
        }
        all.add_str(TAG).unwrap();
        all.add_str(&SigningKey::generate().unwrap().public().to_line("me")).unwrap();
        all.add_passphrase(Secret::from(b"x".to_vec()));
        let count = all.count();
        all.add_str(TAG).unwrap();
        assert_eq!(all.count(), count);
        let sizes: Vec<_> = all
            .groups()
            .iter()
            .map(|group| match group {
                Group::Native(some) => some.len(),
                Group::Plugin { recipients, .. } => 100 + recipients.len(),
                Group::Passphrase(_) => 1000,
            })
            .collect();
        assert_eq!(sizes, [31, 4, 1000]);
        assert!(!format!("{all:?}").contains("\"x\""));
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let secret = age::x25519::Identity::generate().to_string();
        let secret = secret.expose_secret();
        for text in [secret.to_owned(), secret.to_lowercase(), "hunter2".into(), "correct horse".into()] {
            let error = Recipients::new().add_str(&text).unwrap_err().to_string();
            assert!(error.starts_with("a recipient: "), "{error}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused_with_its_reason() {
        let whole = x25519();
        let other = if whole.ends_with('q') { 'p' } else { 'q' };
        let mistyped = format!("{}{other}", &whole[..whole.len() - 1]);
        for (text, part) in [
            (whole[..40].to_owned(), "copy it again"),
            (mistyped, "copy it again"),
            (TAG.replace("qt8", "qt9"), "copy it again"),
            ("ssh-ed25519 AAAA".into(), "copy it again"),
            ("ssh-rsa AAAA me".into(), "RSA"),
            ("ecdsa-sha2-nistp256 AAAA".into(), "only ssh-ed25519"),
            ("age1\u{1b}[2J".into(), "\\u{1b}"),
        ] {
            let error = Recipients::new().add_str(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn files_have_one_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        std::fs::write(&path, format!("# ours\n\n{}\n{} \r\n", x25519(), x25519())).unwrap();
        let mut all = Recipients::new();
        all.add_file(&path).unwrap();
        assert_eq!(all.count(), 2);
        std::fs::write(&path, "# x\nhunter2\n").unwrap();
        let error = all.add_file(&path).unwrap_err();
        assert!(matches!(error, CryptoError::Line { line: 2, .. }));
        assert!(!error.to_string().contains("hunter2"));
        assert!(all.add_file(&dir.path().join("none")).is_err());
    }
}
