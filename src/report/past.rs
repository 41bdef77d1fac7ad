//! What was exported before, and where it was restored, as lines for people. Nothing here prints.

use crate::engine::exports::KnownExport;
use crate::engine::machine::timestamp;
use crate::engine::receipt::Receipt;
use crate::report::text::bytes;

/// An export in `history`, and what its receipts say.
pub fn export_in_history(known: &KnownExport) -> Vec<String> {
    let export = &known.export;
    let size = export.size.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
    let to = export.path.as_deref().unwrap_or("standard output");
    let (when, id) = (timestamp(export.created), &export.id.to_string()[..16]);
    let mut lines = vec![format!("{when}  {id}  {} exported to {to}{size}", export.profile)];
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
