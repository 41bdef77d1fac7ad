//! On the target: the receipt of an import that is kept. Whatever goes wrong here, the import holds.
//!
//! An import that `recover` had to finish has none: what its checks said ended with the process that made them.

use crate::base::fault::Faulty;
use crate::base::fsx;
use crate::base::path::ShownPath;
use crate::component::{CheckResult, Finding, Severity};
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::Prompt;
use crate::crypto::sign::SigningKey;
use crate::engine::apply::{Applied, Checked};
use crate::engine::checks::Verdict;
use crate::engine::error::{output_error, EngineError, Result};
use crate::engine::events::Events;
use crate::engine::gate::Bundle;
use crate::engine::import::{ComponentChecks, Import};
use crate::engine::machine;
use crate::engine::plan::ImportPlan;
use crate::engine::receipt::document::{Check, Outcome, Receipt, Restored, FORM, MAX_LISTED};
use crate::engine::sealed::file::seal;
use crate::engine::sealed::text;
use crate::pipeline::output::Output;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// How a receipt is to be made.
pub struct Wanted<'a> {
    /// Asked if the signing key has a passphrase.
    pub prompt: &'a dyn Prompt,
    /// `--receipt FILE`: where a copy goes, never over a file that is there.
    pub copy: Option<&'a Path>,
}

/// A receipt that was written.
#[derive(Debug, Serialize)]
pub struct Made {
    /// Where it stands in the state directory.
    pub path: ShownPath,
    /// Where the copy that was asked for stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<ShownPath>,
}

/// Writes the receipt of the import of `bundle`, done as `plan` says. `signer` is
/// this machine's key, if it is loaded already.
/// `None`, and a finding that says why, if there is none.
pub(in crate::engine) fn make(
    import: &Import<'_>,
    signer: Option<&SigningKey>,
    bundle: &Bundle,
    plan: &ImportPlan,
    applied: &Applied,
    events: &dyn Events,
) -> Option<Made> {
    let none = |error: &dyn Faulty| {
        let finding = Finding::new(
            Severity::Warning,
            format_args!("the import holds, but there is no receipt: {error}"),
        );
        events.finding("receipt", &Finding { remedy: error.remedy(), ..finding });
    };
    let loaded = match signer {
        Some(_) => None,
        None => match SigningKey::load(&import.gate.paths.signing_key(), import.receipt.prompt) {
            Ok(key) => Some(key),
            Err(CryptoError::NoKey { .. }) => {
                let what = "there is no receipt of this import: this machine has no key to sign it with";
                let todo = "`kbpack keygen` makes one, for the next import";
                events.finding("receipt", &Finding::new(Severity::Note, what).todo(todo));
                return None;
            }
            Err(error) => {
                none(&error);
                return None;
            }
        },
    };
    let key = signer.or(loaded.as_ref())?;
    let receipt = describe(import, bundle, plan, applied, key);
    let written = seal(&receipt, key).and_then(|bytes| Ok((keep(import, &receipt, &bytes)?, bytes)));
    let (path, bytes) = written.map_err(|error| none(&error)).ok()?;
    let copied = import.receipt.copy.map(|path| copy(path, &bytes));
    let copy = copied.and_then(|copied| copied.map_err(|error| none(&error)).ok());
    Some(Made { path, copy })
}

/// Writes it into the state directory. One of an earlier import of the same bundle is replaced.
fn keep(import: &Import<'_>, receipt: &Receipt, bytes: &[u8]) -> Result<ShownPath> {
    let name = format!("{}.receipt", &receipt.bundle.to_string()[..16]);
    let path = import.state.ensure_receipts()?.join(name);
    match fsx::write_atomic(&path, 0o600, bytes) {
        Ok(()) => Ok(ShownPath(path)),
        Err(error) => Err(EngineError::Io { path, error }),
    }
}

fn copy(path: &Path, bytes: &[u8]) -> Result<ShownPath> {
    let written = Output::file(path).and_then(|mut output| {
        output.write_all(bytes)?;
        output.finish()
    });
    written.map_err(|error| output_error(Some(path), error)).map(|()| path.into())
}

fn describe(
    import: &Import<'_>,
    bundle: &Bundle,
    plan: &ImportPlan,
    Applied { checked: Checked { components: checks, declared }, leftovers, .. }: &Applied,
    key: &SigningKey,
) -> Receipt {
    let host = key.public().fingerprint();
    let here = machine::origin(host.clone());
    let imported = machine::now();
    let selection = import.selection;
    let taken = |name| selection.takes(name) && selection.paths_in(name).is_empty();
    let passed = |results: &[CheckResult]| results.iter().filter(|r| r.passed()).count() as u64;
    let restored = |of: &ComponentChecks| Restored {
        name: of.name.clone(),
        kind: plan.components.iter().find(|c| c.name == of.name).map_or_else(String::new, |c| c.kind.clone()),
        passed: passed(&of.results),
    };
    let listed = |of: &ComponentChecks| -> Vec<Check> {
        let check = |result: &CheckResult| Check {
            component: Some(of.name.clone()),
            name: text(&result.name),
            outcome: Outcome::Passed,
        };
        // Those that were skipped are only counted (rule A8).
        of.results.iter().filter(|result| result.passed()).map(check).collect()
    };
    // Those that a person wrote, first: the list has an end.
    let written = declared.iter().map(|outcome| Check {
        component: None,
        name: text(&outcome.name),
        outcome: match outcome.verdict {
            Verdict::Passed => Outcome::Passed,
            Verdict::Failed => Outcome::Failed,
            Verdict::Skipped => Outcome::Skipped,
        },
    });
    let went = |verdict| declared.iter().filter(|outcome| outcome.verdict == verdict).count() as u64;
    let results = || checks.iter().flat_map(|of| &of.results);
    let skipped = results().filter(|result| result.skipped.is_some()).count() as u64;
    let warned = plan.components.iter().flat_map(|c| &c.plan.findings);
    let warned = warned.filter(|finding| finding.severity == Severity::Warning).count();
    Receipt {
        format: FORM.format.to_owned(),
        kbpack: here.kbpack,
        bundle: plan.id,
        profile: plan.profile.clone(),
        sequence: plan.sequence,
        signer: plan.signer.clone(),
        host,
        hostname: text(&here.host),
        user: text(&here.user),
        imported,
        imported_at: machine::timestamp(imported),
        whole: bundle.opened.manifest().components.iter().all(|c| taken(&c.name)),
        components: checks.iter().map(restored).collect(),
        passed: checks.iter().map(|of| passed(&of.results)).sum::<u64>() + went(Verdict::Passed),
        failed: went(Verdict::Failed),
        skipped: skipped + went(Verdict::Skipped),
        checks: written.chain(checks.iter().flat_map(listed)).take(MAX_LISTED).collect(),
        warnings: (warned + leftovers.len()) as u64,
    }
}
