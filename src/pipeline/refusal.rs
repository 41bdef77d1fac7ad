//! Why a bundle is refused by whom reads it.

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::crypto::error::CryptoError;
use crate::crypto::sign::SealError;
use crate::format::{BundleId, FormatError};
use std::io;

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The container, the sums or the manifest.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The signature.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keys.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Reading the file.
    #[error("cannot read the bundle: {0}")]
    Io(#[from] io::Error),
    /// S3, B6: a member's bytes are not those that were signed.
    #[error("{0} is damaged: its SHA-256 is not the one in SHA256SUMS (rule S3)")]
    Digest(String),
    /// B3: the key file is another bundle's.
    #[error("the key file belongs to bundle {inner}, not to {outer} (rule B3)")]
    KeyOfAnotherBundle {
        /// In the key file.
        inner: String,
        /// In KBPACK.
        outer: BundleId,
    },
    /// B4: sealed by someone else than the key file says.
    #[error("the bundle was made by {inner} and sealed again by {outer} (rule B4)")]
    ResealedBy {
        /// In the key file.
        inner: String,
        /// Who made the seal.
        outer: String,
    },
    /// B5: the manifest's streams are not the container's.
    #[error("the manifest does not agree with the bundle about stream {0}: {1} (rule B5)")]
    Stream(u32, &'static str),
}

impl Faulty for UnpackError {
    fn fault(&self) -> Fault {
        match self {
            UnpackError::Format(e) => e.fault(),
            UnpackError::Seal(e) => e.fault(),
            UnpackError::Crypto(e) => e.fault(),
            UnpackError::Io(e) => io_fault(e),
            UnpackError::Digest(_) => Fault::Damaged,
            UnpackError::ResealedBy { .. } => Fault::Untrusted,
            UnpackError::KeyOfAnotherBundle { .. } | UnpackError::Stream(..) => Fault::Rule,
        }
    }
    fn remedy(&self) -> Option<String> {
        match self {
            UnpackError::Format(e) => e.remedy(),
            UnpackError::Seal(e) => e.remedy(),
            UnpackError::Crypto(e) => e.remedy(),
            UnpackError::Io(e) => io_remedy(e),
            UnpackError::Digest(_) => Some("copy the bundle again from where it came".into()),
            UnpackError::ResealedBy { .. } => {
                Some("somebody removed the seal and put their own in its place; get the bundle from its maker again".into())
            }
            _ => Some("the bundle was put together from others; get it from its maker again".into()),
        }
    }
}
