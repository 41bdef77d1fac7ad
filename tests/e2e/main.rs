//! End to end: the real binary, two homes on one machine, the stock tools as oracles.

#![allow(clippy::unwrap_used)]

mod snapshot;
mod support;
mod terminal;

mod command_line;
mod crash;
mod files;
mod git;
mod independent_reader;
mod keys;
mod messages;
mod round_trip;
mod sqlite;
mod stock_tools;
mod trust;
