//! Mounts inside and at the root. Only where this process may mount.

use super::world::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty file system of its own at a path, until the value goes.
struct Mount(PathBuf);

impl Mount {
    fn at(path: &Path) -> Option<Mount> {
        std::fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(path).output();
        done.is_ok_and(|out| out.status.success()).then(|| Mount(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).output().unwrap();
    }
}

#[test]
fn what_is_mounted_in_the_source_is_followed_or_left_out_and_told() {
    let mut world = World::new();
    write(world.src("f"), "f");
    let Some(_mount) = Mount::at(&world.src("m")) else { return };
    write(world.src("m/inside"), "x");
    for (stay, word) in [(false, "followed"), (true, "left out")] {
        world.options["one-filesystem"] = json!(stay);
        world.overrides["path"] = json!(format!("~/dst-{word}"));
        let (streams, captured) = world.capture();
        let told = captured.findings.iter().filter(|f| f.what.ends_with(&format!("mounted here; {word}")));
        assert_eq!(told.count(), 1, "{:?}", captured.findings);
        let text = String::from_utf8(streams.get("index")).unwrap();
        assert_eq!((text.contains("m/inside"), text.contains("\"m\"")), (!stay, true));
    }
}

#[test]
fn a_root_that_is_a_mount_is_staged_inside_and_leaves_no_trace() {
    let world = World::new();
    write(world.src("a"), "new");
    write(world.src("d/f"), "new");
    let Some(_mount) = Mount::at(&world.dst("")) else { return };
    write(world.dst("a"), "older");
    touch(world.dst(""), 5, 5);
    let before = snapshot(&world.dst(""));
    let mut job = world.plan();
    job.stage().unwrap();
    assert!(world.dst(&format!(".kbpack-stage-{RUN}/tree/new")).exists());
    job.commit().unwrap();
    job.check();
    job.undo(&job.journal.acts);
    assert_eq!(snapshot(&world.dst("")), before);
    world.import();
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
}

#[test]
fn a_change_below_a_mount_in_the_target_is_refused() {
    let world = World::new();
    write(world.src("m/f"), "new");
    let Some(_mount) = Mount::at(&world.dst("m")) else { return };
    assert_eq!(world.plan().refusals().len(), 1);
    write(world.dst("m/f"), "new");
    let times = std::fs::metadata(world.src("m/f")).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(world.dst("m/f")).unwrap().set_modified(times).unwrap();
    assert_eq!(world.plan().refusals(), Vec::<String>::new());
}
