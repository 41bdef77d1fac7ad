//! Reports as lines for people. Nothing here prints.

use crate::base::name::ComponentName;
use crate::base::path::ShownPath;
use crate::component::{ChangeKind, Listed, NotPacked, Plan, Rewrite, Severity, UndoStrength};
use crate::engine::backup::is_needed;
use crate::engine::export::{ExportPlan, ExportReport};
use crate::engine::history::{KeptBackup, PastImport};
use crate::engine::import::ImportReport;
use crate::engine::journal::End;
use crate::engine::machine::timestamp;
use crate::engine::plan::{count, ImportPlan};
use crate::engine::ticket::Ticket;
use crate::engine::verify::Verified;
use crate::format::Manifest;
use crate::report::{checks, hooks, todos};

/// Bytes as people read them: `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Where a bundle was written to.
pub fn place(path: Option<&ShownPath>) -> String {
    path.map_or_else(|| "the bundle to standard output".to_owned(), ShownPath::to_string)
}

/// What `export` did.
pub fn export(report: &ExportReport) -> Vec<String> {
    let mut lines: Vec<String> = report
        .components
        .iter()
        .map(|c| {
            format!(
                "  {:<20} {:<9} {:>10}  packed to {}",
                c.name.as_str(),
                c.kind,
                bytes(c.size),
                bytes(c.stored_size)
            )
        })
        .collect();
    let size = report.size.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
    lines.push(format!("wrote {}{size}", place(report.path.as_ref())));
    lines.push(format!("signed by {}", report.signer));
    lines.extend(report.recipients.iter().map(|recipient| format!("for {recipient}")));
    lines.extend(report.targets.iter().map(|target| {
        let (host, name, until) = (&target.host, &target.hostname, timestamp(target.expires));
        format!("only {name} ({host}) may import it, before {until}")
    }));
    if report.hooks > 0 {
        let hooks = if report.hooks == 1 { "hook" } else { "hooks" };
        lines.push(format!(
            "with {} {hooks}, for a target that has this signer's commands run: kbpack trust add ... --hooks",
            report.hooks
        ));
    }
    lines.extend(report.path.iter().map(|path| format!("on the target: kbpack import {path}")));
    lines
}

/// What `export --dry-run` would pack.
pub fn export_plan(plan: &ExportPlan) -> Vec<String> {
    let mut lines = vec![format!("profile {}", plan.profile)];
    for c in &plan.components {
        lines.push(format!("{} ({}): items: {}, {}", c.name, c.kind, c.survey.items, bytes(c.survey.bytes)));
        lines.extend(c.survey.origins.iter().map(|origin| format!("  from {origin}")));
        lines.extend(c.left_out.iter().map(|path| format!("  without {path} (another component's)")));
        for finding in &c.survey.findings {
            lines.push(format!("  {}: {}", severity(finding.severity), finding.what));
            lines.extend(finding.remedy.as_ref().map(|remedy| format!("    todo: {remedy}")));
        }
    }
    lines.extend(hooks::surveyed(&plan.hooks));
    lines.extend(todos::inspected(&plan.todos));
    lines
}

/// What `ticket` issued, in `file` or on standard output.
pub fn ticket(ticket: &Ticket, file: Option<&ShownPath>) -> Vec<String> {
    let name = file.map_or_else(|| "TICKET".to_owned(), ShownPath::to_string);
    vec![
        format!("ticket {} of {} ({})", &ticket.nonce.to_string()[..16], ticket.hostname, ticket.host),
        format!("one bundle may be imported for it, before {}", ticket.expires_at),
        format!("on the source: kbpack export --for {name}"),
    ]
}

