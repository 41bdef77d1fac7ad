//! age plugins, kept at arm's length.
//!
//! The age crate runs `age-plugin-NAME` with our environment (`AGEDEBUG` would print keys) and waits
//! for it for ever. So kbpack runs itself again, as `kbpack __age-plugin wrap|unwrap`, with a scrubbed
//! environment, a time limit and a process group of its own, and only that child uses age's plugin
//! code. A group of its own cannot read from the terminal: what the plugin asks comes back to us, and
//! our [`Prompt`] asks it. Everything travels in frames over stdin and stdout, nothing in argv.

use crate::base::limits::PLUGIN_SECONDS;
use crate::base::process::{Command, ProcessError, Stdin, Stdout, PLAIN_ENV};
use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::Prompt;
use crate::crypto::printable::printable;
use crate::crypto::wire::{read_frame, write_frame, Frame};
use std::io;
use std::time::Duration;

pub use crate::crypto::helper::helper_main;

/// The hidden command of kbpack that [`helper_main`] answers.
pub const HELPER: &str = "__age-plugin";
/// Lowers the time limit (seconds); it cannot raise it.
pub const SECONDS_VARIABLE: &str = "KBPACK_PLUGIN_SECONDS";

/// What a plugin needs besides to reach its device and a pinentry of its own.
const PLUGIN_ENV: &[&str] = &[
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "GPG_TTY",
    "SSH_AUTH_SOCK",
];

/// Encrypts `plaintext` to recipients of one plugin: an age file.
pub(super) fn wrap(
    name: &str,
    recipients: &[&str],
    plaintext: &Secret,
    prompt: &dyn Prompt,
) -> Result<Vec<u8>, CryptoError> {
    let strings: Vec<&[u8]> = recipients.iter().map(|text| text.as_bytes()).collect();
    match run("wrap", name, &strings, plaintext.expose(), prompt)? {
        Some(file) => Ok(file.expose().to_vec()),
        None => Err(failed(name, "it encrypted nothing")),
    }
}

/// Opens an age file with identities of one plugin. `None` if none of them is meant.
pub(super) fn unwrap(
    name: &str,
    identities: &[&Secret],
    file: &[u8],
    prompt: &dyn Prompt,
) -> Result<Option<Secret>, CryptoError> {
    let strings: Vec<&[u8]> = identities.iter().map(|text| text.expose()).collect();
    run("unwrap", name, &strings, file, prompt)
}

fn run(
    mode: &str,
    name: &str,
    strings: &[&[u8]],
    data: &[u8],
    prompt: &dyn Prompt,
) -> Result<Option<Secret>, CryptoError> {
    // The helper makes an empty directory for the plugin to run in, and cannot remove it when it is stopped.
    let Ok(scratch) = tempfile::tempdir() else { return Err(failed(name, "it could not be run")) };
    // The name is of a recipient that age parsed: letters, digits and +-._
    let called = format!("age-plugin-{name}");
    // The link, not the path behind it: after an upgrade that is another program.
    let command = Command::new("/proc/self/exe", limit())
        .called(&called)
        .args([HELPER, mode])
        .pass_env(PLAIN_ENV)
        .pass_env(PLUGIN_ENV)
        .env("TMPDIR", scratch.path());
    let talked = command.talk(|to, from| converse(to, from, name, strings, data, prompt));
    match talked {
        Ok(talked) => match talked.said {
            Ok(Frame::Result(bytes)) => Ok(Some(bytes)),
            Ok(Frame::NoMatch) => Ok(None),
            Ok(Frame::Missing) => Err(CryptoError::PluginMissing { name: name.to_owned() }),
            Ok(Frame::Damaged) => Err(CryptoError::Damaged("it is cut off, or was changed")),
            Ok(Frame::Failed(words)) => Err(failed(name, &words)),
            Ok(_) | Err(_) => Err(failed(name, "it broke off")),
        },
        Err(ProcessError::TimedOut { seconds, .. }) => {
            Err(CryptoError::PluginTimedOut { name: name.to_owned(), seconds })
        }
        Err(_) => Err(failed(name, "it could not be run")),
    }
}

fn failed(name: &str, words: &str) -> CryptoError {
    CryptoError::PluginFailed { name: name.to_owned(), message: printable(words, 300) }
}

fn limit() -> Duration {
    let lower = std::env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(lower.unwrap_or(PLUGIN_SECONDS).clamp(1, PLUGIN_SECONDS))
}

/// Hands over the task, answers questions, and returns the frame that ends it.
fn converse(
    mut to: Stdin,
    mut from: Stdout,
    name: &str,
    strings: &[&[u8]],
    data: &[u8],
    prompt: &dyn Prompt,
) -> io::Result<Frame> {
    write_frame(&mut to, &Frame::Name(name.to_owned()))?;
    for string in strings {
        write_frame(&mut to, &Frame::Key(Secret::from(string.to_vec())))?;
    }
    write_frame(&mut to, &Frame::Data(Secret::from(data.to_vec())))?;
    loop {
        let said = |text: &str| format!("age-plugin-{name}: {text}");
        let answer = match read_frame(&mut from)? {
            Frame::Message(text) => {
                prompt.message(&said(&text));
                continue;
            }
            Frame::AskSecret(text) => prompt.passphrase(&format!("age-plugin-{name} ({text})"), false).ok(),
            Frame::AskLine(text) => prompt.line(&said(&text)).map(|line| Secret::from(line.into_bytes())),
            Frame::AskConfirm { text, yes, no } => prompt
                .confirm(&said(&text), &yes, no.as_deref())
                .map(|yes| Secret::from(if yes { b"yes".to_vec() } else { b"no".to_vec() })),
            end => return Ok(end),
        };
        write_frame(&mut to, &answer.map_or(Frame::NoAnswer, Frame::Answer))?;
    }
}
