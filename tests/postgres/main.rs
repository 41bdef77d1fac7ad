//! The kind `postgres` on real servers: the binary between two homes, and two servers that live as long as a test.

#![allow(clippy::unwrap_used)]

#[path = "../e2e/support.rs"]
mod support;

use support::run;

mod capture;
mod cluster;
mod crash;
mod diff;
mod in_place;
mod late;
mod many;
mod moved;
mod moved_world;
mod odd;
mod pair;
mod preflight;
mod role_map;
mod roles;
mod round_trip;
mod safety;
mod tls;
mod undo;
mod zoo;

/// Servers, and homes that use them.
mod server {
    pub use crate::cluster::{binary, is_root, Server, OTHER_USER};
    pub use crate::pair::{profile, Pair};
}
