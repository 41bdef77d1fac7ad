//! The kind `postgres` on real servers: the binary between two homes, and two servers that live as long as a test.

#![allow(clippy::unwrap_used)]

#[path = "../e2e/support.rs"]
mod support;

mod capture;
mod in_place;
mod round_trip;
mod safety;
mod server;
mod tls;
mod zoo;
