//! End to end: the real binary, two homes on one machine, the stock tools as oracles.

#![allow(clippy::unwrap_used)]

mod postgres_server;
mod snapshot;
mod support;
mod terminal;

mod checks;
mod command_line;
mod crash;
mod diff;
mod documents;
mod edited;
mod files;
mod git;
mod git_around;
mod git_incremental;
mod git_lfs;
mod git_odd;
mod git_stashes;
mod git_submodules;
mod hooks;
mod independent_reader;
mod init;
mod keep;
mod keys;
mod kills;
mod logins;
mod logs;
mod messages;
mod not_ours;
mod policies;
mod prune;
mod python;
mod quiesced;
mod receipts;
mod recovery;
mod rollback;
mod round_trip;
mod signals;
mod small_disk;
mod sqlite;
mod status;
mod stock_tools;
mod tickets;
mod todos;
mod trust;
mod unattended;
