//! The suite that every kind passes.

use super::world::*;
use crate::component::{Host, Kind};
use crate::components::conformance::{suite, State, Subject, EDIT};
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
