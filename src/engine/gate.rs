//! The way every command opens a bundle: container, seal, trust, digests, keys, manifest, in this order.

use crate::base::path::ShownPath;
use crate::component::Progress;
use crate::crypto::identity::Identities;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::{TrustError, TrustStore, Trusted as Trust};
use crate::engine::error::{At, EngineError, Result};
use crate::engine::events::Decide;
use crate::engine::machine;
use crate::engine::state::State;
use crate::pipeline::unpack::{Opened, Sealed, Trusted, Unverified};
use rustix::fs::{open, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A bundle on its way in, and what to call it in messages.
pub struct Incoming {
    /// Its path, or `-`.
    pub place: String,
    file: File,
}

impl Incoming {
    /// The bundle at `path`; `-` is standard input. That, and all else that is no regular file, is spooled (as
    /// it is, encrypted) into a nameless file in the state directory, for a bundle is read by random access.
    pub fn open(path: &Path, state: &State) -> Result<Self> {
        let io = |error| EngineError::Io { path: path.to_owned(), error };
        let mut input: Box<dyn Read> = Box::new(io::stdin().lock());
        let mut place = "standard input".to_owned();
        if path.as_os_str() != "-" {
            place = ShownPath::from(path).to_string();
            let file = File::open(path).map_err(io)?;
            let kind = file.metadata().map_err(io)?;
            if kind.is_dir() {
                return Err(io(io::ErrorKind::IsADirectory.into()));
            }
            if kind.is_file() {
                return Ok(Incoming { place, file });
            }
            input = Box::new(file);
        }
        let dir = state.ensure_dir()?;
        let spooling = |error| EngineError::Io { path: dir.to_owned(), error };
        let mut spool = spool(dir).map_err(spooling)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match input.read(&mut buffer).map_err(io)? {
                0 => break,
                n => spool.write_all(&buffer[..n]).map_err(spooling)?,
            }
        }
        spool.seek(SeekFrom::Start(0)).map_err(spooling)?;
        Ok(Incoming { place, file: spool })
    }
}

fn spool(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(dir, flags, Mode::from_raw_mode(0o600)) {
        Ok(fd) => Ok(File::from(fd)),
        Err(_) => tempfile::tempfile_in(dir),
    }
}

/// Whom to trust, and as of when.
pub struct Gate<'a> {
    /// The trusted and revoked signers.
    pub paths: &'a KeyPaths,
    /// The sequence marks.
    pub state: &'a State,
    /// `--trust SHA256:...`: this signer, and no other, is trusted in this run.
    pub pin: Option<&'a str>,
    /// The moment for `valid-after`, `valid-before` and `expires`: seconds since 1970.
    pub at: u64,
    /// Asked about an unknown signer.
    pub decide: &'a dyn Decide,
    /// Whether backups that this machine made for itself are let through too: to be read, never to be imported.
    pub backups: bool,
}

