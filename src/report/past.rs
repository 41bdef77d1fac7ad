//! What was exported before, where it was restored, and what of it is kept, as lines for people. Nothing here prints.

use crate::engine::exports::KnownExport;
use crate::engine::machine::timestamp;
use crate::engine::prune::{Found, Pruning, Series};
use crate::engine::receipt::Receipt;
use crate::engine::retention::Reason;
use crate::report::text::bytes;

/// An export in `history`, and what its receipts say.
pub fn export_in_history(known: &KnownExport) -> Vec<String> {
    let export = &known.export;
    let size = export.size.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
    let to = export.path.as_deref().unwrap_or("standard output");
    let (when, id) = (timestamp(export.created), &export.id.to_string()[..16]);
    let mut lines = vec![format!("{when}  {id}  {} exported to {to}{size}", export.profile)];
    lines.extend(export.targets.iter().map(|host| format!("  only for {host}")));
    lines.extend(known.receipts.iter().map(|receipt| format!("  {}", restored(receipt))));
    if known.receipts.is_empty() {
        lines.push("  not known to restore: no receipt came back".to_owned());
    }
    lines
}

/// What a receipt says, in a line.
pub fn restored(receipt: &Receipt) -> String {
    let Receipt { user, hostname, imported, passed, .. } = receipt;
    let checks = if *passed == 1 { "check" } else { "checks" };
    let names: Vec<&str> = receipt.components.iter().map(|component| component.name.as_str()).collect();
    let part = if receipt.whole { String::new() } else { format!("in part ({}) ", names.join(", ")) };
    let count = |n: u64, what| if n == 0 { String::new() } else { format!(", {n} {what}") };
    let others = count(receipt.failed, "failed") + &count(receipt.skipped, "skipped");
    let when = timestamp(*imported);
    format!("restored {part}on {user}@{hostname} at {when}: {passed} {checks} passed{others}")
}

/// What `prune` keeps and removes, series by series.
pub fn pruning(pruning: &Pruning) -> Vec<String> {
    let mut lines = vec![format!("bundles in {}", pruning.directory)];
    let mut last: Option<&Series> = None;
    for found in &pruning.bundles {
        if last.replace(&found.series) != Some(&found.series) {
            let Series { signer, profile } = &found.series;
            lines.push(match profile {
                Some(profile) => format!("profile {profile}, signed by {signer}"),
                None => format!("signed by {signer}, not opened: by the times of the files"),
            });
        }
        lines.push(format!("  {}", pruned(found)));
    }
    lines
}

fn pruned(found: &Found) -> String {
    let what = if found.keep.is_empty() { "remove" } else { "keep" };
    let reasons: Vec<&str> = found.keep.iter().map(|reason| reason_words(*reason)).collect();
    let why = if reasons.is_empty() { String::new() } else { format!("  ({})", reasons.join(", ")) };
    format!("{what:<6}  {}  {:>10}  {}{why}", timestamp(found.time), bytes(found.size), found.file)
}

fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Newest => "newest",
        Reason::Last => "last",
        Reason::Daily => "daily",
        Reason::Weekly => "weekly",
        Reason::Monthly => "monthly",
        Reason::Within => "within",
        Reason::Needed => "an unfinished import needs it",
        Reason::Shrunk => "holds less than the one before, and is the newest",
    }
}
