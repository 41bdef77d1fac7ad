//! Who hears of a failure: a command, or a server that takes a POST.

use crate::base::process::Command;
use crate::component::Host;
use crate::engine::authorities;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ureq::Agent;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a command's output that are read.
const MAX_OUTPUT: usize = 64 * 1024;

/// Who is told: in a profile, a list is a command and its arguments, a text a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Notify {
    /// The program and its arguments; no shell. It gets the failure as JSON on its standard input.
    Command(Vec<String>),
    /// `http://` or `https://`: the failure is sent there, as JSON.
    Url(String),
}

/// What is told.
#[derive(Debug, Serialize)]
pub struct Failure<'a> {
    /// The profile's name, or what was to be one.
    pub profile: &'a str,
    /// The machine's.
    pub host: String,
    /// When: RFC 3339.
    pub time: String,
    /// The exit code.
    pub exit_code: u8,
    /// What happened, in one line.
    pub what: String,
    /// What to do, in one line.
    pub todo: String,
}

impl Notify {
    /// Tells it. The error says why nobody was told.
    pub fn tell(&self, failure: &Failure<'_>, host: &Host) -> Result<(), String> {
        let document = serde_json::to_vec(failure).map_err(|error| error.to_string())?;
        match self {
            Notify::Command(argv) => run(argv, &document, host),
            Notify::Url(url) => post(url, &document),
        }
    }
}

fn run(argv: &[String], document: &[u8], host: &Host) -> Result<(), String> {
    let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
    let command = Command::new(program, LIMIT).args(arguments).dir(&host.home);
    let command = command.pass_env(&["PATH", "HOME", "USER", "LANG"]);
    let output = command.run(document, MAX_OUTPUT).map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}: {}", output.status, output.stderr.trim())),
    }
}

fn post(url: &str, document: &[u8]) -> Result<(), String> {
    let config = Agent::config_builder().timeout_global(Some(LIMIT)).tls_config(authorities::believed());
    let agent = Agent::new_with_config(config.build());
    let request = agent.post(url).header("Content-Type", "application/json");
    // A URL may hold what lets one send to it: of it, only the host is named.
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    request.send(document).map(|_| ()).map_err(|error| format!("{host}: {error}"))
}
