//! SIGINT, SIGTERM and SIGHUP as a flag that the long loops look at, so that what was begun is undone.

use crate::base::fault::{Fault, Faulty};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The exit code of a second signal, which stops at once: recovery is needed.
const SECOND_SIGNAL: i32 = 10;

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

/// From here on a first signal only raises the flag; a second one ends the process with exit code 10.
/// Before this call signals end the process as usual, which is right while there is nothing to undo.
pub fn watch() -> io::Result<()> {
    if FLAG.get().is_some() {
        return Ok(());
    }
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the flag of the first signal arms the shutdown for the second.
        flag::register_conditional_shutdown(signal, SECOND_SIGNAL, raised.clone())?;
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
