//! What would run on the target and does not look like it: the plan names it, however much else there is to be named.

use crate::support::World;
use std::os::unix::fs::symlink;
use std::process::Command;

const PROFILE: &str = r#"
[bundle]
name = "hidden"

[component.tree]
kind = "files"
path = "~/tree"
runs = ["decoys/"]

[component.units]
kind = "git"
path = "~/.config/systemd/user"

[component.state]
kind = "sqlite"
path = "~/.profile"

[component.keys]
kind = "secrets"
env = { file = "~/.config/environment.d/app.conf", names = ["LD_PRELOAD"], format = "dotenv" }
pgpass = { file = "~/.bash_logout", lines = ["localhost:5432:d:u"] }
"#;

fn run(program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Eve").env(format!("GIT_{who}_EMAIL"), "eve@example.com");
    }
    assert!(command.status().unwrap().success(), "{program} {args:?}");
}

#[test]
fn among_many_others_or_by_another_name() {
    let world = World::new();
    let source = &world.source;
    for n in 0..30 {
        source.write(&format!("tree/{n}.sh"), "#!/bin/sh\n");
        source.chmod(&format!("tree/{n}.sh"), 0o755);
        source.write(&format!("tree/decoys/{n}"), "x");
    }
    source.write("tree/z/.ssh/authorized_keys", "ssh-ed25519 AAAA eve\n");
    symlink("../z", source.join("tree/systemd")).unwrap();
    let units = source.join(".config/systemd/user");
    source.write(".config/systemd/user/eve.service", "[Service]\nExecStart=/bin/true\n");
    let units = units.to_str().unwrap();
    run("git", &["-C", units, "init", "-q", "-b", "main"]);
    run("git", &["-C", units, "add", "-A"]);
    run("git", &["-C", units, "commit", "-q", "-m", "first"]);
    run("sqlite3", &[source.join(".profile").to_str().unwrap(), "CREATE TABLE t (a)"]);
    source.write(".config/environment.d/app.conf", "LD_PRELOAD=/home/eve/x.so\n");
    source.write(".bash_logout", "localhost:5432:d:u:password-1234\n");
    for file in [".bash_logout", ".config/environment.d/app.conf"] {
        source.chmod(file, 0o600);
    }
    source.profile(PROFILE);
    let bundle = world.export("hidden.kbp");
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run"]).ok().text();
    for line in [
        "z/.ssh/authorized_keys (lets in whom it names)",
        "systemd (programs look where it leads)",
        "~/.config/systemd/user: whatever its commits have for programs to run; this plan cannot tell",
        "~/.profile (shells read it)",
        "$LD_PRELOAD is set in ~/.config/environment.d/app.conf, and programs act on it",
        "~/.config/environment.d/app.conf (variables of each session)",
        "~/.bash_logout (shells read it)",
    ] {
        assert!(plan.contains(&format!("  will be able to run: {line}\n")), "{line}: {plan}");
    }
    assert!(plan.contains("will be able to run: … and 52 more, 62 in all (-v shows all)"), "{plan}");
}
