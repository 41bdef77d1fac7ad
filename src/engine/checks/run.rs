//! Tries the checks: each within its time, again where it may, and never past a signal.

use super::plan::PlannedCheck;
use super::values::Redactor;
use super::{Outcome, Site, Tried, Verdict};
use crate::base::interrupt::{self, Interrupted};
use crate::base::timed::within;
use crate::component::Host;
use crate::engine::events::Events;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before a failed attempt is repeated.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a wait looks for a signal.
const SLICE: Duration = Duration::from_millis(50);
/// What an attempt may take beyond its limit to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `planned` one after the other; with `stop`, none after one that is fatal.
pub fn run(
    planned: &[PlannedCheck],
    host: &Host,
    stop: bool,
    events: &dyn Events,
) -> Result<Vec<Outcome>, Interrupted> {
    let mut outcomes = Vec::new();
    for check in planned {
        events.step(&format!("checking: {}", check.name));
        let outcome = run_one(check, host)?;
        let fatal = outcome.is_fatal();
        outcomes.push(outcome);
        if stop && fatal {
            break;
        }
    }
    Ok(outcomes)
}

fn run_one(planned: &PlannedCheck, host: &Host) -> Result<Outcome, Interrupted> {
    let tried = match &planned.skipped {
        Some(reason) => Tried::skipped(reason.why.clone()).with([reason.remedy.clone()]),
        None => persist(planned, host)?,
    };
    // What a program or a server says may hold a secret, wherever it has it from.
    let redactor = Redactor::new(host);
    let redact = |text: String| redactor.redact(&text);
    let details = std::iter::once(planned.what.clone()).chain(tried.details);
    Ok(Outcome {
        name: planned.name.clone(),
        origin: planned.origin,
        severity: planned.severity,
        verdict: tried.verdict,
        why: tried.why.map(redact),
        details: details.map(redact).collect(),
    })
}

/// Tries until it does not fail, or the time is over.
fn persist(planned: &PlannedCheck, host: &Host) -> Result<Tried, Interrupted> {
    let site = Site {
        host: host.clone(),
        trusted: planned.trusted,
        limit: Duration::from_secs(planned.check.timeout),
    };
    let until = Instant::now() + Duration::from_secs(planned.check.retry_for);
    for attempts in 1u32.. {
        let (trial, at) = (Arc::clone(&planned.trial), site.clone());
        let tried = within(site.limit + GRACE, move || trial.attempt(&at))?;
        let tried = tried
            .unwrap_or_else(|| Tried::failed(format!("it did not end within {} s", planned.check.timeout)));
        if tried.verdict != Verdict::Failed || Instant::now() >= until {
            let times = (attempts > 1).then(|| format!("attempts: {attempts}"));
            return Ok(tried.with(times));
        }
        let pause = Instant::now() + PAUSE;
        while Instant::now() < pause.min(until) {
            interrupt::check()?;
            thread::sleep(SLICE);
        }
    }
    Ok(Tried::failed("it was tried too often"))
}
