//! Another user of the machine, who waits for something that anybody may write to.

use crate::support::{furnish, Run, World, KBPACK, PROFILE};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// All commands in a shell that takes nothing away from the modes of files: that of cron, or of a service.
#[test]
fn nothing_is_left_open_by_a_careless_umask() {
    let world = World::new();
    furnish(&world.source);
    let (source, target) = (&world.source, &world.target);
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(&source.path).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
        }
        assert!(command.status().unwrap().success(), "{program} {args:?}");
    };
    source.write("code/a.txt", "hello\n");
    run("git", &["-C", "code", "init", "-q", "-b", "main"]);
    run("git", &["-C", "code", "add", "-A"]);
    run("git", &["-C", "code", "commit", "-q", "-m", "first"]);
    run("sqlite3", &["state.db", "CREATE TABLE t (a)"]);
    run("python3", &["-m", "venv", "--without-pip", "venv"]);
    source.profile(&format!(
        "{PROFILE}\n[component.code]\nkind = \"git\"\npath = \"~/code\"\n[component.state]\nkind = \"sqlite\"\npath = \"~/state.db\"\n\
         [component.venv]\nkind = \"python\"\npath = \"~/venv\"\n"
    ));
    let bundle = world.path("open.kbp");
    let careless = |home: &crate::support::Home, args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000 && exec \"$0\" \"$@\"", KBPACK]).args(args).current_dir(&home.path);
        command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
        Run::of(&mut command).ok();
    };
    careless(source, &["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()]);
    careless(target, &["import", bundle.to_str().unwrap(), "--yes"]);
    careless(target, &["keygen", "--config-dir", target.join("other").to_str().unwrap()]);
    let open = |root: &Path| -> Vec<String> {
        let entries = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
        let entries = entries.filter(|entry| !entry.path_is_symlink());
        let mode = |entry: &walkdir::DirEntry| fs::metadata(entry.path()).unwrap().permissions().mode();
        entries.filter(|entry| mode(entry) & 0o002 != 0).map(|e| e.path().display().to_string()).collect()
    };
    let found = [open(&target.path), open(&source.join(".local")), open(&bundle)].concat();
    assert!(found.is_empty(), "{} are open to all: {}", found.len(), found.join("\n"));
}
