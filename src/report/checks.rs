//! Checks as lines for people: as they are planned, and how they went.

use crate::component::CheckResult;
use crate::engine::check::CheckReport;
use crate::engine::checks::plan::PlannedCheck;
use crate::engine::checks::{describe, Origin, Outcome, Verdict};
use crate::format::{Check, CheckSeverity};

/// The checks of a bundle, for `inspect`.
pub fn inspected(checks: &[Check]) -> Vec<String> {
    checks
        .iter()
        .map(|check| format!("  check '{}'{} {}", check.name, warns(check.severity), describe(check)))
        .collect()
}

/// The checks of a plan: what will be run on this machine, and what will not.
pub fn planned(checks: &[PlannedCheck]) -> Vec<String> {
    let mut lines = Vec::new();
    for check in checks {
        let whose = match check.origin {
            Origin::Bundle => "of the bundle",
            Origin::Profile => "of this machine's profile",
        };
        lines.push(format!("check '{}' {whose}{} {}", check.name, warns(check.severity), check.what));
        if let Some(reason) = &check.skipped {
            lines.push(format!("  warning: it will be skipped: {}", reason.why));
            lines.push(format!("    todo: {}", reason.remedy));
        }
    }
    lines
}

fn warns(severity: CheckSeverity) -> &'static str {
    match severity {
        CheckSeverity::Error => ":",
        CheckSeverity::Warn => " (only warns):",
    }
}

/// One line a check; with `each`, what it did and saw below it.
pub fn outcomes(outcomes: &[Outcome], each: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for outcome in outcomes {
        lines.push(row(
            mark(outcome),
            &outcome.name,
            outcome.verdict == Verdict::Skipped,
            outcome.why.as_deref(),
        ));
        // Why it was skipped comes with what to do.
        if each {
            lines.extend(outcome.details.iter().map(|detail| format!("    {detail}")));
        }
    }
    lines
}

fn mark(outcome: &Outcome) -> char {
    match (outcome.verdict, outcome.severity) {
        (Verdict::Passed, _) => '✓',
        (Verdict::Skipped, _) => '-',
        (Verdict::Failed, CheckSeverity::Error) => '✗',
        (Verdict::Failed, CheckSeverity::Warn) => '!',
    }
}

fn row(mark: char, name: &str, skipped: bool, why: Option<&str>) -> String {
    let skipped = if skipped { "skipped: " } else { "" };
    match why {
        None => format!("{mark} {name}"),
        Some(why) => format!("{mark} {name:<32}  {skipped}{why}"),
    }
}

/// A check of a component.
pub fn of_component(result: &CheckResult, name: &str) -> String {
    match (&result.failure, &result.skipped) {
        (Some(why), _) => row('✗', name, false, Some(why)),
        (None, Some(why)) => row('!', name, true, Some(why)),
        (None, None) => row('✓', name, false, None),
    }
}

/// What `check` found: the table.
pub fn report(report: &CheckReport, each: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for component in &report.components {
        for result in &component.results {
            let name = format!("{}: {}", component.name, result.name);
            lines.push(of_component(result, &name));
        }
    }
    lines.extend(outcomes(&report.declared_checks, each));
    if let Some(imported) = &report.imported {
        lines.push(format!("  (the checks of {}, imported {imported})", report.profile));
        lines.push("  (what is in place is compared with a bundle: kbpack check BUNDLE)".to_owned());
    }
    lines
}
