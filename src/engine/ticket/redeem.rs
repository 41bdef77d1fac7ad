//! On the target: whether a bundle is meant for this machine, and for a ticket of its own that is still good (rule R3).

use crate::crypto::keygen::made;
use crate::engine::error::{EngineError, Result};
use crate::engine::gate::{Bundle, Gate};
use crate::engine::machine;
use crate::engine::ticket::book::{find, use_up, Issued};
use crate::engine::ticket::{Nonce, TicketError};
use crate::format::BundleId;
use std::path::PathBuf;

/// The ticket that a bundle answers, to be used up when the bundle is in place.
pub struct Redeemed {
    path: PathBuf,
    issued: Issued,
}

impl Redeemed {
    /// Writes down that `bundle` has used the ticket: no other may.
    pub fn use_up(&self, bundle: BundleId) -> Result<()> {
        use_up(&self.path, &self.issued, bundle)
    }
}

/// Refuses a bundle that is for other machines, or for a ticket of ours that counts no more. `None`: it answers no ticket.
pub fn redeem(gate: &Gate<'_>, bundle: &Bundle) -> Result<Option<Redeemed>> {
    let manifest = bundle.opened.manifest();
    if manifest.targets.is_empty() {
        return Ok(None);
    }
    // A host is known by its signing key.
    let own = made(gate.paths).ok().map(|made| made.fingerprint);
    let mut refused = None;
    for target in manifest.targets.iter().filter(|target| Some(&target.host) == own.as_ref()) {
        let Some(nonce) = &target.nonce else { return Ok(None) };
        match ticket(gate, nonce, manifest.id)? {
            Ok(redeemed) => return Ok(Some(redeemed)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let place = bundle.place.clone();
    Err(match refused {
        Some(error) => EngineError::Ticket { place, error },
        None => {
            let hosts: Vec<&str> = manifest.targets.iter().map(|target| target.host.as_str()).collect();
            EngineError::OtherTarget { place, targets: hosts.join(", ") }
        }
    })
}

/// Whether `bundle` may be imported for the ticket with this nonce.
fn ticket(
    gate: &Gate<'_>,
    nonce: &str,
    bundle: BundleId,
) -> Result<std::result::Result<Redeemed, TicketError>> {
    let Some(nonce) = Nonce::parse(nonce) else { return Ok(Err(TicketError::NotIssued)) };
    let found = match find(gate.state, &nonce) {
        Err(EngineError::DamagedHistory(_)) => return Ok(Err(TicketError::Damaged)),
        found => found?,
    };
    Ok(match found {
        None => Err(TicketError::NotIssued),
        Some((path, issued)) => judge(&issued, bundle, gate.at).map(|()| Redeemed { path, issued }),
    })
}

/// The bundle that used a ticket may come again, at any time; another must be the first, and in time.
fn judge(issued: &Issued, bundle: BundleId, at: u64) -> std::result::Result<(), TicketError> {
    match issued.used {
        Some(used) if used == bundle => Ok(()),
        Some(used) => Err(TicketError::UsedUp(used)),
        None if issued.expires <= at => Err(TicketError::Late(machine::timestamp(issued.expires))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_for_one_bundle() {
        let (ours, other) = (BundleId([1; 32]), BundleId([2; 32]));
        let fresh = Issued { nonce: BundleId([3; 32]), issued: 100, expires: 200, used: None };
        let used = Issued { used: Some(ours), ..fresh.clone() };
        assert_eq!(judge(&fresh, ours, 199), Ok(()));
        assert!(matches!(judge(&fresh, ours, 200), Err(TicketError::Late(_))));
        assert_eq!(judge(&used, ours, 199), Ok(()));
        assert_eq!(judge(&used, ours, 201), Ok(()));
        assert_eq!(judge(&used, other, 199), Err(TicketError::UsedUp(ours)));
    }
}
