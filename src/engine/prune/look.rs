//! What a file in the folder is, by its content.

use super::{Found, Prune, Series};
use crate::base::fault::{Fault, Faulty};
use crate::base::fsx::Dir;
use crate::base::path::path_text;
use crate::crypto::keygen;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::{TrustStore, Trusted as Trust};
use crate::engine::backup::Part;
use crate::engine::error::Result;
use crate::engine::events::Events;
use crate::engine::machine;
use crate::format::{BundleId, FormatError, Manifest};
use crate::pipeline::unpack::{Sealed, UnpackError, Unverified};
use rustix::fs::{fstat, statat, AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Looks at the files in one folder.
pub(super) struct Looker<'a> {
    prune: &'a Prune<'a>,
    dir: &'a Dir,
    namespace: Namespace,
    store: TrustStore,
    /// This machine's fingerprint, if it has keys.
    own: Option<String>,
    events: &'a dyn Events,
}

/// What a file is.
pub(super) enum Look {
    /// A bundle, its seal a valid signature by whomever.
    Bundle(Box<Found>),
    /// Nothing for us.
    Other,
    /// It begins as a bundle does, and is none that could be used.
    Broken(UnpackError),
}

impl<'a> Looker<'a> {
    pub(super) fn new(
        prune: &'a Prune<'a>,
        dir: &'a Dir,
        namespace: Namespace,
        events: &'a dyn Events,
    ) -> Result<Self> {
        let store = TrustStore::load(prune.paths)?;
        let own = keygen::made(prune.paths).ok().map(|made| made.fingerprint);
        Ok(Looker { prune, dir, namespace, store, own, events })
    }

    /// What the file called `name` is.
    pub(super) fn look(&self, name: &OsStr) -> Look {
        // Opening a FIFO would wait for a writer, and a device may do anything.
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !statat(self.dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_file(&stat)) {
            return Look::Other;
        }
        let opened = self.dir.open_at(Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        let Ok(file) = opened.map(File::from) else { return Look::Other };
        let Ok(stat) = fstat(&file) else { return Look::Other };
        match self.read(file, &stat, name) {
            Ok(found) => Look::Bundle(Box::new(found)),
            Err(UnpackError::Format(FormatError::NotABundle)) => Look::Other,
            Err(error) => Look::Broken(error),
        }
    }

    fn read(&self, file: File, stat: &Stat, name: &OsStr) -> std::result::Result<Found, UnpackError> {
        let sealed = Unverified::scan(file)?.check_seal(&[self.namespace])?;
        if self.prune.verify {
            sealed.check_digests(machine::threads(), self.events)?;
        }
        let (id, signer) = (sealed.id(), *sealed.signer());
        let opened = self.open(sealed, &signer)?;
        let written = u64::try_from(stat.st_mtime).unwrap_or(0);
        Ok(Found {
            file: path_text(name.as_bytes()),
            id,
            time: opened.as_ref().map_or(written, |inside| inside.created),
            sequence: opened.as_ref().map(|inside| inside.sequence),
            series: Series { signer: signer.fingerprint(), profile: opened.map(|inside| inside.profile) },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            keep: Vec::new(),
            unit: self.unit(id, name),
            name: name.to_owned(),
            inode: (stat.st_dev, stat.st_ino),
        })
    }

    /// A copy of a backup under another name is none that a rollback finds: only names tell which parts belong together.
    fn unit(&self, id: BundleId, name: &OsStr) -> String {
        let run = Part::run_of(name).filter(|_| self.namespace == Namespace::Backup);
        run.map_or_else(|| id.to_string(), str::to_owned)
    }

    /// The manifest of a bundle that can be opened. Nothing is decrypted that a stranger signed: its signer must be trusted,
    /// or be this machine.
    fn open(&self, sealed: Sealed, signer: &Signer) -> std::result::Result<Option<Manifest>, UnpackError> {
        let trust = match self.own.as_ref() == Some(&signer.fingerprint()) {
            true => Some(Trust { principal: "this machine".into(), hooks: false }),
            false => self.store.check(signer, Namespace::Bundle, self.prune.now).ok(),
        };
        let Some(trust) = trust else { return Ok(None) };
        match sealed.trust(trust).open(self.prune.identities) {
            Ok(opened) => Ok(Some(opened.manifest().clone())),
            // It is for others, or what opens it is not at hand.
            Err(error) if matches!(error.fault(), Fault::CannotDecrypt | Fault::NotReady) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
