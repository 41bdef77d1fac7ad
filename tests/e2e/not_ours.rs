//! A user who is not root, and a folder of another in which he may only make and remove names.

use crate::support::{furnish, Run, World, KBPACK};
use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;
use std::process::Command;

const USER: u32 = 12_345;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_undo_there_does_not_fail_for_what_was_never_changed() {
    // Only root can be another.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let (shared, kbpack) = (world.path("shared"), world.path("kbpack"));
    fs::create_dir(&shared).unwrap();
    chown(&shared, None, Some(USER)).unwrap();
    chmod(&shared, 0o775);
    chmod(world.dir.path(), 0o755);
    chmod(&bundle, 0o644);
    fs::copy(KBPACK, &kbpack).unwrap();
    for entry in walkdir::WalkDir::new(&world.target.path) {
        chown(entry.unwrap().path(), Some(USER), Some(USER)).unwrap();
    }
    let run = |strace: &[&str], args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups"]);
        command.args(strace).arg(&kbpack).args(args).env_clear().current_dir(&world.target.path);
        command.env("HOME", &world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
        Run::of(&mut command)
    };
    let map = format!("~/app={}", shared.join("tree").display());
    let import = ["import", bundle.to_str().unwrap(), "--yes", "--accept-new", "-q", "--map", &map];
    // The first file of the state that is put in place after the commit: the mark.
    let failing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat"];
    let failing = [&failing[..], &["-e", "inject=renameat:error=EIO:when=1"]].concat();
    run(&failing, &import).fails(9, "everything was put back");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
    assert_eq!(run(&[], &["recover"]).ok().stderr, "there is nothing to recover\n");
    run(&[], &import).ok();
    assert!(shared.join("tree/credentials.json").exists() && shared.join("tree/settings.json").exists());
}
