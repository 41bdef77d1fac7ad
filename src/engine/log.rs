//! The log of a run: `logs/<run>.log` in the state directory, for whoever asks later what happened.
//!
//! A [`Log`] stands between the engine and the caller's [`Events`]: what is told to it goes to both. A line is a time (RFC
//! 3339, UTC), the seconds since the run began, and what: `step`, `act`, `said` (by a hook), a finding, `took`; the first lines say what the run
//! is about, the last one what became of it. No secret is in it, for none is in what is told.
//!
//! A log is written in pieces, and is no promise: one that cannot be written is a warning, and never fails an import.

use crate::base::escape::escape;
use crate::component::{Finding, Progress, Severity};
use crate::engine::error::EngineError;
use crate::engine::events::Events;
use crate::engine::journal::Begin;
use crate::engine::machine;
use crate::engine::state::State;
use std::fmt::{Display, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::take;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How many logs are kept, the newest.
const KEPT: usize = 100;
/// Bytes that wait before they are written.
const PIECE: usize = 64 * 1024;

/// Events that are also written down.
pub struct Log<'e> {
    to: &'e dyn Events,
    started: Instant,
    started_ms: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Where it is written, as soon as the run has a name.
    file: Option<(PathBuf, File)>,
    /// Writing failed: the rest is only passed on.
    given_up: bool,
    waiting: String,
    step: Option<(String, Instant)>,
    took: Vec<(String, Duration)>,
}

impl<'e> Log<'e> {
    /// A log that passes everything on to `to`. Nothing is written before [`begin`](Self::begin).
    pub fn new(to: &'e dyn Events) -> Self {
        Log { to, started: Instant::now(), started_ms: machine::now_ms(), inner: Mutex::default() }
    }

    /// The run of an import or a rollback has a name: what was told so far goes to its log, after what it is about, and so
    /// does the rest. A log that is there is continued.
    pub fn begin(&self, state: &State, command: &str, begin: &Begin) {
        let from = format!("{}, sequence {}, from {}", begin.profile, begin.sequence, begin.origin);
        let mut about = vec![
            ("bundle", format!("{} ({})", begin.bundle, begin.place)),
            ("signer", begin.signer.clone()),
            ("profile", from),
        ];
        about.extend(begin.components.iter().map(|c| ("component", format!("{} ({})", c.name, c.kind))));
        self.begin_about(state, command, &begin.run, &about);
    }

    /// The same of any run: `about` are words for what stands there, and what does.
    pub fn begin_about(&self, state: &State, command: &str, run: &str, about: &[(&str, String)]) {
        let mut inner = self.lock();
        let told = take(&mut inner.waiting);
        let mut head = |what: &str, text: &dyn Display| {
            self.write_line(&mut inner.waiting, Duration::ZERO, what, text);
        };
        head("run", &format_args!("kbpack {} {command}, run {run}", env!("CARGO_PKG_VERSION")));
        about.iter().for_each(|(what, text)| head(what, text));
        inner.waiting.push_str(&told);
        let opened = state.ensure_logs().map_err(|error| error.to_string()).and_then(|dir| {
            keep_newest(&dir, KEPT - 1, run);
            let path = dir.join(format!("{run}.log"));
            let file = File::options().append(true).create(true).mode(0o600).open(&path);
            file.map(|file| (path.clone(), file)).map_err(|error| format!("{}: {error}", path.display()))
        });
        match opened {
            Ok(file) => inner.file = Some(file),
            Err(error) => self.give_up(&mut inner, &error),
        }
        self.flush(&mut inner);
    }

    /// The run is over. Without [`begin`](Self::begin) there is no log.
    pub fn end(&self, outcome: &str) {
        let mut inner = self.lock();
        self.end_step(&mut inner);
        for (step, time) in take(&mut inner.took) {
            let line = format_args!("{:.3} s {step}", time.as_secs_f64());
            self.write_line(&mut inner.waiting, self.started.elapsed(), "took", &line);
            self.to.took(&step, time);
        }
        self.write_line(&mut inner.waiting, self.started.elapsed(), "outcome", &outcome);
        self.flush(&mut inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, inner: &mut Inner, what: &str, text: &dyn Display) {
        if inner.given_up {
            return;
        }
        self.write_line(&mut inner.waiting, self.started.elapsed(), what, text);
        if inner.waiting.len() > PIECE && inner.file.is_some() {
            self.flush(inner);
        }
    }

    fn write_line(&self, to: &mut String, since: Duration, what: &str, text: &dyn Display) {
        let now = self.started_ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let (time, text) = (machine::timestamp_ms(now), text.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(to, "{time} {:>9.3} {what} {}", since.as_secs_f64(), escape(&text));
    }

    fn end_step(&self, inner: &mut Inner) {
        if let Some((step, began)) = inner.step.take() {
            inner.took.push((step, began.elapsed()));
        }
    }

    fn flush(&self, inner: &mut Inner) {
        let Some((path, file)) = &mut inner.file else { return };
        if let Err(error) = file.write_all(take(&mut inner.waiting).as_bytes()) {
            let error = format!("{}: {error}", path.display());
            self.give_up(inner, &error);
        }
    }

    /// Told once: after it nothing is written any more.
    fn give_up(&self, inner: &mut Inner, error: &str) {
        (inner.file, inner.given_up) = (None, true);
        let what = format!("the log of this run cannot be written: {error}");
        self.to.finding("log", &Finding::new(Severity::Warning, what));
    }
}

impl Progress for Log<'_> {
    fn expect(&self, bytes: u64) {
        self.to.expect(bytes);
    }
    fn advance(&self, bytes: u64) {
        self.to.advance(bytes);
    }
}

impl Events for Log<'_> {
    fn step(&self, text: &str) {
        let mut inner = self.lock();
        self.end_step(&mut inner);
        inner.step = Some((text.to_owned(), Instant::now()));
        self.line(&mut inner, "step", &text);
        self.flush(&mut inner);
        self.to.step(text);
    }

    fn finding(&self, component: &str, finding: &Finding) {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Refusal => "refused",
        };
        let remedy = finding.remedy.as_ref().map_or(String::new(), |remedy| format!("; todo: {remedy}"));
        let text = format_args!("{component}: {}{remedy}", finding.what);
        self.line(&mut self.lock(), severity, &text);
        self.to.finding(component, finding);
    }

    fn act(&self, component: &str, text: &str) {
        self.line(&mut self.lock(), "act", &format_args!("{component}: {text}"));
        self.to.act(component, text);
    }

    fn said(&self, who: &str, line: &str) {
        self.line(&mut self.lock(), "said", &format_args!("{who}: {line}"));
        self.to.said(who, line);
    }
}

/// What became of a run that failed, in words.
pub fn failure(error: &EngineError) -> String {
    use crate::base::fault::{Fault, Faulty};
    match error.fault() {
        Fault::RecoveryNeeded => format!("recovery needed, run `kbpack recover`: {error}"),
        _ => format!("undone: {error}"),
    }
}

/// Removes all logs in `dir` but the `count` newest and the run's own. One that cannot be removed stays.
fn keep_newest(dir: &Path, count: usize, run: &str) {
    let logs = |entry: io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let own = path.file_stem().is_some_and(|stem| stem == run);
        let changed = path.symlink_metadata().and_then(|meta| meta.modified()).ok()?;
        (!own && path.extension().is_some_and(|extension| extension == "log")).then_some((changed, path))
    };
    let mut logs: Vec<(SystemTime, PathBuf)> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(logs).collect();
    logs.sort();
    for (_, path) in logs.iter().rev().skip(count) {
        let _ = std::fs::remove_file(path);
    }
}
