//! SIGINT, SIGTERM and SIGHUP as a flag that the long loops look at, so that what was begun is undone; and a second one
//! of a person who does not want to wait for that.

use crate::base::fault::{Fault, Faulty};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// The exit code of a second signal, which stops at once: recovery is needed.
const SECOND_SIGNAL: i32 = 10;
/// How long the last words may take: a full pipe or a stopped terminal would take for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The person, or the system, wants us to stop.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted by a signal")]
pub struct Interrupted;

impl Faulty for Interrupted {
    fn fault(&self) -> Fault {
        Fault::Unexpected
    }
    fn remedy(&self) -> Option<String> {
        Some("nothing was changed; run it again".into())
    }
}

/// From here on a first signal only raises the flag. A second SIGINT or SIGTERM writes `last_words` (whole lines) to
/// stderr, if it takes them, and ends the process with exit code 10. A second SIGHUP does not: a terminal that is closed
/// sends one, and its shell another.
///
/// Before this call signals end the process as usual, which is right while there is nothing to undo.
pub fn watch(last_words: &'static str) -> io::Result<()> {
    if FLAG.get().is_some() {
        return Ok(());
    }
    let (raised, first) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // Not through a lock that somebody may hold who waits for stderr.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (mut insisting, insists) = UnixStream::pair()?;
    let before = first.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut byte = [0];
        // One byte a signal: two that come at once are two.
        while insisting.read_exact(&mut byte).is_ok() {
            if before.swap(true, Ordering::Relaxed) {
                say(stderr, last_words);
                low_level::exit(SECOND_SIGNAL);
            }
        }
    })?;
    flag::register(SIGHUP, first)?;
    for signal in [SIGINT, SIGTERM] {
        low_level::pipe::register(signal, insists.try_clone()?)?;
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, raised.clone())?;
    }
    let _ = FLAG.set(raised);
    Ok(())
}

/// An error if a signal came since [`watch`].
pub fn check() -> Result<(), Interrupted> {
    match FLAG.get() {
        Some(raised) if raised.load(Ordering::Relaxed) => Err(Interrupted),
        _ => Ok(()),
    }
}

/// Writes `words`, for a while. That nobody takes them is no error: nothing must keep the process from its end.
fn say(mut stderr: File, words: &'static str) {
    let (said, hear) = mpsc::channel();
    let speak = move || {
        // The line of a progress bar goes.
        let clear = if stderr.is_terminal() { "\r\u{1b}[K" } else { "" };
        let _ = stderr.write_all(format!("{clear}{words}").as_bytes());
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(speak).is_ok() {
        let _ = hear.recv_timeout(LAST_WORDS);
    }
}
