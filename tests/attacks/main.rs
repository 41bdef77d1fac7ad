//! Forged bundles, each named after its attack, against the real binary: it refuses with the right exit code and
//! words, and leaves the target as it was. `forge` says who can forge what; `kit` runs the tables.

#![allow(clippy::unwrap_used)]

#[path = "../e2e/support.rs"]
mod support;
use support::run;

mod across;
mod archive;
mod campaign;
#[path = "../postgres/cluster.rs"]
#[allow(dead_code)]
mod cluster;
mod commands;
mod files;
mod forge;
mod git;
mod hidden;
mod keys;
mod kit;
mod manifest;
mod neighbour;
mod plugins;
mod postgres;
mod python;
mod replay;
mod seal;
mod secrets;
mod sqlite;
mod streams;
mod tree;
mod twice;
