//! `verify`: what can be said of a bundle, without a key and, `--deep`, with one.

use crate::component::StreamSource;
use crate::crypto::identity::Identities;
use crate::engine::error::{At, EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::machine;
use crate::format::BundleId;
use crate::pipeline::unpack::Sealed;
use serde::Serialize;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was checked, and what could not be.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The bundle's id.
    pub id: BundleId,
    /// The signer's fingerprint.
    pub signer: String,
    /// Members under the seal.
    pub members: usize,
    /// Their bytes.
    pub size: u64,
    /// What was checked, in words.
    pub checked: Vec<&'static str>,
    /// What was not, in words.
    pub not_checked: Vec<&'static str>,
    /// What an import would refuse it for, in words.
    pub notes: Vec<String>,
}

/// What needs no key.
const OUTER: &[&str] = &[
    "the archive is well-formed",
    "the seal is a valid signature by a trusted signer",
    "every member has the signed digest",
];
/// What needs one.
const INNER: &[&str] = &[
    "the signer inside is the one that made the seal",
    "every stream decrypts and is what the manifest says",
];
/// What only an import can judge.
const NOT_HERE: &str = "it is new enough, and meant for this machine (import does)";

/// Container, seal, signer and every digest. Needs no key.
pub fn outer(gate: &Gate<'_>, incoming: Incoming, events: &dyn Events) -> Result<Verified> {
    events.step("verifying");
    let (place, sealed) = gate.sealed(incoming)?;
    let sealed = gate.trusted(&place, sealed)?.sealed();
    sealed.check_digests(machine::threads(), events).at(&place)?;
    Ok(verified(&sealed, OUTER.to_vec(), [INNER, &[NOT_HERE]].concat(), None))
}

/// The same, and then every stream is read to its end.
pub fn deep(
    gate: &Gate<'_>,
    incoming: Incoming,
    identities: &Identities,
    events: &dyn Events,
) -> Result<Verified> {
    events.step("verifying");
    let bundle = gate.open(incoming, identities, Some(events))?;
    events.step("reading every stream");
    read_all(&bundle, events)?;
    let note = gate.check_expiry(&bundle).err().map(|error| error.to_string());
    Ok(verified(&bundle.opened.sealed(), [OUTER, INNER].concat(), vec![NOT_HERE], note))
}

fn verified(
    sealed: &Sealed,
    checked: Vec<&'static str>,
    not_checked: Vec<&'static str>,
    note: Option<String>,
) -> Verified {
    let (members, size) = sealed.extent();
    let signer = sealed.signer().fingerprint();
    Verified {
        id: sealed.id(),
        signer,
        members,
        size,
        checked,
        not_checked,
        notes: note.into_iter().collect(),
    }
}

fn read_all(bundle: &Bundle, events: &dyn Events) -> Result<()> {
    let components = &bundle.opened.manifest().components;
    events.expect(components.iter().flat_map(|c| &c.streams).map(|s| s.size).sum());
    let sources: Vec<_> = components.iter().map(|c| (&c.name, bundle.opened.streams(c))).collect();
    let all: Vec<_> = sources
        .iter()
        .flat_map(|(name, source)| source.list().iter().map(move |info| (*name, source, info)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut buffer = zeroize::Zeroizing::new(vec![0; 128 * 1024]);
        while let Some((name, source, info)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut reader = source.open(&info.name).within(name)?;
            loop {
                let read = reader.read(&mut buffer);
                match read
                    .map_err(|e| crate::component::Error::io(format_args!("stream '{}'", info.name), e))
                    .within(name)?
                {
                    0 => break,
                    n => events.advance(n as u64),
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..machine::threads()).map(|_| scope.spawn(work)).collect();
        let mut outcome: Result<()> = work();
        for other in others {
            let theirs: std::result::Result<Result<()>, _> = other.join();
            outcome = outcome.and(theirs.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        outcome.map_err(|e: EngineError| e)
    })
}