/// A manifest, for `inspect`, and what is declared and not in the bundle.
pub fn manifest(
    manifest: &Manifest,
    signer: &str,
    not_packed: &[(ComponentName, Vec<NotPacked>)],
) -> Vec<String> {
    let origin = &manifest.origin;
    let mut lines = vec![
        format!("bundle    {}", manifest.id),
        format!("profile   {}, sequence {}", manifest.profile, manifest.sequence),
        format!("created   {}", timestamp(manifest.created)),
        format!(
            "from      {}@{} ({}, {}, kbpack {})",
            origin.user, origin.host, origin.os, origin.arch, origin.kbpack
        ),
        format!("sealed by {signer}"),
    ];
    if origin.signer != signer {
        lines.push(format!("made by   {}", origin.signer));
    }
    if let Some(expires) = manifest.expires {
        lines.push(format!("expires   {}", timestamp(expires)));
    }
    lines.extend(manifest.targets.iter().map(|target| {
        let ticket =
            target.nonce.as_ref().map_or_else(String::new, |nonce| format!(", ticket {}", &nonce[..16]));
        format!("only for  {}{ticket}", target.host)
    }));
    for c in &manifest.components {
        let size: u64 = c.streams.iter().map(|s| s.size).sum();
        let stored: u64 = c.streams.iter().map(|s| s.stored_size).sum();
        lines.push(format!(
            "  {:<20} {:<9} {:>10}, {} in the bundle, {} {}",
            c.name.as_str(),
            c.kind,
            bytes(size),
            bytes(stored),
            c.streams.len(),
            if c.streams.len() == 1 { "stream" } else { "streams" },
        ));
        let missing = not_packed.iter().filter(|(name, _)| *name == c.name).flat_map(|(_, missing)| missing);
        lines.extend(missing.map(|missing| format!("    without {}", outcome(missing))));
    }
    lines.extend(hooks::inspected(&manifest.hooks));
    lines.extend(checks::inspected(&manifest.checks));
    lines.extend(todos::inspected(&manifest.todos));
    lines
}

/// One row of `inspect --files`.
pub fn listed(component: &str, listed: &Listed) -> String {
    let mode = listed.mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:04o}"));
    let size = listed.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    format!("{component}  {:<9} {mode:>5} {size:>12}  {}", listed.what, listed.name)
}

/// What `verify` found.
pub fn verified(verified: &Verified) -> Vec<String> {
    let mut lines = vec![
        format!("bundle    {}", verified.id),
        format!("sealed by {}", verified.signer),
        format!("{} members, {}", verified.members, bytes(verified.size)),
    ];
    lines.extend(verified.checked.iter().map(|what| format!("  ✓ {what}")));
    lines.extend(verified.notes.iter().map(|what| format!("  ✗ an import would refuse it: {what}")));
    lines.extend(verified.not_checked.iter().map(|what| format!("  – not checked: {what}")));
    if verified.not_checked.len() > 1 {
        lines.push("    (with a key, --deep checks what is inside)".to_owned());
    }
    lines
}

/// A plan, before the question. With `each`, every change has its line.
pub fn plan(plan: &ImportPlan, each: bool) -> Vec<String> {
    let mut lines = match &plan.rolls_back {
        Some(run) => vec![format!("takes the import {run} back, by its backup of {}", plan.created)],
        None => vec![
            format!(
                "bundle {} of profile {}, made {} by {}",
                &plan.id.to_string()[..16],
                plan.profile,
                plan.created,
                plan.origin
            ),
            format!("signed by {} ({})", plan.signer, plan.principal),
        ],
    };
    if let Some(path) = &plan.overrides {
        lines.push(format!("with this machine's own settings from {path}"));
    }
    for c in &plan.components {
        lines.push(format!("{} ({})", c.name, c.kind));
        lines.extend(c.plan.destinations.iter().map(|destination| format!("  to {destination}")));
        lines.push(format!("  {}; undo: {}", counts(&c.plan), undo(c.undo)));
        lines.extend(c.left_out.iter().map(|path| format!("  without {path} (another component's)")));
        let shown = if each { usize::MAX } else { 10 };
        lines.extend(
            c.plan
                .changes
                .iter()
                .take(shown)
                .map(|change| format!("    {} {}", sign(change.kind), change.what)),
        );
        if c.plan.changes.len() > shown {
            lines.push(format!("    … and {} more (-v shows all)", c.plan.changes.len() - shown));
        }
        lines.extend(c.plan.rewrites.iter().take(shown).map(rewrite));
        if c.plan.rewrites.len() > shown {
            lines.push(format!(
                "  rewritten for this home: … and {} more (-v shows all)",
                c.plan.rewrites.len() - shown
            ));
        }
        for missing in &c.plan.not_packed {
            lines.push(format!("  not in the bundle: {}", outcome(missing)));
            lines.extend(missing.todo.iter().map(|todo| format!("    todo: {todo}")));
        }
        let executes = &c.plan.executes;
        // A long list hides nothing that is sure to be run.
        let shown = shown.max(executes.len() - c.plan.executables);
        lines.extend(executes.iter().take(shown).map(|what| format!("  will be able to run: {what}")));
        if executes.len() > shown {
            let more = executes.len() - shown;
            lines.push(format!(
                "  will be able to run: … and {more} more, {} in all (-v shows all)",
                executes.len()
            ));
        }
        for finding in &c.plan.findings {
            lines.push(format!("  {}: {}", severity(finding.severity), finding.what));
            lines.extend(finding.remedy.iter().map(|remedy| format!("    todo: {remedy}")));
        }
    }
    lines.extend(hooks::planned(&plan.hooks, is_needed(plan)));
    lines.extend(checks::planned(&plan.checks));
    lines.extend(todos::open(&plan.todos));
    lines
}

