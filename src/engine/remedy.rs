//! For each way in which a command can fail: which kind of failure it is, and what to do.

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::base::interrupt;
use crate::component::OPTIONS_TODO;
use crate::engine::error::EngineError;
use std::io;

impl Faulty for EngineError {
    fn fault(&self) -> Fault {
        use EngineError::*;
        match self {
            Unpack { error, .. } => error.fault(),
            Pack(e) => e.fault(),
            Crypto(e) => e.fault(),
            Trust { error, .. } => error.fault(),
            Profile(e) => e.fault(),
            State(e) => e.fault(),
            Component { error, .. } => error.fault(),
            Io { error, .. } => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
                    Fault::Usage
                }
                _ => io_fault(error),
            },
            NothingSelected
            | BadPlace(_)
            | IdleMap(_)
            | OutputExists(_)
            | ExtractedExists(_)
            | NoRecipient
            | NoSuchComponent { .. }
            | SameClaim { .. }
            | OwnDirectory { .. } => Fault::Usage,
            NoSuchKind { .. } | Home { .. } | Circle(_) | OtherKind { .. } | NobodyToAsk | Declined => {
                Fault::Usage
            }
            BadClaims(_) | MisplacedSecrets(_) | UnknownKind { .. } | StagedDiffers { .. } => Fault::Rule,
            Scan(e) => e.fault(),
            Interrupted(e) => e.fault(),
            NoSpace { .. } => Fault::Limit,
            NoBackupKey(_) | NothingToRollBack | CannotRollBack { .. } => Fault::NotReady,
            Backup { error, .. } => error.fault(),
            OtherBackup(_) => Fault::Damaged,
            NoSuchImport(_) | AmbiguousImport(_) => Fault::Usage,
            Panicked(_) | DamagedHistory(_) | NotRemoved(_) => Fault::Unexpected,
            Check(e) => e.fault(),
            Incomplete(e) => e.fault(),
            Diff(e) => e.fault(),
            Hook(e) => e.fault(),
            Journal(e) => e.fault(),
            Sealed { error, .. } => error.fault(),
            Ticket { error, .. } => error.fault(),
            Receipt { error, .. } => error.fault(),
            CannotRecover { .. } => Fault::RecoveryNeeded,
            OwnSigner { .. }
            | ForeignBackup { .. }
            | OtherSigner { .. }
            | Expired { .. }
            | OtherTarget { .. }
            | Older { .. }
            | NewDestinations(_) => Fault::Untrusted,
            Refused(..) | CheckFailed { .. } => Fault::NotReady,
            RolledBack(_) => Fault::RolledBack,
            HalfDone { .. } => Fault::RecoveryNeeded,
        }
    }

    fn remedy(&self) -> Option<String> {
        use EngineError::*;
        let text = match self {
            Unpack { error, .. } => return error.remedy(),
            Pack(e) => return e.remedy(),
            Crypto(e) => return e.remedy(),
            Trust { error, .. } => return error.remedy(),
            Profile(e) => return e.remedy(),
            State(e) => return e.remedy(),
            Component { error, .. } => {
                let is_option = || error.fault() == Fault::Usage;
                return error.remedy().or_else(|| is_option().then(|| OPTIONS_TODO.to_owned()));
            }
            RolledBack(cause) => match **cause {
                Interrupted(_) => "run it again when you are ready",
                // Late, when all else was done.
                Backup { ref error, .. } if error.fault() != Fault::Limit => {
                    let todo = error.remedy().unwrap_or_default();
                    return Some(format!("{todo}; or go without a backup: --no-backup"));
                }
                Backup { .. } => {
                    "make room in the state directory, name another with --state-dir, or go without a backup: --no-backup"
                }
                _ => return cause.remedy(),
            },
            Scan(e) => return e.remedy(),
            Interrupted(e) => return e.remedy(),
            NoBackupKey(_) => "make one with `kbpack keygen`, or go without a backup: --no-backup",
            Backup { .. } if interrupt::check().is_err() => "nothing was changed; run it again",
            Backup { .. } => {
                "nothing was changed; make room in the state directory, name another with --state-dir, or go without a backup: --no-backup"
            }
            OtherBackup(_) => "find the right file, and put it there under that name",
            NothingToRollBack => "`kbpack history` shows what was imported on this machine",
            NoSuchImport(_) | AmbiguousImport(_) => "`kbpack history` shows their names",
            CannotRollBack { .. } => "name another one (`kbpack history` shows them), or import an older bundle with --allow-older",
            NoSpace { .. } => "make room there, or import less of it with --only",
            Panicked(_) => "nothing was left changed; please report it, with the command that you ran",
            Home { .. } => "set HOME to the user's home directory",
            OwnSigner { key, .. } => {
                return Some(format!("to read or restore your own bundles here: kbpack trust add me {}", key.display()))
            }
            ForeignBackup { signer, .. } => {
                return Some(format!("if you know that machine, read it with --trust {signer} and an identity that opens it (-i)"))
            }
            OtherSigner { .. } => "if you trust that signer, name its fingerprint with --trust, or use `kbpack trust add`",
            Check(e) => return e.remedy(),
            Incomplete(e) => return e.remedy(),
            Diff(e) => return e.remedy(),
            Hook(e) => return e.remedy(),
            Journal(e) => return e.remedy(),
            Sealed { error, .. } => return error.remedy(),
            Ticket { error, .. } => return error.remedy(),
            Receipt { error, .. } => return error.remedy(),
            NotRemoved(_) => "the warnings say why; put that right, and run it again",
            DamagedHistory(_) => {
                "all others are whole; it tells of what is over, and can be removed: without it, that cannot be taken back"
            }
            CannotRecover { run, journal, .. } => {
                return Some(format!(
                    "put that right and run `kbpack recover` again; what was replaced stands in folders named .kbpack-stage-{run}, the acts in {journal}: if it is lost, move that file away, and import anew"
                ))
            }
            Io { error, .. } => return io_remedy(error).or_else(|| io_hint(error)),
            OutputExists(_) => "choose another name with -o, or remove the file first",
            ExtractedExists(_) => "choose another folder with -C, or remove the file first",
            NoRecipient => "name one with -r age1... (the target prints it with `kbpack keygen`), or use a passphrase with -p",
            NoSuchComponent { .. } => "the names are those in the profile, or that `kbpack inspect` shows",
            BadPlace(_) => "write an absolute path or one that begins with ~/, without '.' and '..'",
            IdleMap(_) => "FROM is where it would go without --map, or a folder above that: `kbpack import --dry-run` shows it; ~ is this machine's home",
            NothingSelected => "take one of them away",
            SameClaim { .. } => "take it out of one of the two in the profile",
            BadClaims(_) => "if it is not your own --map or profile that does it, ask the bundle's maker",
            OwnDirectory { .. } => "leave it out; keys are made on each machine by `kbpack keygen`",
            Circle(_) => "take one of the `after` out of the profile",
            MisplacedSecrets(_) => "move them out of those files, or exclude the files, or export without --strict-secrets",
            Expired { .. } => "ask for a new export, or judge it as of an earlier day with --verify-time",
            OtherTarget { .. } => {
                "import it on the machine it was made for, or export again for this one; if neither is left, `kbpack extract` gives what is in it"
            }
            Older { .. } => "if going back is what you want, add --allow-older",
            NoSuchKind { .. } => {
                let kinds: Vec<&str> = crate::components::KINDS.iter().map(|kind| kind.name()).collect();
                return Some(format!("the kinds are {}", kinds.join(", ")));
            }
            UnknownKind { .. } => "use a newer kbpack",
            OtherKind { .. } => "rename the component in that profile, or give it the bundle's kind",
            StagedDiffers { .. } => "nothing was changed; check the destination's file system, and try again",
            Declined => "run it again when you are ready; --dry-run shows the plan only",
            NobodyToAsk => "look at the plan with --dry-run, then add --yes",
            NewDestinations(_) => "look at the plan with --dry-run, then add --accept-new",
            Refused(_, remedies) => {
                let mut seen = std::collections::BTreeSet::new();
                let each: Vec<&str> =
                    remedies.iter().map(String::as_str).filter(|todo| seen.insert(*todo)).collect();
                return (!each.is_empty()).then(|| each.join("; "));
            }
            CheckFailed { .. } => return None,
            HalfDone { .. } => "put that right, then run `kbpack recover`",
        };
        Some(text.to_owned())
    }
}

fn io_hint(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "check the name",
        io::ErrorKind::PermissionDenied => "check the permissions, or run it as the user who owns the file",
        io::ErrorKind::StorageFull => "make room on that file system",
        io::ErrorKind::IsADirectory => "name a file, not a folder",
        io::ErrorKind::NotADirectory => "name a folder, not a file",
        _ => return None,
    };
    Some(text.to_owned())
}
