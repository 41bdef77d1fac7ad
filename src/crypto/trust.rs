//! Whose signatures count, for what, and when: `trusted_signers` and `revoked_signers`.

use crate::base::fault::{Fault, Faulty};
use crate::crypto::allowed::Entry;
use crate::crypto::error::CryptoError;
use crate::crypto::paths::{guard, read_small, replace, KeyPaths, OTHERS_WRITE};
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::when::format_time;
use std::path::Path;

/// Bytes of either file.
const MAX_FILE: u64 = 1024 * 1024;

/// A signer that may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The names that this machine knows it by.
    pub principal: String,
    /// Whether what it signed may have commands run here (`kbpack-hooks`).
    pub hooks: bool,
}

/// Why a signer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Its key is not listed.
    #[error("its signer {fingerprint} is not known here")]
    Unknown {
        /// The key's fingerprint.
        fingerprint: String,
        /// The key's public line.
        line: String,
        /// What it was to be trusted for.
        namespace: Namespace,
    },
    /// Its key is listed as revoked.
    #[error("its signer {fingerprint} is revoked")]
    Revoked {
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// Its key counts only later.
    #[error("its signer {principal} ({fingerprint}) is trusted only from {from} on")]
    NotYetValid {
        /// Who.
        principal: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// When it begins.
        from: String,
    },
    /// Its key counts no more.
    #[error("its signer {principal} ({fingerprint}) was trusted only until {until}")]
    Expired {
        /// Who.
        principal: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// When it ended.
        until: String,
    },
    /// Its key counts for other purposes only.
    #[error("its signer {principal} ({fingerprint}) is not trusted for {namespace}")]
    NotForNamespace {
        /// Who.
        principal: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// The key's public line.
        line: String,
        /// The purpose.
        namespace: Namespace,
    },
}

impl Faulty for TrustError {
    fn fault(&self) -> Fault {
        Fault::Untrusted
    }
    fn remedy(&self) -> Option<String> {
        Some(match self {
            TrustError::Unknown { line, namespace: Namespace::Receipt, .. } => {
                format!("if that target shows the same fingerprint: kbpack trust add NAME '{line}' --for receipts")
            }
            // Whoever swaps a ticket gets the bundle: how the fingerprint is compared is said in full.
            TrustError::Unknown { line, namespace: Namespace::Ticket, .. } => {
                format!("ask for the target's fingerprint by another way than the ticket came (there: kbpack keygen --show); if it is the same: kbpack trust add NAME '{line}' --for tickets")
            }
            TrustError::Unknown { line, .. } => {
                format!("if its source shows the same fingerprint: kbpack trust add NAME '{line}'")
            }
            TrustError::Revoked { .. } => "get one that is signed with a key that is not revoked".into(),
            TrustError::NotYetValid { .. } => "check this machine's clock, or the dates in trusted_signers".into(),
            TrustError::Expired { fingerprint, .. } => format!(
                "if the signer is still to be trusted, give it a later date: kbpack trust remove {fingerprint}, then kbpack trust add"
            ),
            TrustError::NotForNamespace { principal, line, namespace: Namespace::Receipt, .. } => {
                format!("if its receipts are to be believed: kbpack trust add {principal} '{line}' --for receipts")
            }
            TrustError::NotForNamespace { principal, line, namespace: Namespace::Ticket, .. } => {
                format!("if bundles are to be encrypted to what its tickets say: kbpack trust add {principal} '{line}' --for tickets")
            }
            TrustError::NotForNamespace { namespace, .. } => {
                format!("if it is to be trusted for that, add {namespace} to its line in trusted_signers")
            }
        })
    }
}

/// The two files, read whole. Every change is written at once, whole, mode 0600.
///
/// Two processes that change it at the same time: the later one wins. Hold the lock of the state directory.
#[derive(Debug)]
pub struct TrustStore {
    paths: KeyPaths,
    lines: Vec<Line>,
    revoked: Vec<Line>,
}

/// A line as it stands in a file, and what it says; comments and blank lines say nothing.
#[derive(Debug)]
struct Line {
    text: String,
    entry: Option<Entry>,
    key: Option<Signer>,
}

impl TrustStore {
    /// Reads both files; one that is not there is empty. A line that breaks the rules, a file or
    /// directory that is not ours (or root's) and one that others may write to are errors.
    pub fn load(paths: &KeyPaths) -> Result<Self, CryptoError> {
        paths.check_dir()?;
        let lines = read_lines(&paths.trusted_signers(), |text| {
            let entry = Entry::parse(text)?;
            Ok(Line { text: text.to_owned(), key: Some(entry.signer), entry: Some(entry) })
        })?;
        let revoked = read_lines(&paths.revoked_signers(), |text| {
            let key =
                Signer::parse_line(text).ok_or("a revoked signer is the line of an ssh-ed25519 .pub file")?;
            Ok(Line { text: text.to_owned(), entry: None, key: Some(key) })
        })?;
        Ok(TrustStore { paths: paths.clone(), lines, revoked })
    }

