//! What a command can fail with. Exit codes and the last resort of hints stand in `cli/error.rs`.

use crate::base::interrupt::Interrupted;
use crate::base::name::ComponentName;
use crate::base::path::ShownPath;
use crate::component;
use crate::crypto::error::CryptoError;
use crate::crypto::trust::TrustError;
use crate::engine::checks::CheckError;
use crate::engine::completeness::Incomplete;
use crate::engine::diff::DiffError;
use crate::engine::hooks::HookError;
use crate::engine::journal::JournalError;
use crate::engine::profile::ProfileError;
use crate::engine::receipt::ReceiptError;
use crate::engine::sealed::SealedError;
use crate::engine::state::StateError;
use crate::engine::ticket::TicketError;
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
    /// This machine's own bundle, and it does not trust itself.
    #[error("{place}: it is signed by this machine's own key, which is not among the trusted signers")]
    OwnSigner {
        /// The bundle's path, or `-`.
        place: String,
        /// The public key.
        key: PathBuf,
    },
    /// A backup that another machine made for itself.
    #[error("{place}: it is a backup that another machine made for itself, signed by {signer}")]
    ForeignBackup {
        /// The backup's path, or `-`.
        place: String,
        /// Who made the seal.
        signer: String,
    },
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
    /// The checks of a profile or a bundle.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A hook.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A document with a signature behind it: a ticket or a receipt.
    #[error("{place}: {error}")]
    Sealed {
        /// Its path, or `standard input`.
        place: String,
        /// What is wrong with it.
        error: SealedError,
    },
    /// A ticket: its file, or the bundle that answers it.
    #[error("{place}: {error}")]
    Ticket {
        /// Its path, or `standard input`.
        place: String,
        /// Why it does not count.
        error: TicketError,
    },
    /// A receipt.
    #[error("{place}: {error}")]
    Receipt {
        /// Its path, or `standard input`.
        place: String,
        /// What is wrong with it.
        error: ReceiptError,
    },
    /// What is remembered of an import or export that is over cannot be read.
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
    /// The backup cannot be encrypted or signed.
    #[error("a backup of what is replaced is made first, and this machine has no key for it: {0}")]
    NoBackupKey(CryptoError),
    /// The backup cannot be made.
    #[error("the backup of what would be replaced cannot be made: {error}")]
    Backup {
        /// Where it should have been.
        path: PathBuf,
        /// Why not.
        error: Box<EngineError>,
    },
    /// What stands where a backup should is another bundle.
    #[error("{}: it is not the backup that was made", .0.display())]
    OtherBackup(PathBuf),
    /// No import can be taken back.
    #[error("there is no import to take back")]
    NothingToRollBack,
    /// No import has that name.
    #[error("there is no import '{0}'")]
    NoSuchImport(String),
    /// Several imports have names that begin so.
    #[error("several imports have names that begin with '{0}'")]
    AmbiguousImport(String),
    /// It has no backup, or has none any more.
    #[error("the import {run} cannot be taken back: {why}")]
    CannotRollBack {
        /// Which.
        run: String,
        /// Why not.
        why: String,
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
    /// `prune` could not remove all that it should.
    #[error("{0} of the bundles that should go could not be removed")]
    NotRemoved(usize),
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
    /// A path of a profile that is none.
    #[error("'{0}' is not a path")]
    BadPlace(String),
    /// A `--map` that moves nothing: what it was meant for would go elsewhere.
    #[error("--map {}=...: nothing that is imported belongs there", .0.display())]
    IdleMap(PathBuf),
    /// An export that does not hold what it should.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// A comparison that could not be made, or that found what it was to find out.
    #[error(transparent)]
    Diff(#[from] DiffError),
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
        Some(path) if error.kind() == io::ErrorKind::AlreadyExists => match path.is_dir() {
            true => EngineError::Io { path: path.to_owned(), error: io::ErrorKind::IsADirectory.into() },
            false => EngineError::OutputExists(path.to_owned()),
        },
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
