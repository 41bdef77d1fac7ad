//! A file of the target that is edited between the plan and the commit: the import stops, and the edit stays.

use crate::crash::lived_in;
use crate::support::{furnish, snapshot_but_times_of_folders, Home, Run, World, KBPACK};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs an import that waits a while before its journal is on disk: it has its plan, and nothing is staged. In this while
/// `edit` happens.
fn meanwhile(home: &Home, args: &[&str], edit: impl FnOnce()) -> Run {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    command.args(["-e", "inject=fdatasync:delay_enter=3000000:when=1"]).arg(KBPACK).args(args);
    command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let journals = home.join(".local/state/kbpack/journals");
    let begun = || fs::read_dir(&journals).is_ok_and(|mut entries| entries.next().is_some());
    let started = Instant::now();
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(60), "the import never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    edit();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

/// The exit code of an import during which a file is edited. Everything but the edit is as it was.
fn edited(file: &str, more: &[&str]) -> Run {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(&world.target);
    let args = [&["import", bundle.to_str().unwrap(), "--yes", "-q"], more].concat();
    let run = meanwhile(&world.target, &args, || fs::write(world.target.join(file), "edited\n").unwrap());
    let now = snapshot_but_times_of_folders(&world.target);
    let others = |rows: &[String]| -> Vec<String> {
        rows.iter().filter(|row| !row.starts_with(&format!("{file} "))).cloned().collect()
    };
    assert_eq!(others(&now), others(&before), "{}", run.stderr);
    assert_eq!(world.target.read(file), b"edited\n");
    assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
    // It is no hindrance to the next one.
    world.import(&bundle, &[]).ok();
    run
}

#[test]
fn a_file_of_a_tree() {
    edited("app/settings.json", &["--only", "app"])
        .fails(9, "app/settings.json: it was edited since the plan");
}

/// The tree was in place already.
#[test]
fn a_secret_after_a_tree() {
    edited("app/credentials.json", &[]).fails(9, "app/credentials.json was edited since the plan");
}

/// Nothing was in place yet: there was nothing to roll back.
#[test]
fn a_secret_alone() {
    for file in [".bashrc", "app/credentials.json"] {
        let run = edited(file, &["--only", "keys"]).fails(8, "was edited since the plan");
        assert!(run.stderr.contains(file), "{}", run.stderr);
    }
}
