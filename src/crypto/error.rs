//! What can go wrong with keys and envelopes. No text of age's, and never a secret, is in here.

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::base::limits::{MAX_AGE_HEADER, MAX_AGE_STANZAS, MAX_KEY_FILES, SCRYPT_MAX_LOG_N};
use crate::crypto::passphrase::{PassphraseError, FD_VARIABLE};
use std::io;
use std::path::{Path, PathBuf};

/// An error of keys, recipients, identities or the envelope.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A key is there already, and keys are never overwritten.
    #[error("{}: there is a key already, and keys are never overwritten", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A key of this machine's own has not been made yet.
    #[error("{}: this machine has no such key yet", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The signing key that others trust is gone; only its public half is left.
    #[error("{}: its private half, signing_key, is missing", path.display())]
    OnlyPublic {
        /// The public half.
        path: PathBuf,
    },
    /// The file or directory belongs to another user.
    #[error("{}: it belongs to another user", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// Others have permissions on it that they must not have.
    #[error("{}: its mode {mode:03o} lets others in", path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The bits it may keep.
        tight: u32,
    },
    /// The file is larger than anything of its kind.
    #[error("{}: it is larger than {max} bytes", path.display())]
    FileTooBig {
        /// Which.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A line of a file breaks the file's rules. The line itself is not repeated: it may be a secret.
    #[error("{}, line {line}: {why}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The rule.
        why: String,
    },
    /// A key file of the user's is of no use.
    #[error("{}: {why}", path.display())]
    UnusableKey {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A key that is to be trusted was revoked here.
    #[error("{}: it lists this key as revoked", path.display())]
    Revoked {
        /// The list.
        path: PathBuf,
    },
    /// A recipient given on the command line or in a profile is none. Repeated only if it is public.
    #[error("{what}: {why}")]
    Recipient {
        /// The recipient, or `a recipient` if it may be a secret.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// Nobody could open what would be made.
    #[error("there is no recipient: nobody could open it")]
    NoRecipients,
    /// The recipients need more key files than a bundle may have.
    #[error("the recipients need {files} key files, more than {MAX_KEY_FILES}")]
    TooManyRecipients {
        /// How many they need.
        files: usize,
    },
    /// No passphrase could be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase of a key file is wrong, or the file is damaged.
    #[error("{}: the passphrase does not open it", path.display())]
    WrongKeyPassphrase {
        /// Which.
        path: PathBuf,
    },
    /// None of our identities opens it.
    #[error("no key opens it: it is encrypted to {wanted}; tried {tried}")]
    NoMatch {
        /// The kinds of recipients in the headers.
        wanted: String,
        /// The kinds of identities that were tried.
        tried: String,
    },
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
    /// It asks for more work to test a passphrase than we do.
    #[error("it asks for 2^{log_n} rounds of work for a passphrase, more than 2^{SCRYPT_MAX_LOG_N}")]
    ExcessiveWork {
        /// log2 of the scrypt work factor asked for.
        log_n: u64,
    },
    /// The age header is larger than a reader takes.
    #[error(
        "the age header is larger than {MAX_AGE_HEADER} bytes or has more than {MAX_AGE_STANZAS} stanzas"
    )]
    HeaderTooBig,
    /// It is not an age file, or not a whole and unchanged one.
    #[error("the age file is damaged: {0}")]
    Damaged(&'static str),
    /// The medium that the age file is read from gave an error.
    #[error("reading the age file failed: {0}")]
    Read(io::Error),
    /// There is more in it than may be.
    #[error("the age file holds more than {max} bytes")]
    ContentTooBig {
        /// The limit.
        max: usize,
    },
    /// What is inside a key file is not what it must be.
    #[error(
        "the content of the key file is not `# kbpack 1 id=... signer=...` and one age identity (rule K4)"
    )]
    KeyFile,
    /// The plugin's program is not installed.
    #[error("age-plugin-{name}: the program was not found")]
    PluginMissing {
        /// The plugin.
        name: String,
    },
    /// The plugin said no, or broke off. Its words are escaped.
    #[error("age-plugin-{name}: {message}")]
    PluginFailed {
        /// The plugin.
        name: String,
        /// Its words, or ours if it had none.
        message: String,
    },
    /// The plugin did not come to an end.
    #[error("age-plugin-{name} did not finish within {seconds} s and was stopped")]
    PluginTimedOut {
        /// The plugin.
        name: String,
        /// The limit.
        seconds: u64,
    },
    /// The operating system gave no random bytes, or a key could not be encoded.
    #[error("making a key failed: {0}")]
    Making(&'static str),
}

impl CryptoError {
    /// A file that the user named is not there.
    pub(super) fn missing(path: &Path) -> Self {
        CryptoError::file(path, rustix::io::Errno::NOENT.into())
    }