/// What `import` did. With `each`, what each check did and saw.
pub fn imported(report: &ImportReport, each: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (c, checks) in report.plan.components.iter().zip(&report.checks) {
        lines.push(format!("  {:<20} {}", c.name.as_str(), counts(&c.plan)));
        lines.extend(
            checks.results.iter().map(|result| format!("    {}", checks::of_component(result, &result.name))),
        );
        for missing in &c.plan.not_packed {
            lines.push(format!("    – {}", outcome(missing)));
            lines.extend(missing.todo.iter().map(|todo| format!("      todo: {todo}")));
        }
    }
    lines.extend(hooks::left_out(&report.plan.hooks));
    lines.extend(checks::outcomes(&report.declared_checks, each).into_iter().map(|line| format!("  {line}")));
    let taken_back = report.plan.rolls_back.as_ref();
    lines.push(match taken_back {
        Some(run) => format!("the import {run} is taken back"),
        None => format!(
            "imported bundle {} (sequence {})",
            &report.plan.id.to_string()[..16],
            report.plan.sequence
        ),
    });
    let backups: Vec<String> = [&report.backup, &report.late_backup]
        .into_iter()
        .flatten()
        .map(|backup| format!("{} ({})", backup.path, bytes(backup.size)))
        .collect();
    if !backups.is_empty() {
        let what = if taken_back.is_some() { "what was there before" } else { "what it replaced" };
        lines.push(format!("{what} is in {}", backups.join(" and ")));
        lines.extend(taken_back.is_none().then(|| "to take it back: kbpack rollback".to_owned()));
    }
    if let Some(receipt) = &report.receipt {
        let path = receipt.copy.as_ref().unwrap_or(&receipt.path);
        lines.push(format!("wrote the receipt {path}; to tell the source, there: kbpack receipt FILE"));
    }
    lines.extend(todos::open(&report.plan.todos));
    lines
}

/// One row of `history`.
pub fn import_in_history(past: &PastImport) -> String {
    let PastImport { started, run, profile, origin, components, .. } = past;
    let what = match &past.rolls_back {
        Some(taken_back) => format!("rollback of {taken_back}"),
        None => format!("{profile} from {origin}"),
    };
    let outcome = match (past.outcome, &past.rolled_back_by, past.backup) {
        (None, ..) => "going on now, or cut off (then run `kbpack recover`)".to_owned(),
        (Some(End::Undone), ..) => "undone".to_owned(),
        (_, Some(by), _) => format!("imported, rolled back by {by}"),
        (.., KeptBackup::Kept) => "imported".to_owned(),
        (.., KeptBackup::Gone) => "imported, its backup is gone".to_owned(),
        (.., KeptBackup::None) => "imported without a backup".to_owned(),
        (.., KeptBackup::Unneeded) => "imported, nothing changed".to_owned(),
    };
    format!("{started}  {run}  {what}: {outcome} ({})", components.join(", "))
}

/// What it is, the word for how it comes to the target, and what becomes of it.
fn outcome(missing: &NotPacked) -> String {
    format!("{} ({}): it {}", missing.name, missing.policy, missing.outcome)
}

fn rewrite(rewrite: &Rewrite) -> String {
    let paths = if rewrite.places == 1 { "path" } else { "paths" };
    let (what, places) = (&rewrite.what, rewrite.places);
    format!(
        "  rewritten for this home: {what} ({places} {paths}, {} -> {})",
        rewrite.from.join(", "),
        rewrite.to
    )
}

fn counts(plan: &Plan) -> String {
    format!(
        "{} added, {} changed, {} removed, {} unchanged",
        count(plan, ChangeKind::Added),
        count(plan, ChangeKind::Changed),
        count(plan, ChangeKind::Removed),
        plan.unchanged
    )
}

fn sign(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Added => '+',
        ChangeKind::Changed => '~',
        ChangeKind::Removed => '-',
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Refusal => "refused",
    }
}

fn undo(strength: UndoStrength) -> &'static str {
    match strength {
        UndoStrength::Exact => "exact",
        UndoStrength::ExactUntilWrittenTo => "exact until written to",
        UndoStrength::BestEffort => "best effort",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(8 << 30), "8.0 GiB");
    }
}
