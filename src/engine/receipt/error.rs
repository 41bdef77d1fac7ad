//! Why a receipt is refused that says nothing wrong by itself.

use crate::base::fault::{Fault, Faulty};
use crate::format::BundleId;

/// Why a receipt that is well-formed and by a believed target is not taken (rule A9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The bundle is none of ours.
    #[error("nothing is known here of an export of bundle {0} (rule A9)")]
    UnknownExport(BundleId),
    /// It says of the bundle what is not so.
    #[error("its {0} is not that of the bundle that was exported here (rule A9)")]
    OtherExport(&'static str),
}

impl Faulty for ReceiptError {
    fn fault(&self) -> Fault {
        match self {
            ReceiptError::OtherExport(_) => Fault::Untrusted,
            ReceiptError::UnknownExport(_) => Fault::NotReady,
        }
    }

    fn remedy(&self) -> Option<String> {
        let text = match self {
            ReceiptError::UnknownExport(_) => {
                "run it on the machine, and as the user, that exported the bundle"
            }
            ReceiptError::OtherExport(_) => {
                "do not believe it: its signer speaks of a bundle that was not made like that here"
            }
        };
        Some(text.to_owned())
    }
}
