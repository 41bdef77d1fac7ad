//! `rekey`: the same streams for other recipients. Rewrites `keys/` and the seal, nothing else.

use crate::base::path::ShownPath;
use crate::crypto::envelope;
use crate::crypto::recipient::Recipients;
use crate::crypto::sign::{Namespace, SigningKey};
use crate::engine::error::{output_error, At, EngineError, Result};
use crate::engine::events::Events;
use crate::engine::gate::Bundle;
use crate::format::{BundleId, ContainerWriter, MemberName};
use crate::pipeline::output::Output;
use crate::pipeline::pack::PackError;
use serde::Serialize;
use std::path::Path;

/// What was written.
#[derive(Debug, Serialize)]
pub struct Rekeyed {
    /// The bundle's id, which stays.
    pub id: BundleId,
    /// The new file.
    /// `None` is standard output.
    pub path: Option<ShownPath>,
    /// Who sealed it before.
    pub former_signer: String,
    /// Who seals it now.
    pub signer: String,
}

/// Writes `bundle` to `path` (`None` is standard output) for `recipients`, sealed by `signer`.
pub fn rekey(
    bundle: &Bundle,
    recipients: &Recipients,
    signer: &SigningKey,
    path: Option<&Path>,
    events: &dyn Events,
) -> Result<Rekeyed> {
    if recipients.is_empty() {
        return Err(EngineError::NoRecipient);
    }
    events.step("writing for the new recipients");
    let opened = &bundle.opened;
    let id = opened.manifest().id;
    let fingerprint = signer.public().fingerprint();
    let key_file = opened.key().key_file(&id.to_string(), &fingerprint);
    let output = Output::open(path).map_err(|error| output_error(path, error))?;
    let mut container = ContainerWriter::new(output, id).map_err(PackError::from)?;
    for (n, envelope) in envelope::seal(recipients, &key_file)?.iter().enumerate() {
        container.add(&MemberName::Key(n as u32), envelope).map_err(PackError::from)?;
    }
    let sealed = opened.sealed();
    events.expect(sealed.extent().1);
    for part in sealed.parts() {
        let (member, content) = part.at(&bundle.place)?;
        container.add(&member.name, &content).map_err(PackError::from)?;
        events.advance(content.len() as u64);
    }
    let output = container.finish(|sums| signer.sign(Namespace::Bundle, sums).map_err(PackError::from))?;
    output.finish().map_err(|error| output_error(path, error))?;
    Ok(Rekeyed {
        id,
        path: path.map(ShownPath::from),
        former_signer: opened.signer().fingerprint(),
        signer: fingerprint,
    })
}
