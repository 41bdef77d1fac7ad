//! What differs, and what changed since, as lines for people. Nothing here prints.

use crate::component::ChangeKind;
use crate::engine::diff::{ComponentDiff, Counts, DiffReport, Difference, Side, State, Told};
use crate::engine::status::{Drift, ExportStatus, ImportStatus, Since, StatusReport};
use crate::report::past::restored;
use crate::report::text::bytes;

/// Differences of a component that are shown, unless all are asked for.
const SHOWN: usize = 20;

/// What `diff` found; with `each`, every difference.
pub fn report(report: &DiffReport, each: bool) -> Vec<String> {
    let mut lines = vec![format!("- {}", side(&report.left)), format!("+ {}", side(&report.right))];
    let missing = Missing::between(&report.left.place, &report.right);
    for one in &report.components {
        lines.extend(component(one, &missing, each));
    }
    lines
}

fn side(side: &Side) -> String {
    match (&side.profile, &side.created, &side.origin) {
        (Some(profile), Some(created), Some(origin)) => {
            format!("{} ({profile}, exported {created} by {origin})", side.place)
        }
        _ => side.place.clone(),
    }
}

/// What is said of a component of which nothing is on the right, and of one of which nothing is on the left.
struct Missing {
    right: String,
    left: String,
}

impl Missing {
    fn between(left: &str, right: &Side) -> Self {
        let on = if right.id.is_some() { "in" } else { "on" };
        Missing { right: format!("not {on} {}", right.place), left: format!("not in {left}") }
    }
}

/// A component: how it stands, and below that what differs.
fn component(one: &ComponentDiff, missing: &Missing, each: bool) -> Vec<String> {
    let head = format!("{} ({})", one.name, one.kind);
    let stands = match one.state {
        State::Same => format!("the same{}", same(one.counts)),
        State::Different => counts(one.counts),
        State::OnlyLeft => missing.right.clone(),
        State::OnlyRight => missing.left.clone(),
        State::Unknown => "could not be compared".to_owned(),
    };
    let mut lines = vec![format!("{head}: {stands}")];
    lines.extend(one.error.iter().map(|error| format!("  {error}")));
    lines.extend(one.todo.iter().map(|todo| format!("  todo: {todo}")));
    let shown = if each { one.differences.len() } else { SHOWN };
    lines.extend(one.differences.iter().take(shown).map(difference));
    if one.differences.len() > shown {
        lines.push(format!("  and {} more: -v lists all", one.differences.len() - shown));
    }
    lines
}

fn same(counts: Counts) -> String {
    match (counts.same, counts.values_not_compared) {
        (0, _) => String::new(),
        (same, 0) => format!(" ({same})"),
        (same, open) if same == open => format!(" ({same} are there; values are not compared)"),
        (same, open) => format!(" ({same}; of {open} of them values are not compared)"),
    }
}

fn counts(counts: Counts) -> String {
    let Counts { added, removed, changed, same, values_not_compared } = counts;
    let all = [(added, "added"), (removed, "removed"), (changed, "changed"), (same, "the same")];
    let some: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let open = match values_not_compared {
        0 => String::new(),
        open => format!("; values of {open} are not compared"),
    };
    format!("{}{open}", some.join(", "))
}

fn difference(one: &Difference) -> String {
    let mark = match one.change {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    };
    let said = match (&one.left, &one.right) {
        (Some(left), Some(right)) => changed(one, left, right),
        (Some(told), None) | (None, Some(told)) => alone(told),
        (None, None) => String::new(),
    };
    format!("  {mark} {:<40}  {said}", one.name)
}

/// What there is on one side alone.
fn alone(told: &Told) -> String {
    let mut parts = vec![told.what.clone()];
    parts.extend(told.size.map(bytes));
    parts.extend(told.rows.map(rows));
    parts.extend(told.value.as_deref().map(value));
    parts.extend(told.mode.as_ref().map(|mode| format!("mode {mode}")));
    parts.join(", ")
}

