//! What a command can fail with. Exit codes and the last resort of hints stand in `cli/error.rs`.

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::base::interrupt::Interrupted;
use crate::base::name::ComponentName;
use crate::base::path::ShownPath;
use crate::component;
use crate::crypto::error::CryptoError;
use crate::crypto::trust::TrustError;
use crate::engine::journal::JournalError;
use crate::engine::profile::ProfileError;
use crate::engine::state::StateError;
use crate::pipeline::pack::PackError;
use crate::pipeline::scan::TooManySecrets;
use crate::pipeline::unpack::UnpackError;
use std::io;
use std::path::{Path, PathBuf};

/// What the engine returns.
pub type Result<T> = std::result::Result<T, EngineError>;

/// What a command can fail with.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Reading a bundle.
    #[error("{place}: {error}")]
    Unpack {
        /// The bundle's path, or `-`.
        place: String,
        /// What is wrong with it.
        error: UnpackError,
    },
    /// Writing a bundle.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Keys, recipients, identities.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The signer is not to be trusted.
    #[error("{place}: {error}")]
    Trust {
        /// The bundle's path, or `-`.
        place: String,
        /// Why not.
        error: TrustError,
    },
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// kbpack's own state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A component, by name.
    #[error("component '{name}': {error}")]
    Component {
        /// Which one.
        name: ComponentName,
        /// What went wrong in it.
        error: component::Error,
    },
    /// A file, at the edges of the engine.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The home directory.
    #[error("the home directory {}: {error}", path.display())]
    Home {
        /// What `HOME` says.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The search for misplaced secrets cannot be made.
    #[error(transparent)]
    Scan(#[from] TooManySecrets),
    /// `--trust` names another signer than the bundle's.
    #[error("{place}: signed by {signer}, not by {pin} that --trust names")]
    OtherSigner {
        /// The bundle's path, or `-`.
        place: String,
        /// Who made the seal.
        signer: String,
        /// Whom the command line names.
        pin: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is remembered of an import that is over cannot be read.
    #[error("{}: damaged", .0.display())]
    DamagedHistory(PathBuf),
    /// An import that was cut off cannot be ended.
    #[error("the import {run} was cut off, and undoing it failed: {failures}")]
    CannotRecover {
        /// Its run.
        run: String,
        /// Its journal.
        journal: ShownPath,
        /// What the components said.
        failures: String,
    },
    /// Staging would fill the file system.
    #[error("{} has {free} bytes free, and the import needs up to {need} there", folder.display())]
    NoSpace {
        /// A folder on it.
        folder: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// A component panicked.
    #[error("a defect in kbpack: {0}")]
    Panicked(String),
    /// A signal.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The output is there already.
    #[error("{}: a file of this name exists already", .0.display())]
    OutputExists(PathBuf),
    /// An extracted file is there already.
    #[error("{}: a file of this name exists already", .0.display())]
    ExtractedExists(PathBuf),
    /// Nobody could open what would be written.
    #[error("there is no recipient")]
    NoRecipient,
    /// A name on the command line that no component has.
    #[error("there is no component '{name}'{of}")]
    NoSuchComponent {
        /// The name.
        name: String,
        /// Which ones there are.
        of: String,
    },
    /// `--only` and `--skip` leave nothing.
    #[error("--only and --skip together leave no component")]
    NothingSelected,
    /// Two components claim the same thing.
    #[error("the components '{first}' and '{second}' both claim {what}")]
    SameClaim {
        /// One.
        first: ComponentName,
        /// The other.
        second: ComponentName,
        /// What both claim.
        what: String,
    },
    /// A component claims kbpack's own directories.
    #[error("component '{name}' claims {}, which is kbpack's own", what.display())]
    OwnDirectory {
        /// Which one.
        name: ComponentName,
        /// The path.
        what: PathBuf,
    },
    /// The bundle's components claim what they may not: each other's, or kbpack's own.
    #[error(transparent)]
    BadClaims(Box<EngineError>),
    /// Components that come after each other in a circle.
    #[error("the components {0} come after each other in a circle")]
    Circle(String),
    /// `--strict-secrets`, and there were some.
    #[error("copies of secrets stand outside the secrets components: {0}")]
    MisplacedSecrets(usize),
    /// The bundle's time is over.
    #[error("{place}: the bundle expired on {expired}")]
    Expired {
        /// The bundle's path, or `-`.
        place: String,
        /// When.
        expired: String,
    },
    /// The bundle is for somebody else.
    #[error("{place}: the bundle is meant for another machine ({targets})")]
    OtherTarget {
        /// The bundle's path, or `-`.
        place: String,
        /// For whom.
        targets: String,
    },
    /// An older bundle than the last one applied.
    #[error("{place}: the bundle has sequence {sequence}; {applied} of profile '{profile}' by this signer was applied already")]
    Older {
        /// The bundle's path, or `-`.
        place: String,
        /// The bundle's.
        sequence: u64,
        /// The highest applied.
        applied: u64,
        /// The profile's name.
        profile: String,
    },
    /// A kind in a profile that there is none of.
    #[error("component '{name}': there is no kind '{kind}'")]
    NoSuchKind {
        /// The component.
        name: ComponentName,
        /// What the profile says.
        kind: String,
    },
    /// A bundle of an unknown kind.
    #[error("component '{name}' is of kind '{kind}', which this kbpack does not know")]
    UnknownKind {
        /// The component.
        name: ComponentName,
        /// Its kind.
        kind: String,
    },
    /// The target's own profile gives a component another kind than the bundle does.
    #[error("component '{name}' is of kind '{bundle}' in the bundle and of kind '{profile}' in {}", path.display())]
    OtherKind {
        /// The component.
        name: ComponentName,
        /// In the bundle.
        bundle: String,
        /// In the profile.
        profile: String,
        /// The profile.
        path: PathBuf,
    },
    /// The plan has refusals.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>, Vec<String>),
    /// A check failed before anything was changed.
    #[error("component '{name}': what was staged is not what the bundle says: {failures}")]
    StagedDiffers {
        /// Which one.
        name: ComponentName,
        /// The failed checks.
        failures: String,
    },
    /// Somebody said no.
    #[error("not confirmed; nothing was changed")]
    Declined,
    /// Nobody can say yes.
    #[error("nobody can be asked whether to go on: there is no terminal")]
    NobodyToAsk,
    /// New destinations, and `--yes` without `--accept-new`.
    #[error("the bundle writes where no earlier one of this signer did: {0}")]
    NewDestinations(String),
    /// It failed after the first change, and everything was put back.
    #[error("{0}; everything was put back as it was")]
    RolledBack(Box<EngineError>),
    /// It failed, and putting it back failed too.
    #[error("{cause}; putting things back failed too: {undo}")]
    HalfDone {
        /// Why it failed.
        cause: Box<EngineError>,
        /// What the undo said.
        undo: String,
    },
    /// A check after the commit failed.
    #[error("the check '{name}' failed: {failure}")]
    CheckFailed {
        /// Which.
        name: String,
        /// Why.
        failure: String,
    },
}

/// What writing the bundle to `path` (`None` is standard output) failed with.
pub fn output_error(path: Option<&Path>, error: io::Error) -> EngineError {
    match path {
        Some(path) if error.kind() == io::ErrorKind::AlreadyExists => {
            EngineError::OutputExists(path.to_owned())
        }
        Some(path) => EngineError::Io { path: path.to_owned(), error },
        None => PackError::Io(error).into(),
    }
}

/// Names the bundle in the errors of reading it.
pub trait At<T> {
    /// Says where it happened.
    fn at(self, place: &str) -> Result<T>;
}

impl<T> At<T> for std::result::Result<T, UnpackError> {
    fn at(self, place: &str) -> Result<T> {
        self.map_err(|error| EngineError::Unpack { place: place.to_owned(), error })
    }
}

impl<T> At<T> for std::result::Result<T, TrustError> {
    fn at(self, place: &str) -> Result<T> {
        self.map_err(|error| EngineError::Trust { place: place.to_owned(), error })
    }
}

/// Names the component in its errors.
pub trait In<T> {
    /// Says in which component it happened.
    fn within(self, name: &ComponentName) -> Result<T>;
}

impl<T> In<T> for component::Result<T> {
    fn within(self, name: &ComponentName) -> Result<T> {
        self.map_err(|error| EngineError::Component { name: name.clone(), error })
    }
}

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
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Fault::Usage,
                _ => io_fault(error),
            },
            NothingSelected
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
            Panicked(_) | DamagedHistory(_) => Fault::Unexpected,
            Journal(e) => e.fault(),
            CannotRecover { .. } => Fault::RecoveryNeeded,
            OtherSigner { .. } | Expired { .. } | OtherTarget { .. } | Older { .. } | NewDestinations(_) => {
                Fault::Untrusted
            }
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
            Component { error, .. } => return error.remedy(),
            RolledBack(cause) => match **cause {
                Interrupted(_) => "run it again when you are ready",
                _ => return cause.remedy(),
            },
            Scan(e) => return e.remedy(),
            Interrupted(e) => return e.remedy(),
            NoSpace { .. } => "make room there, or import less of it with --only",
            Panicked(_) => "nothing was left changed; please report it, with the command that you ran",
            Home { .. } => "set HOME to the user's home directory",
            OtherSigner { .. } => "if you trust that signer, name its fingerprint with --trust, or use `kbpack trust add`",
            Journal(e) => return e.remedy(),
            DamagedHistory(_) => "all others are shown; it tells of an import that is over: nothing needs it, and it can be removed",
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
            NothingSelected => "take one of them away",
            SameClaim { .. } => "take it out of one of the two in the profile",
            BadClaims(_) => "if it is not your own --map or profile that does it, ask the bundle's maker",
            OwnDirectory { .. } => "leave it out; keys are made on each machine by `kbpack keygen`",
            Circle(_) => "take one of the `after` out of the profile",
            MisplacedSecrets(_) => "move them out of those files, or exclude the files, or export without --strict-secrets",
            Expired { .. } => "ask for a new export",
            OtherTarget { .. } => "import it on the machine it was made for, or export again for this one",
            Older { .. } => "if going back is what you want, add --allow-older",
            NoSuchKind { .. } => "the kinds are files and secrets",
            UnknownKind { .. } => "use a newer kbpack",
            OtherKind { .. } => "rename the component in that profile, or give it the bundle's kind",
            StagedDiffers { .. } => "nothing was changed; check the destination's file system, and try again",
            Declined => "run it again when you are ready; --dry-run shows the plan only",
            NobodyToAsk => "look at the plan with --dry-run, then add --yes",
            NewDestinations(_) => "look at the plan with --dry-run, then add --accept-new",
            Refused(_, remedies) => return (!remedies.is_empty()).then(|| remedies.join("; ")),
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
        _ => return None,
    };
    Some(text.to_owned())
}
