//! On the source, before the trip: what the target of a ticket would refuse, and what will be different there.

use crate::base::path::text_path;
use crate::component::{Claim, Finding, Host, Severity};
use crate::engine::claims::Named;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::export::{refuse, Surveyed};
use crate::engine::machine;
use crate::engine::sealed::Believed;
use crate::engine::ticket::document::{Space, Ticket};
use crate::engine::ticket::TicketError;
use crate::format::FORMAT_VERSION;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whom to export for, and how closely to look.
#[derive(Default)]
pub struct For {
    /// The tickets, believed.
    pub tickets: Vec<Believed<Ticket>>,
    /// Leave out whether there is room for everything: most of it may be there already.
    pub no_space_check: bool,
    /// Leave out what the targets have already.
    pub incremental: bool,
}

impl For {
    /// What the targets say of `kind`, each.
    pub fn say_of(&self, kind: &str) -> Vec<&Value> {
        self.tickets.iter().map(|ticket| ticket.document.kinds.get(kind).unwrap_or(&Value::Null)).collect()
    }

    /// Refuses a ticket whose time is over at `at` (rule N9).
    pub fn check_expiry(&self, at: u64) -> Result<()> {
        for ticket in &self.tickets {
            let expires = ticket.document.expires;
            if expires <= at {
                return Err(refused(ticket, TicketError::Expired(machine::timestamp(expires))));
            }
        }
        Ok(())
    }

    /// Refuses what would be refused there, and tells `events` what will be different. `surveyed` are those of
    /// `components` that are to be packed.
    pub fn check(
        &self,
        components: &[Named],
        surveyed: &[Surveyed],
        host: &Host,
        events: &dyn Events,
    ) -> Result<()> {
        for ticket in &self.tickets {
            let there = &ticket.document;
            can_read(there, surveyed).map_err(|error| refused(ticket, error))?;
            let target = format!("target {}", there.hostname);
            let (mut need, mut outside) = (0u64, Vec::new());
            for (name, component) in components {
                let Some(of) = surveyed.iter().find(|surveyed| surveyed.name == *name) else { continue };
                let said = there.kinds.get(&of.kind).unwrap_or(&Value::Null);
                let findings = component.suits(said);
                refuse(findings.iter().map(|finding| (name, finding)))?;
                findings.iter().for_each(|finding| events.finding(&target, finding));
                let claims = component.claims().within(name)?;
                let homely =
                    |claim: &Claim| matches!(claim, Claim::Path(path) if path.starts_with(&host.home));
                if claims.iter().any(homely) {
                    need = need.saturating_add(of.survey.bytes);
                }
                outside.extend(claims.into_iter().filter_map(|claim| match claim {
                    Claim::Path(path) if !path.starts_with(&host.home) => Some(path.display().to_string()),
                    _ => None,
                }));
            }
            if !self.no_space_check {
                has_room(there, need).map_err(|error| refused(ticket, error))?;
            }
            for finding in differences(there, host, &outside) {
                events.finding(&target, &finding);
            }
        }
        Ok(())
    }
}

fn refused(ticket: &Believed<Ticket>, error: TicketError) -> EngineError {
    EngineError::Ticket { place: ticket.place.clone(), error }
}

/// Whether the kbpack there reads what this one writes.
fn can_read(there: &Ticket, surveyed: &[Surveyed]) -> std::result::Result<(), TicketError> {
    let kbpack = there.kbpack.clone();
    if there.reads < u64::from(FORMAT_VERSION) {
        return Err(TicketError::OldKbpack { kbpack, reads: there.reads });
    }
    match surveyed.iter().find(|of| !there.kinds.contains_key(&of.kind)) {
        None => Ok(()),
        Some(of) => {
            let (component, kind) = (of.name.clone(), of.kind.clone());
            Err(TicketError::UnknownKind { kbpack, component, kind })
        }
    }
}

/// Whether `need` bytes fit into the home there.
fn has_room(there: &Ticket, need: u64) -> std::result::Result<(), TicketError> {
    let home = text_path(&there.home).unwrap_or_default();
    let home = Path::new(OsStr::from_bytes(&home));
    let holds = |space: &&Space| {
        text_path(&space.mount).is_ok_and(|mount| home.starts_with(OsStr::from_bytes(&mount)))
    };
    // The longest one is the deepest.
    let space = there.space.iter().filter(holds).max_by_key(|space| space.mount.len());
    match space.filter(|space| space.free < need) {
        None => Ok(()),
        Some(Space { mount, free }) => Err(TicketError::NoSpace { mount: mount.clone(), need, free: *free }),
    }
}

/// What a person should know, though it stops nothing.
fn differences(there: &Ticket, host: &Host, outside: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let home = host.home.display();
    if Some(host.home.as_os_str().as_bytes()) != text_path(&there.home).ok().as_deref() {
        let what = format!(
            "the home there is {}, here {home}: `~` moves with it, and absolute paths inside of files do not",
            there.home
        );
        findings.push(Finding::new(Severity::Note, what));
    }
    if there.uid != 0 && host.is_root() {
        let what = format!("there it is {} who imports, not root: owners are not set", there.user);
        findings.push(Finding::new(Severity::Warning, what));
    }
    if !outside.is_empty() {
        let (paths, user) = (outside.join(", "), &there.user);
        let what = format!("outside the home, {user} must be able to write there to: {paths}");
        findings
            .push(Finding::new(Severity::Note, what).todo("or choose other places: import --map FROM=TO"));
    }
    findings
}

#[cfg(test)]
mod tests;
