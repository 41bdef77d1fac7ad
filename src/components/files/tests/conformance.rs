//! The suite that every kind passes.

use super::world::*;
use crate::component::{Host, Kind};
use crate::components::conformance::{suite, State, Streams, Subject, EDIT};
use crate::components::files::FilesKind;
use serde_json::{json, Value};

struct Tree;

impl Subject for Tree {
    fn kind(&self) -> &'static dyn Kind {
        &FilesKind
    }
    fn options(&self, _: &Host) -> Value {
        json!({"path": "~/tree", "mode": "mirror", "symlinks": "replace"})
    }
    fn furnish(&self, host: &Host, state: State) {
        let root = host.home.join("tree");
        rich(&root);
        if state == State::Other {
            differ(&root);
        }
    }
    fn edit(&self, host: &Host) {
        write(host.home.join("tree/plain"), EDIT);
    }
}

#[test]
fn a_tree_passes() {
    suite(&Tree);
}

/// A single file, in a folder that may not be there.
struct File;

impl Subject for File {
    fn kind(&self) -> &'static dyn Kind {
        &FilesKind
    }
    fn options(&self, _: &Host) -> Value {
        json!({"path": "~/etc/app.conf"})
    }
    fn furnish(&self, host: &Host, state: State) {
        let path = host.home.join("etc/app.conf");
        write(&path, if state == State::Source { "listen = 1\n" } else { "listen = 22\n" });
        chmod(&path, if state == State::Source { 0o640 } else { 0o644 });
        touch(&path, 1_500_000_000, 7);
        touch(host.home.join("etc"), 1_500_000_000, 8);
    }
    fn edit(&self, host: &Host) {
        write(host.home.join("etc/app.conf"), EDIT);
    }
}

#[test]
fn a_single_file_passes() {
    suite(&File);
}

/// Files that name the home they lie in, and get other modes. The homes of the suite are as long as each other, so that size and time
/// of what is rewritten tell nothing.
struct AtHome;

impl Subject for AtHome {
    fn kind(&self) -> &'static dyn Kind {
        &FilesKind
    }
    fn options(&self, _: &Host) -> Value {
        json!({
            "path": "~/app",
            "rewrite-home": ["*.json", "new/*.sh"],
            "modes": [{"match": "*.sh", "mode": "755"}],
        })
    }
    fn furnish(&self, host: &Host, state: State) {
        let (root, home) = (host.home.join("app"), host.home.to_str().unwrap());
        let other = if state == State::Source { "" } else { ", 1" };
        write(root.join("settings.json"), &format!("[\"{home}/app\"{other}]"));
        write(root.join("same.json"), &format!("[\"{home}/app\"]"));
        if state == State::Source {
            write(root.join("new/run.sh"), &format!("cd {home}\n"));
        }
        for name in ["settings.json", "same.json"] {
            touch(root.join(name), 1_500_000_000, 7);
        }
    }
    fn edit(&self, host: &Host) {
        write(host.home.join("app/settings.json"), EDIT);
    }
    /// Other homes give other bytes: what has a name there.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let names = streams.content().into_iter().map(|(name, _)| (name, Vec::new()));
        names.chain([(facts["entries"].to_string(), Vec::new())]).collect()
    }
}

#[test]
fn files_that_are_rewritten_pass() {
    suite(&AtHome);
}
