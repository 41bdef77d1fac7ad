//! Why a ticket that is well-formed and by a believed target does not count.

use crate::base::fault::{Fault, Faulty};
use crate::base::name::ComponentName;
use crate::format::{BundleId, FORMAT_VERSION};

/// Why a ticket does not count: on the source, before anything is packed, or on the target, for the bundle that answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Source: its time is over.
    #[error("the ticket expired on {0} (rule N9)")]
    Expired(String),
    /// Source: the target cannot read what this kbpack writes.
    #[error("kbpack {kbpack} on the target reads bundles up to format {reads}, and this one writes format {FORMAT_VERSION}")]
    OldKbpack {
        /// The target's version.
        kbpack: String,
        /// The highest format that it reads.
        reads: u64,
    },
    /// Source: the target does not know a kind.
    #[error("kbpack {kbpack} on the target does not know the kind '{kind}' of component '{component}'")]
    UnknownKind {
        /// The target's version.
        kbpack: String,
        /// The component.
        component: ComponentName,
        /// Its kind.
        kind: String,
    },
    /// Source: what would be packed does not fit there.
    #[error("{mount} on the target has {free} bytes free, and the home's components have about {need}")]
    NoSpace {
        /// The file system.
        mount: String,
        /// Bytes.
        need: u64,
        /// Bytes.
        free: u64,
    },
    /// Target: no such ticket.
    #[error("the bundle answers a ticket that this machine does not remember (rule R3)")]
    NotIssued,
    /// Target: it was not used in time.
    #[error("the bundle answers a ticket of this machine that expired on {0} (rule R3)")]
    Late(String),
    /// Target: another bundle was imported for it.
    #[error("the bundle answers a ticket that is used up: bundle {0} was imported for it (rule R3)")]
    UsedUp(BundleId),
    /// Target: it is not known whether it is used up.
    #[error("what this machine remembers of the bundle's ticket is damaged (rule R3)")]
    Damaged,
}

impl Faulty for TicketError {
    fn fault(&self) -> Fault {
        use TicketError::*;
        match self {
            OldKbpack { .. } | UnknownKind { .. } | NoSpace { .. } => Fault::NotReady,
            Expired(_) | NotIssued | Late(_) | UsedUp(_) | Damaged => Fault::Untrusted,
        }
    }

    fn remedy(&self) -> Option<String> {
        use TicketError::*;
        let text = match self {
            Expired(_) => "make a new one on the target: kbpack ticket -o FILE",
            OldKbpack { .. } | UnknownKind { .. } => {
                "use the same version of kbpack there, and make a new ticket with it; or leave the component out with --skip"
            }
            NoSpace { .. } => {
                "make room there and make a new ticket, or export less with --only; if most of it is there already: --no-space-check"
            }
            NotIssued | Late(_) | UsedUp(_) | Damaged => {
                "make a new ticket here (kbpack ticket -o FILE) and have the source export for it; if there is no source any more, `kbpack extract` gives what is in it"
            }
        };
        Some(text.to_owned())
    }
}
