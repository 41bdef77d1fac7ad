//! On the target: a ticket is made, remembered, and then given out.

use crate::base::path::path_text;
use crate::component::Host;
use crate::components::KINDS;
use crate::crypto::keygen::Made;
use crate::crypto::sign::SigningKey;
use crate::engine::error::Result;
use crate::engine::machine;
use crate::engine::sealed::{file::seal, text};
use crate::engine::state::State;
use crate::engine::ticket::book::{forget, remember, Issued};
use crate::engine::ticket::document::{Ticket, FORM};
use crate::engine::ticket::{facts, Nonce};
use crate::format::{FORMAT_VERSION, MAX_TIME};
use crate::pipeline::pack::PackError;
use std::os::unix::ffi::OsStrExt;

/// How a ticket is made.
pub struct Issue<'a> {
    /// This machine.
    pub host: &'a Host,
    /// What this machine remembers.
    pub state: &'a State,
    /// The public halves of its keys.
    pub made: &'a Made,
    /// Who signs: the key that is the host's id.
    pub signer: &'a SigningKey,
    /// Seconds from now until the ticket is good for nothing.
    pub expires_in: u64,
}

impl Issue<'_> {
    /// Makes a ticket and gives its file's bytes to `give`. If that fails, there is no ticket.
    pub fn run(&self, give: impl FnOnce(&[u8]) -> Result<()>) -> Result<Ticket> {
        let _lock = self.state.lock()?;
        let ticket = self.ticket(Nonce::random().map_err(PackError::from)?)?;
        let bytes = seal(&ticket, self.signer)?;
        // Remembered before it can be seen: a bundle for it may come back at any time.
        let Ticket { nonce, issued, expires, .. } = ticket;
        let remembered = remember(self.state, &Issued { nonce, issued, expires, used: None })?;
        give(&bytes).inspect_err(|_| forget(&remembered))?;
        Ok(ticket)
    }

    fn ticket(&self, nonce: Nonce) -> Result<Ticket> {
        let host = self.signer.public().fingerprint();
        let here = machine::origin(host.clone());
        let issued = machine::now();
        let expires = issued.saturating_add(self.expires_in).min(MAX_TIME);
        Ok(Ticket {
            format: FORM.format.to_owned(),
            kbpack: here.kbpack,
            reads: u64::from(FORMAT_VERSION),
            nonce,
            issued,
            issued_at: machine::timestamp(issued),
            expires,
            expires_at: machine::timestamp(expires),
            host,
            hostname: text(&here.host),
            user: text(&here.user),
            uid: u64::from(self.host.uid),
            home: path_text(self.host.home.as_os_str().as_bytes()),
            os: text(&here.os),
            arch: text(&here.arch),
            recipient: self.made.recipient.clone(),
            tools: facts::tools(),
            space: facts::space([self.host.home.as_path(), self.state.ensure_dir()?]),
            kinds: facts::offers(KINDS, self.host, &self.state.destinations()),
        })
    }
}