impl Gate<'_> {
    /// Checks container and seal (chapters C and S); no digest yet, no trust yet.
    pub fn sealed(&self, incoming: Incoming) -> Result<(String, Sealed)> {
        let Incoming { place, file } = incoming;
        let purposes: &[Namespace] = match self.backups {
            true => &[Namespace::Bundle, Namespace::Backup],
            false => &[Namespace::Bundle],
        };
        let sealed = Unverified::scan(file).at(&place)?.check_seal(purposes).at(&place)?;
        Ok((place, sealed))
    }

    /// Checks that the signer is trusted, asking once about an unknown one.
    pub fn trusted(&self, place: &str, sealed: Sealed) -> Result<Trusted> {
        let signer = *sealed.signer();
        if let Some(pin) = self.pin.filter(|pin| *pin != signer.fingerprint()) {
            let (place, pin) = (place.to_owned(), pin.to_owned());
            return Err(EngineError::OtherSigner { place, signer: signer.fingerprint(), pin });
        }
        if sealed.purpose() == Namespace::Backup {
            return match self.pin.is_some() || self.is_own(&signer) {
                true => Ok(sealed.trust(Trust { principal: "this machine".into(), hooks: false })),
                false => {
                    Err(EngineError::ForeignBackup { place: place.to_owned(), signer: signer.fingerprint() })
                }
            };
        }
        let store = TrustStore::load(self.paths)?;
        let trust = match store.check(&signer, Namespace::Bundle, self.at) {
            Err(unknown @ TrustError::Unknown { .. }) => self.unknown(place, store, &signer, unknown)?,
            checked => checked.at(place)?,
        };
        Ok(sealed.trust(trust))
    }

    /// An unknown signer: pinned by `--trust`, or confirmed by a person who has the fingerprint from the source.
    fn unknown(
        &self,
        place: &str,
        mut store: TrustStore,
        signer: &Signer,
        unknown: TrustError,
    ) -> Result<Trust> {
        let fingerprint = signer.fingerprint();
        if self.pin.is_some() {
            self.state.begin_mark(&fingerprint)?;
            return Ok(Trust { principal: "pinned".into(), hooks: false });
        }
        if self.is_own(signer) {
            return Err(EngineError::OwnSigner {
                place: place.to_owned(),
                key: self.paths.signing_key_pub(),
            });
        }
        match self.decide.fingerprint_of_unknown(signer) {
            Some(typed) if typed.trim() == fingerprint => {}
            _ => return Err(unknown).at(place),
        }
        self.state.begin_mark(&fingerprint)?;
        store.add("confirmed-at-import", signer, &[Namespace::Bundle], None, None)?;
        store.check(signer, Namespace::Bundle, self.at).at(place)
    }

    /// Whether it is this machine's own key.
    fn is_own(&self, signer: &Signer) -> bool {
        crate::crypto::keygen::made(self.paths).is_ok_and(|made| made.fingerprint == signer.fingerprint())
    }

    /// R1: fails if the bundle's time is over.
    pub fn check_expiry(&self, bundle: &Bundle) -> Result<()> {
        match bundle.opened.manifest().expires.filter(|expires| *expires <= self.at) {
            None => Ok(()),
            Some(expires) => Err(EngineError::Expired {
                place: bundle.place.clone(),
                expired: machine::timestamp(expires),
            }),
        }
    }

    /// Everything up to the manifest. With `digests`, every member is compared with `SHA256SUMS` first;
    /// without, each when it is read for use.
    pub fn open(
        &self,
        incoming: Incoming,
        identities: &Identities,
        digests: Option<&dyn Progress>,
    ) -> Result<Bundle> {
        let (place, sealed) = self.sealed(incoming)?;
        let trusted = self.trusted(&place, sealed)?;
        if let Some(progress) = digests {
            trusted.sealed().check_digests(machine::threads(), progress).at(&place)?;
        }
        let opened = trusted.open(identities).at(&place)?;
        Ok(Bundle { place, opened })
    }
}

/// An opened bundle, and what to call it in messages.
pub struct Bundle {
    /// Its path, or `standard input`.
    pub place: String,
    /// What it opened to.
    pub opened: Opened,
}

/// Where keys and state stand.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// `--config-dir`, else `$XDG_CONFIG_HOME/kbpack`, else `~/.config/kbpack`.
    pub config: PathBuf,
    /// `--state-dir`, else `$XDG_STATE_HOME/kbpack`, else `~/.local/state/kbpack`.
    pub state: PathBuf,
}

impl Dirs {
    /// The directories, by the XDG Base Directory Specification: relative values of the variables are ignored.
    pub fn resolve(config: Option<PathBuf>, state: Option<PathBuf>) -> Result<Self> {
        let standard = |variable: &str, fallback: &str| -> Result<PathBuf> {
            let set = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
            Ok(set.map_or_else(|| machine::home().map(|home| home.join(fallback)), Ok)?.join("kbpack"))
        };
        let absolute =
            |dir: PathBuf| std::path::absolute(&dir).map_err(|error| EngineError::Io { path: dir, error });
        Ok(Dirs {
            config: config.map_or_else(|| standard("XDG_CONFIG_HOME", ".config"), absolute)?,
            state: state.map_or_else(|| standard("XDG_STATE_HOME", ".local/state"), absolute)?,
        })
    }
}
