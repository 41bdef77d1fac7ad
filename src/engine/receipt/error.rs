//! Why a receipt is refused, each with the rule that it breaks.

use crate::base::fault::{Fault, Faulty};
use crate::crypto::sign::SealError;
use crate::format::BundleId;

/// A rule of chapter A that a receipt breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is larger than any receipt.
    #[error("it has more than 1 MiB (rule A1)")]
    TooLarge,
    /// It is not a document and a signature.
    #[error("this is not a kbpack receipt: {0} (rule A2)")]
    Form(&'static str),
    /// Its signature does not hold.
    #[error("{0} (rule A3)")]
    Seal(SealError),
    /// The document is not JSON as it must be.
    #[error("its document breaks rule A5: {0}")]
    Json(String),
    /// A field holds what it may not.
    #[error("its {field} {what} (rule {rule})")]
    Field {
        /// The rule.
        rule: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It speaks for another machine than the one that signed it.
    #[error("it is signed by {signer} and speaks of an import on {host} (rule A7)")]
    OtherHost {
        /// Who signed it.
        signer: String,
        /// Whom it speaks of.
        host: String,
    },
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
            ReceiptError::TooLarge => Fault::Limit,
            ReceiptError::Form(_) => Fault::Damaged,
            ReceiptError::Seal(error) => error.fault(),
            ReceiptError::Json(_) | ReceiptError::Field { .. } => Fault::Rule,
            ReceiptError::OtherHost { .. } | ReceiptError::OtherExport(_) => Fault::Untrusted,
            ReceiptError::UnknownExport(_) => Fault::NotReady,
        }
    }

    fn remedy(&self) -> Option<String> {
        let text = match self {
            ReceiptError::TooLarge | ReceiptError::Form(_) => {
                "name the file that the import on the target wrote (NAME.receipt)"
            }
            ReceiptError::Seal(_) => "fetch the receipt from the target again",
            ReceiptError::Json(_) | ReceiptError::Field { .. } => {
                "it was not written by this version of kbpack; use the same version here and on the target"
            }
            ReceiptError::OtherHost { .. } => "each target signs its own receipts; ask for that machine's",
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
