//! Tickets: a target's signed request for a bundle, carried to the source (`docs/FORMAT.md`, chapter N, and rule R3).
//!
//! ```text
//! document   what a ticket says, in JSON         error    why one does not count
//! facts      what it says of this machine        book     the tickets that this machine has issued
//! issue      on the target: make one             redeem   on the target: is the bundle for one of ours?
//! fit        on the source: what the target would refuse
//! ```

pub mod book;
pub mod document;
pub mod error;
mod facts;
pub mod fit;
pub mod issue;
pub mod redeem;

pub use document::Ticket;
pub use error::TicketError;

use crate::engine::sealed::Believed;
use crate::format::{BundleId, Target};
use serde::Serialize;

/// 32 random bytes that name one ticket, written as a bundle's id is.
pub type Nonce = BundleId;

/// Whom a bundle is meant for, as the ticket says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeantFor {
    /// The target: the fingerprint of its signing key.
    pub host: String,
    /// Its name. For people.
    pub hostname: String,
    /// The ticket.
    pub nonce: Nonce,
    /// The first import must come before this: Unix time in seconds.
    pub expires: u64,
}

/// The targets of a bundle that answers `tickets`, each ticket once.
pub fn meant_for(tickets: &[Believed<Ticket>]) -> Vec<MeantFor> {
    let mut targets: Vec<MeantFor> = Vec::new();
    for Ticket { host, hostname, nonce, expires, .. } in tickets.iter().map(|ticket| &ticket.document) {
        if targets.iter().all(|known| known.nonce != *nonce) {
            let (host, hostname) = (host.clone(), hostname.clone());
            targets.push(MeantFor { host, hostname, nonce: *nonce, expires: *expires });
        }
    }
    targets
}

impl From<&MeantFor> for Target {
    fn from(of: &MeantFor) -> Target {
        Target { host: of.host.clone(), nonce: Some(of.nonce.to_string()) }
    }
}