fn changed(one: &Difference, left: &Told, right: &Told) -> String {
    let mut parts = Vec::new();
    for aspect in &one.aspects {
        parts.push(match *aspect {
            "kind" => format!("{} -> {}", left.what, right.what),
            "size" => turned("", left.size.map(bytes), right.size.map(bytes)),
            "rows" => turned("", left.rows.map(rows), right.rows.map(rows)),
            "mode" => turned("mode ", left.mode.clone(), right.mode.clone()),
            "owner" => turned("owner ", left.owner.clone(), right.owner.clone()),
            "value" => match (&left.value, &right.value) {
                (Some(from), Some(to)) => format!("{} -> {}", value(from), value(to)),
                _ => "another value".to_owned(),
            },
            // A size or a number of rows that differs says enough.
            "content" if one.aspects.iter().any(|other| matches!(*other, "size" | "rows")) => continue,
            "content" if left.rows.is_some() => "other rows or columns".to_owned(),
            "time" if one.aspects.contains(&"size") || one.aspects.contains(&"content") => continue,
            other => other.to_owned(),
        });
    }
    if let Some((ahead, behind)) = one.ahead.zip(one.behind) {
        parts.extend((ahead > 0).then(|| format!("{ahead} ahead")));
        parts.extend((behind > 0).then(|| format!("{behind} behind")));
    }
    parts.join(", ")
}

fn turned(what: &str, from: Option<String>, to: Option<String>) -> String {
    format!("{what}{} -> {}", from.unwrap_or_default(), to.unwrap_or_default())
}

fn rows(n: u64) -> String {
    format!("{n} {}", if n == 1 { "row" } else { "rows" })
}

/// A commit by its first digits; all else as it is.
fn value(text: &str) -> String {
    let is_commit = text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit());
    text[..if is_commit { 12 } else { text.len() }].to_owned()
}

/// What `status` found; with `each`, every difference.
pub fn status(report: &StatusReport, each: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for run in &report.unfinished {
        lines.push(format!("an import runs, or was cut off: {run}"));
        lines.push("  todo: if none runs: kbpack recover".to_owned());
    }
    for export in &report.exports {
        lines.extend(exported(export, each));
    }
    for import in &report.imports {
        lines.extend(imported(import, each));
    }
    if report.exports.is_empty() && report.imports.is_empty() {
        lines.push("nothing was exported here yet, and nothing was imported that still holds".to_owned());
        lines.push("  todo: kbpack init, then kbpack export; or kbpack import BUNDLE".to_owned());
    }
    lines
}

fn exported(export: &ExportStatus, each: bool) -> Vec<String> {
    let Since { profile, at, .. } = &export.since;
    let size = export.size.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
    let to = export.path.as_deref().unwrap_or("standard output");
    let gone = if export.there == Some(false) { ", which is not there any more" } else { "" };
    let mut lines = vec![format!("{profile}: exported {at}, {} to {to}{size}{gone}", age(&export.since))];
    match export.receipts.last() {
        Some(receipt) => lines.push(format!("  {}", restored(receipt))),
        None => lines.push("  not known to restore: no receipt came back".to_owned()),
    }
    if let Some(too_many @ 1..) = export.too_many {
        lines.push(format!("  [retention] would remove {too_many} of its bundles"));
        lines.push("    todo: kbpack prune --retention".to_owned());
    }
    lines.extend(since(&export.since, each));
    lines
}

fn imported(import: &ImportStatus, each: bool) -> Vec<String> {
    let Since { profile, at, .. } = &import.since;
    let mut lines = vec![format!(
        "{profile}: imported {at}, {} from {} (run {})",
        age(&import.since),
        import.origin,
        import.run
    )];
    lines.extend(since(&import.since, each));
    lines
}

fn since(since: &Since, each: bool) -> Vec<String> {
    let mut lines = vec![match (since.state, &since.why) {
        (Drift::Same, _) => "  nothing changed since".to_owned(),
        (Drift::Different | Drift::Unknown, _) => "  changed since:".to_owned(),
        (Drift::NotCompared, why) => format!("  not compared: {}", why.as_deref().unwrap_or_default()),
    }];
    let missing = Missing { right: "not there any more".to_owned(), left: String::new() };
    for one in &since.components {
        lines.extend(component(one, &missing, each).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// How long ago it was, and whether that is too long.
fn age(since: &Since) -> String {
    let ago = match since.age {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    };
    if since.stale {
        format!("{ago} (too old),")
    } else {
        format!("{ago},")
    }
}
