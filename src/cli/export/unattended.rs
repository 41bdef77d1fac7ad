//! `export --unattended`: for a timer. Nobody is asked; whoever should know hears of a failure.

use super::{default_name, Args};
use crate::cli::error::CliError;
use crate::cli::prune;
use crate::cli::Context;
use crate::component::{Finding, Host, Severity};
use crate::engine::error::EngineError;
use crate::engine::events::Events;
use crate::engine::exports::exports;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::state::State;
use crate::engine::unattended::{place, Failure, Metrics, Notify};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Exports, prunes, and tells how it went.
pub(super) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let began = Instant::now();
    let host = machine::host(&context.dirs, Vec::new())?;
    let profile = args.profile(context, &host);
    let outcome = match &profile {
        Ok(profile) => attempt(args, context, &host, profile),
        Err(_) => Ok(()),
    };
    let (profile, outcome) = match profile {
        Ok(profile) => (Some(profile), outcome),
        Err(error) => (None, Err(error)),
    };
    let code = outcome.as_ref().map_or_else(CliError::exit_code, |()| 0);
    let name = profile.as_ref().map_or("none", |profile| profile.name.as_str());
    if let Err(error) = tell_monitor(args, context, &host, profile.as_ref(), code, began) {
        warn(context, format!("the metrics could not be written: {}", error.what()));
    }
    if let Err(error) = &outcome {
        let failure = Failure {
            profile: name,
            host: machine::nodename(),
            time: machine::timestamp(machine::now()),
            exit_code: code,
            what: error.what(),
            todo: error.todo(),
        };
        let named = args.notify.as_deref().map(notify);
        let notify = named.or_else(|| profile.as_ref()?.unattended.notify.clone());
        if let Some(Err(why)) = notify.map(|notify| notify.tell(&failure, &host)) {
            warn(context, format!("nobody was told of the failure: {why}"));
        }
    }
    outcome
}

/// The export, and what `[retention]` asks for.
fn attempt(args: &Args, context: &Context, host: &Host, profile: &Profile) -> Result<(), CliError> {
    let folder = profile.retention.as_ref().map(|retention| place(host, &retention.folder)).transpose()?;
    let output = args.output.clone().unwrap_or_else(|| {
        let name = default_name(&profile.name);
        folder.as_ref().map_or_else(|| name.clone(), |folder| folder.join(&name))
    });
    args.export(context, profile, host, output)?;
    match (&profile.retention, folder) {
        (Some(retention), Some(folder)) => prune::unattended(context, &folder, &retention.policy),
        _ => Ok(()),
    }
}

fn tell_monitor(
    args: &Args,
    context: &Context,
    host: &Host,
    profile: Option<&Profile>,
    code: u8,
    began: Instant,
) -> Result<(), CliError> {
    let Some(profile) = profile else { return Ok(()) };
    let named = profile.unattended.metrics.as_ref().map(|text| place(host, text)).transpose()?;
    let Some(file): Option<PathBuf> = args.metrics.clone().or(named) else { return Ok(()) };
    let (known, _) = exports(&State::new(context.dirs.state.clone()))?;
    let last = known.iter().map(|known| &known.export).rfind(|export| export.profile == profile.name);
    let metrics = Metrics {
        profile: &profile.name,
        ended: machine::now(),
        seconds: began.elapsed().as_secs_f64(),
        code,
        last_success: last.map(|export| export.created),
        size: last.and_then(|export| export.size),
    };
    metrics.write(Path::new(&file)).map_err(|error| EngineError::Io { path: file.clone(), error }.into())
}

/// What `--notify` says: a URL, or a program.
fn notify(text: &str) -> Notify {
    match text.contains("://") {
        true => Notify::Url(text.to_owned()),
        false => Notify::Command(vec![text.to_owned()]),
    }
}

fn warn(context: &Context, what: String) {
    context.console.finding("unattended", &Finding::new(Severity::Warning, what));
}
