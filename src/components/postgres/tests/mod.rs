//! The kind on a server of its own. What the binary does between two servers stands in `tests/postgres`.

#[path = "../../../../tests/postgres/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../../../../tests/e2e/run.rs"]
#[allow(dead_code)]
mod run;

mod conformance;
