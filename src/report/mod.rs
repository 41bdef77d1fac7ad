//! L5: what a person or a script sees. [`console`] is the only place that prints.
//!
//! The rules for all output, once: data goes to stdout, everything else to stderr; with `--json` stdout
//! holds one document and nothing else; text that came out of a bundle passes through [`sanitize`];
//! progress is drawn only on a terminal; colour carries no meaning of its own.

pub mod checks;
pub mod console;
pub mod diff;
pub mod hooks;
pub mod past;
pub mod sanitize;
pub mod text;
mod todos;