    /// Whether `signer` is trusted for `namespace` at `at` (unix seconds), and for hooks besides.
    pub fn check(&self, signer: &Signer, namespace: Namespace, at: u64) -> Result<Trusted, TrustError> {
        let fingerprint = signer.fingerprint();
        if self.revoked.iter().any(|line| line.key == Some(*signer)) {
            return Err(TrustError::Revoked { fingerprint });
        }
        let mut why = None;
        for entry in self.list().filter(|entry| entry.signer == *signer) {
            match allows(entry, namespace, at) {
                Ok(()) => {
                    let mine = self.list().filter(|other| other.signer == *signer);
                    let hooks = mine.into_iter().any(|other| allows(other, Namespace::Hooks, at).is_ok());
                    return Ok(Trusted { principal: entry.principals.clone(), hooks });
                }
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or_else(|| TrustError::Unknown { fingerprint, line: signer.to_line(""), namespace }))
    }

    /// What is trusted, in the file's order.
    pub fn list(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(|line| line.entry.as_ref())
    }

    /// Trusts `signer` under the name `principal` for `namespaces`, between two times (unix seconds), and writes it down.
    pub fn add(
        &mut self,
        principal: &str,
        signer: &Signer,
        namespaces: &[Namespace],
        valid_after: Option<u64>,
        valid_before: Option<u64>,
    ) -> Result<(), CryptoError> {
        self.add_entry(Entry {
            principals: principal.to_owned(),
            namespaces: Some(namespaces.to_vec()),
            valid_after,
            valid_before,
            signer: *signer,
            comment: String::new(),
        })
    }

    /// Adds an entry as it is (one that keygen printed elsewhere, read by [`Entry::parse`]), and writes it
    /// down. One that is there already is left alone.
    pub fn add_entry(&mut self, entry: Entry) -> Result<(), CryptoError> {
        if self.revoked.iter().any(|line| line.key == Some(entry.signer)) {
            let path = self.paths.revoked_signers();
            return Err(CryptoError::Revoked { path });
        }
        let text = entry.to_string();
        // What we write we must be able to read.
        let path = self.paths.trusted_signers();
        let line = self.lines.len() + 1;
        let entry = Entry::parse(&text).map_err(|why| CryptoError::Line { path, line, why: why.into() })?;
        if self.list().any(|other| *other == entry) {
            return Ok(());
        }
        self.lines.push(Line { text, key: Some(entry.signer), entry: Some(entry) });
        self.write(&self.paths.trusted_signers(), &self.lines)
    }

    /// Drops every entry with this fingerprint or name and writes that down. Returns the dropped ones.
    pub fn remove(&mut self, which: &str) -> Result<Vec<Entry>, CryptoError> {
        let hit = |entry: &Entry| entry.is_of(which) || entry.signer.fingerprint() == which;
        let gone: Vec<Entry> = self.list().filter(|entry| hit(entry)).cloned().collect();
        if !gone.is_empty() {
            self.lines.retain(|line| !line.entry.as_ref().is_some_and(hit));
            self.write(&self.paths.trusted_signers(), &self.lines)?;
        }
        Ok(gone)
    }

    /// Writes `signer` down as revoked: whatever `trusted_signers` says, it is not trusted any more.
    pub fn revoke(&mut self, signer: &Signer) -> Result<(), CryptoError> {
        if !self.revoked.iter().any(|line| line.key == Some(*signer)) {
            self.revoked.push(Line { text: signer.to_line(""), entry: None, key: Some(*signer) });
            self.write(&self.paths.revoked_signers(), &self.revoked)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, lines: &[Line]) -> Result<(), CryptoError> {
        self.paths.ensure_dir()?;
        let text: String = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        replace(path, text.as_bytes())
    }
}

/// What OpenSSH's `check_allowed_keys_line` decides: both ends of the time belong to it.
fn allows(entry: &Entry, namespace: Namespace, at: u64) -> Result<(), TrustError> {
    let principal = entry.principals.clone();
    let fingerprint = entry.signer.fingerprint();
    if !entry.is_for(namespace) {
        let line = entry.signer.to_line("");
        return Err(TrustError::NotForNamespace { principal, fingerprint, line, namespace });
    }
    if let Some(after) = entry.valid_after.filter(|&after| at < after) {
        return Err(TrustError::NotYetValid { principal, fingerprint, from: format_time(after) });
    }
    if let Some(before) = entry.valid_before.filter(|&before| at > before) {
        return Err(TrustError::Expired { principal, fingerprint, until: format_time(before) });
    }
    Ok(())
}

fn read_lines(
    path: &Path,
    parse: impl Fn(&str) -> Result<Line, &'static str>,
) -> Result<Vec<Line>, CryptoError> {
    let Some(bytes) = read_small(path, MAX_FILE, |meta| guard(path, meta, OTHERS_WRITE))? else {
        return Ok(Vec::new());
    };
    let broken =
        |line: usize, why: &str| CryptoError::Line { path: path.to_owned(), line, why: why.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| broken(1, "the file is not UTF-8 text"))?;
    let lines = text.lines().enumerate().map(|(i, line)| {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(Line { text: line.to_owned(), entry: None, key: None });
        }
        parse(line).map_err(|why| broken(i + 1, why))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use crate::crypto::testing::tool;
    use crate::crypto::when::parse_time;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const NOW: u64 = 1_750_000_000;

    fn store() -> (tempfile::TempDir, KeyPaths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = KeyPaths::new(dir.path().join("kbpack"));
        paths.ensure_dir().unwrap();
        (dir, paths)
    }

    #[test]
    fn each_reason_is_told_apart() {
        let (_dir, paths) = store();
        let key = || SigningKey::generate().unwrap().public();
        let (plain, hooks, early, late, backup, gone) = (key(), key(), key(), key(), key(), key());
        let mut store = TrustStore::load(&paths).unwrap();
        store.add("plain", &plain, &[Namespace::Bundle], None, None).unwrap();
        store.add("hooks", &hooks, &[Namespace::Bundle, Namespace::Hooks], None, None).unwrap();
        store.add("early", &early, &[Namespace::Bundle], Some(NOW + 1), None).unwrap();
        store.add("late", &late, &[Namespace::Bundle], None, Some(NOW - 1)).unwrap();
        store.add("backup", &backup, &[Namespace::Backup], None, None).unwrap();
        store.add("gone", &gone, &[Namespace::Bundle], None, None).unwrap();
        store.revoke(&gone).unwrap();

        let store = TrustStore::load(&paths).unwrap();
        let check = |signer: &Signer| store.check(signer, Namespace::Bundle, NOW);
        assert_eq!(check(&plain), Ok(Trusted { principal: "plain".into(), hooks: false }));
        assert_eq!(check(&hooks), Ok(Trusted { principal: "hooks".into(), hooks: true }));
        assert!(matches!(check(&early), Err(TrustError::NotYetValid { .. })));
        assert!(matches!(check(&late), Err(TrustError::Expired { .. })));
        assert!(matches!(check(&backup), Err(TrustError::NotForNamespace { .. })));
        assert!(matches!(check(&gone), Err(TrustError::Revoked { .. })));
        let unknown = key();
        let error = check(&unknown).unwrap_err();
        assert!(error.to_string().contains(&unknown.fingerprint()));
        assert!(error.remedy().unwrap().contains(&unknown.to_line("")));
        assert_eq!(error.fault(), Fault::Untrusted);
        assert_eq!(fs::metadata(paths.trusted_signers()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_line_can_help_and_an_expired_one_gives_no_hooks() {
        let (_dir, paths) = store();
        let key = SigningKey::generate().unwrap().public();
        let mut store = TrustStore::load(&paths).unwrap();
        store.add("old", &key, &[Namespace::Bundle, Namespace::Hooks], None, Some(NOW - 1)).unwrap();
        store.add("new", &key, &[Namespace::Bundle], Some(NOW - 1), None).unwrap();
        let trusted = store.check(&key, Namespace::Bundle, NOW).unwrap();
        assert_eq!(trusted, Trusted { principal: "new".into(), hooks: false });
    }

    #[test]
    fn changes_keep_what_people_wrote() {
        let (_dir, paths) = store();
        let key = || SigningKey::generate().unwrap().public();
        let (ada, bob) = (key(), key());
        let text = format!("# friends\n\nada {} from the lab\n", ada.to_line(""));
        fs::write(paths.trusted_signers(), &text).unwrap();
        let mut store = TrustStore::load(&paths).unwrap();
        store.add("bob", &bob, &[Namespace::Bundle], None, None).unwrap();
        store.add("bob", &bob, &[Namespace::Bundle], None, None).unwrap();
        assert_eq!(store.list().count(), 2);
        assert_eq!(store.remove(&bob.fingerprint()).unwrap().len(), 1);
        assert_eq!(store.remove("nobody").unwrap().len(), 0);
        assert_eq!(fs::read_to_string(paths.trusted_signers()).unwrap(), text);
        assert!(store.add("b*b", &bob, &[Namespace::Bundle], None, None).is_err());
        assert!(store.add("x\ny", &bob, &[Namespace::Bundle], None, None).is_err());
        store.revoke(&bob).unwrap();
        assert!(store.add("bob", &bob, &[Namespace::Bundle], None, None).is_err());
        assert_eq!(store.remove("ada").unwrap().len(), 1);
        assert_eq!(fs::read_to_string(paths.trusted_signers()).unwrap(), "# friends\n\n");
    }

    #[test]
    fn a_bad_line_is_named_and_stops_everything() {
        let (_dir, paths) = store();
        let key = SigningKey::generate().unwrap().public().to_line("");
        fs::write(paths.trusted_signers(), format!("ada {key}\n# x\n* {key}\n")).unwrap();
        let error = TrustStore::load(&paths).unwrap_err();
        assert!(matches!(error, CryptoError::Line { line: 3, .. }), "{error}");
        fs::write(paths.trusted_signers(), "").unwrap();
        fs::write(paths.revoked_signers(), "ssh-rsa AAAA\n").unwrap();
        assert!(TrustStore::load(&paths).is_err());
    }

    #[test]
    fn a_file_that_others_write_to_is_refused() {
        let (_dir, paths) = store();
        for mode in [0o620, 0o602] {
            fs::write(paths.trusted_signers(), "").unwrap();
            fs::set_permissions(paths.trusted_signers(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(TrustStore::load(&paths), Err(CryptoError::TooOpen { .. })));
        }
        fs::set_permissions(paths.trusted_signers(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(TrustStore::load(&paths).is_ok());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(paths.trusted_signers(), Some(4242), None).unwrap();
            assert!(matches!(TrustStore::load(&paths), Err(CryptoError::NotOurs { .. })));
        }
    }

    /// Where we trust a line, `ssh-keygen -Y verify` does; and where times and namespaces decide, both decide alike.
    #[test]
    fn ssh_keygen_agrees() {
        let (dir, paths) = store();
        let dir = dir.path();
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(Namespace::Bundle, b"msg").unwrap();
        fs::write(dir.join("sig"), signature).unwrap();
        let public = key.public().to_line("");
        let (from, to) = ("valid-after=\"202401011200Z\"", "valid-before=\"20240601120030Z\"");
        let bundle = "namespaces=\"kbpack-bundle\"";
        let options = [
            String::new(),
            format!("{bundle} "),
            "namespaces=\"kbpack-backup\" ".into(),
            "namespaces=\"kbpack-hooks,kbpack-bundle\" ".into(),
            format!("{from} "),
            format!("{to} "),
            format!("{from},{to} "),
            format!("{bundle},{from},{to} "),
            "valid-after=\"20240101Z\",namespaces=\"kbpack-bundle\" ".into(),
            "namespaces=\"kbpack-*\" ".into(),
            "valid-after=\"20240101\" ".into(),
            "cert-authority ".into(),
        ];
        let times = [
            "20231231235959Z",
            "20240101000000Z",
            "20240101115959Z",
            "20240101120000Z",
            "20240601120030Z",
            "20240601120031Z",
            "20991231Z",
        ];
        let allowed = paths.trusted_signers();
        let verify = |more: &[&str]| {
            let signers = ["-f", allowed.to_str().unwrap(), "-I", "ada", "-n", "kbpack-bundle", "-s", "sig"];
            let verify = ["TZ=America/New_York", "ssh-keygen", "-Y", "verify"];
            tool(dir, "env", &[&verify[..], &signers, more].concat(), b"msg").status.success()
        };
        let mut accepted = 0;
        for option in &options {
            fs::write(paths.trusted_signers(), format!("# head\nbob,ada {option}{public} x\n")).unwrap();
            let ours = TrustStore::load(&paths);
            for time in times {
                let theirs = verify(&["-O", &format!("verify-time={time}")]);
                match &ours {
                    Ok(store) => {
                        let ours = store.check(&key.public(), Namespace::Bundle, parse_time(time).unwrap());
                        assert_eq!(ours.is_ok(), theirs, "{option} at {time}: {ours:?}");
                        accepted += usize::from(theirs);
                    }
                    Err(_) => {
                        assert!(option.contains('*') || option.contains("0101\"") || option.contains("cert"))
                    }
                }
            }
        }
        assert!(accepted > 20, "{accepted}");
        // A revoked key.
        let mut store = TrustStore::load(&paths.clone()).unwrap_or_else(|_| {
            fs::write(paths.trusted_signers(), format!("ada {public}\n")).unwrap();
            TrustStore::load(&paths).unwrap()
        });
        store.revoke(&key.public()).unwrap();
        assert!(verify(&[]));
        assert!(!verify(&["-r", paths.revoked_signers().to_str().unwrap()]));
        assert!(store.check(&key.public(), Namespace::Bundle, NOW).is_err());
    }
}