    pub(super) fn file(path: &Path, error: io::Error) -> Self {
        CryptoError::File { path: path.to_owned(), error }
    }
}

impl Faulty for CryptoError {
    fn fault(&self) -> Fault {
        match self {
            CryptoError::File { error, .. }
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) =>
            {
                Fault::Usage
            }
            CryptoError::File { error, .. } | CryptoError::Read(error) => io_fault(error),
            CryptoError::Exists { .. }
            | CryptoError::NoKey { .. }
            | CryptoError::OnlyPublic { .. }
            | CryptoError::NotOurs { .. }
            | CryptoError::TooOpen { .. } => Fault::NotReady,
            CryptoError::FileTooBig { .. }
            | CryptoError::Line { .. }
            | CryptoError::UnusableKey { .. }
            | CryptoError::Revoked { .. }
            | CryptoError::Recipient { .. }
            | CryptoError::NoRecipients => Fault::Usage,
            CryptoError::TooManyRecipients { .. }
            | CryptoError::HeaderTooBig
            | CryptoError::ExcessiveWork { .. } => Fault::Limit,
            CryptoError::Passphrase(error) => error.fault(),
            CryptoError::WrongKeyPassphrase { .. }
            | CryptoError::NoMatch { .. }
            | CryptoError::WrongPassphrase
            | CryptoError::PluginTimedOut { .. }
            | CryptoError::PluginFailed { .. } => Fault::CannotDecrypt,
            CryptoError::Damaged(_) => Fault::Damaged,
            CryptoError::KeyFile | CryptoError::ContentTooBig { .. } => Fault::Rule,
            CryptoError::PluginMissing { .. } => Fault::NotReady,
            CryptoError::Making(_) => Fault::Unexpected,
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            CryptoError::File { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "check the name".into()
            }
            CryptoError::File { error, .. } if error.kind() == io::ErrorKind::IsADirectory => {
                "name a file, not a folder".into()
            }
            CryptoError::File { error, .. } | CryptoError::Read(error) => return io_remedy(error),
            CryptoError::Line { .. } => "correct that line, or take it out".into(),
            CryptoError::FileTooBig { .. } | CryptoError::UnusableKey { .. } => {
                "use an age identity or an OpenSSH ed25519 key".into()
            }
            CryptoError::Revoked { .. } => "if it is to be trusted again, take its line out of there".into(),
            CryptoError::Recipient { .. } => {
                "give a recipient that begins with age1, or an ssh-ed25519 public key".into()
            }
            CryptoError::HeaderTooBig | CryptoError::ExcessiveWork { .. } => {
                "kbpack does not write such files; ask its maker for a new export".into()
            }
            CryptoError::PluginFailed { .. } => {
                "see whether its device and PIN are the right ones, and try again".into()
            }
            CryptoError::Exists { .. } => "`kbpack keygen --show` prints what others need of the keys that are there".into(),
            CryptoError::NoKey { .. } => "run `kbpack keygen`".into(),
            CryptoError::OnlyPublic { path } => format!(
                "bring signing_key back from a backup; to give it up for good, move {} away and run `kbpack keygen`",
                path.display()
            ),
            CryptoError::NotOurs { path } => {
                let ours = rustix::process::geteuid().as_raw();
                format!("if you know how it came there: chown {ours} {}", path.display())
            }
            CryptoError::TooOpen { path, tight, .. } => format!("chmod {tight:03o} {}", path.display()),
            CryptoError::NoRecipients => {
                "give recipients with -r, -R or --for, a passphrase with -p, or list them in the profile"
                    .into()
            }
            CryptoError::TooManyRecipients { .. } => "encrypt to fewer recipients".into(),
            CryptoError::Passphrase(error) => return error.remedy(),
            CryptoError::WrongPassphrase => {
                "try again with the passphrase that was given when the bundle was made".into()
            }
            CryptoError::WrongKeyPassphrase { .. } => "try again with that file's own passphrase".into(),
            CryptoError::NoMatch { wanted, .. } if wanted.contains("a passphrase") => format!(
                "give its passphrase, at a terminal or with {FD_VARIABLE}=N, or the key it was made for with -i"
            ),
            CryptoError::NoMatch { .. } => {
                "give the key it was made for with -i, such as a copy of identity.txt of the machine it is for, or export it again for this machine's recipient".into()
            }
            CryptoError::PluginMissing { name } => {
                format!("install age-plugin-{name} where PATH finds it")
            }
            CryptoError::PluginTimedOut { .. } => {
                "see whether the device is plugged in and waits for a touch or a PIN".into()
            }
            _ => return None,
        };
        Some(remedy)
    }
}
