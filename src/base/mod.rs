//! L0: what every layer may use. Nothing here knows of bundles or keys.

pub mod change;
pub mod digest;
pub mod duration;
pub mod escape;
pub mod executes;
pub mod fault;
pub mod fsx;
pub mod interrupt;
pub mod json;
pub mod json_text;
pub mod key_path;
pub mod libpq;
pub mod limits;
pub mod name;
pub mod path;
pub mod process;
pub mod secret;
pub mod side;
pub mod timed;
