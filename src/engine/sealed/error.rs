//! Why a sealed document is refused, with the rule that it breaks.

use crate::base::fault::{Fault, Faulty};
use crate::crypto::sign::SealError;
use crate::engine::sealed::Form;

/// A rule that a sealed document breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{broken} (rule {}{rule})", form.chapter)]
pub struct SealedError {
    /// The kind of document.
    pub form: &'static Form,
    /// The rule's number in its chapter.
    pub rule: u8,
    /// What is wrong.
    pub broken: Broken,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is larger than any document.
    #[error("it has more than 1 MiB")]
    TooLarge,
    /// It is not a document and a signature.
    #[error("this is not a kbpack {what}: {why}")]
    Shape {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        why: &'static str,
    },
    /// Its signature does not hold.
    #[error("{0}")]
    Seal(SealError),
    /// The document is not JSON as it must be.
    #[error("its document is not as it must be: {0}")]
    Json(String),
    /// A field holds what it may not.
    #[error("its {field} {what}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It speaks for another host than the one that signed it.
    #[error("it is signed by {signer} and speaks for {host}")]
    OtherHost {
        /// Who signed it.
        signer: String,
        /// Whom it speaks for.
        host: String,
    },
}

impl Faulty for SealedError {
    fn fault(&self) -> Fault {
        match &self.broken {
            Broken::TooLarge => Fault::Limit,
            Broken::Shape { .. } => Fault::Damaged,
            Broken::Seal(error) => error.fault(),
            Broken::Json(_) | Broken::Field { .. } => Fault::Rule,
            Broken::OtherHost { .. } => Fault::Untrusted,
        }
    }

    fn remedy(&self) -> Option<String> {
        let what = self.form.what;
        Some(match &self.broken {
            Broken::TooLarge | Broken::Shape { .. } => self.form.name_it.to_owned(),
            Broken::Seal(_) => format!("fetch the {what} from the target again"),
            Broken::Json(_) | Broken::Field { .. } => {
                "it was not written by this version of kbpack; use the same version here and on the target"
                    .into()
            }
            Broken::OtherHost { .. } => {
                format!("each target signs its own {what}s; ask for that machine's")
            }
        })
    }
}
