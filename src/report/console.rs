//! The terminal: where lines, documents, questions and progress go. The only place that prints.

use crate::base::secret::Secret;
use crate::component::{Finding, Progress, Severity};
use crate::engine::events::Events;
use crate::report::sanitize::{escape, escape_json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set, or it is a `dumb` one.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Errors and refusals.
    Quiet,
    /// What matters.
    Normal,
    /// Each file.
    Verbose,
}

/// The console of one run.
pub struct Console {
    /// stdout holds one JSON document.
    json: bool,
    volume: Volume,
    color: bool,
    bar: ProgressBar,
    /// With `--json`: what was noticed, for the document of an error.
    noticed: Mutex<Vec<Noticed>>,
}

/// A finding, and in which component.
#[derive(Debug, Clone, Serialize)]
pub struct Noticed {
    component: String,
    #[serde(flatten)]
    finding: Finding,
}

impl Console {
    /// A console as the global options want it.
    pub fn new(json: bool, volume: Volume, color: Color) -> Self {
        let terminal = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        let draw = terminal && volume > Volume::Quiet && !json;
        let target = if draw { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Console { json, volume, color, bar, noticed: Mutex::default() }
    }

    /// Whether stdout holds one JSON document.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether to name each file.
    pub fn verbose(&self) -> bool {
        self.volume == Volume::Verbose
    }

    /// Whether there is somebody to ask: a terminal in and out.
    pub fn interactive(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Data: one document with `--json`, else `lines`. A reader that has gone away has seen enough.
    pub fn data(&self, document: &impl Serialize, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        self.bar.finish_and_clear();
        if self.json {
            return write_out(&format!("{}\n", escape_json(&serde_json::to_string_pretty(document)?)));
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&escape(&line));
            text.push('\n');
        }
        write_out(&text)
    }

    /// With `--json`: what was noticed so far.
    pub fn noticed(&self) -> Vec<Noticed> {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is said about data that goes elsewhere: stderr, or the document with `--json`.
    pub fn summary(
        &self,
        document: &impl Serialize,
        lines: impl IntoIterator<Item = String>,
    ) -> io::Result<()> {
        if self.json {
            return self.data(document, []);
        }
        self.bar.finish_and_clear();
        lines.into_iter().for_each(|line| self.line(&line));
        Ok(())
    }

    /// Text that is no report (a completion script), as it is.
    pub fn raw(&self, text: &str) -> io::Result<()> {
        write_out(text)
    }

    /// A line to stderr, unless quiet.
    pub fn line(&self, line: &str) {
        if self.volume > Volume::Quiet && !self.json {
            self.say(line);
        }
    }

    /// A line to stderr, whatever the volume: what a question is about.
    pub fn say(&self, line: &str) {
        self.show(&escape(line));
    }

    /// A stderr that cannot be written to must not end what we are in the middle of.
    fn show(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// The two lines of an error: what and where; what to do.
    pub fn error(&self, what: &str, todo: &str) {
        self.bar.finish_and_clear();
        self.show(&format!("{} {}", self.painted("1;31", "error:"), escape(what)));
        self.show(&format!("{} {}", self.painted("1", " todo:"), escape(todo)));
    }

    /// A yes-or-no question at the terminal; anything but `y` or `yes` is no.
    pub fn ask(&self, question: &str) -> bool {
        self.read_line(&format!("{question} [y/N] "))
            .is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// A secret typed at the terminal (`/dev/tty`, never stdin), unseen. An error of kind `Interrupted` or `UnexpectedEof`:
    /// nothing was given; any other: there is no terminal.
    pub fn read_secret(&self, prompt: &str) -> io::Result<Secret> {
        let typed = self.bar.suspend(|| rpassword::prompt_password(escape(prompt)));
        typed.map(|text| Secret::from(text.into_bytes()))
    }

    /// A line typed at the terminal.
    pub fn read_line(&self, prompt: &str) -> Option<String> {
        self.bar.suspend(|| {
            write!(io::stderr().lock(), "{}", escape(prompt)).ok()?;
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line).ok()?;
            (read > 0).then_some(line)
        })
    }
}

impl Progress for Console {
    fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }
    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

impl Events for Console {
    fn step(&self, text: &str) {
        self.bar.reset();
        self.bar.set_length(0);
        self.bar.set_message(escape(text).into_owned());
        if self.verbose() {
            self.line(text);
        }
    }

    fn act(&self, component: &str, text: &str) {
        if self.verbose() {
            self.line(&format!("  {component}: {text}"));
        }
    }

    fn said(&self, who: &str, line: &str) {
        if self.verbose() {
            self.line(&format!("  {who}: {line}"));
        }
    }

    fn took(&self, step: &str, time: Duration) {
        if self.verbose() {
            self.line(&format!("{:.3} s {step}", time.as_secs_f64()));
        }
    }

    fn finding(&self, component: &str, finding: &Finding) {
        if self.json {
            let noticed = Noticed { component: component.to_owned(), finding: finding.clone() };
            return self.noticed.lock().unwrap_or_else(PoisonError::into_inner).push(noticed);
        }
        let (code, word) = match finding.severity {
            Severity::Note if !self.verbose() => return,
            Severity::Note => ("1", "note:"),
            Severity::Warning => ("1;33", "warning:"),
            Severity::Refusal => ("1;31", "refused:"),
        };
        if self.volume == Volume::Quiet && finding.severity != Severity::Refusal {
            return;
        }
        self.show(&format!("{} {}: {}", self.painted(code, word), escape(component), escape(&finding.what)));
        if let Some(remedy) = &finding.remedy {
            self.show(&format!(" {} {}", self.painted("1", "todo:"), escape(remedy)));
        }
    }
}

/// Writes data to stdout. That nobody reads on is no error.
fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
