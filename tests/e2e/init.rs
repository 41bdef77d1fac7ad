//! A first profile, for what a machine has; and the presets.

use crate::support::{Home, Run, World};
use std::process::Command;

const KEY: &str = "sk-demo-0123456789";

#[track_caller]
fn stock(home: &Home, argv: &[&str]) {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(&home.path).env("HOME", &home.path);
    Run::of(command.env("GIT_CONFIG_NOSYSTEM", "1")).ok();
}

/// A server with a bit of everything.
fn furnish(home: &Home) {
    home.write(".bashrc", format!("export API_KEY='{KEY}'\nexport EDITOR=vi\nexport NOW_TOKEN=$(date)\n"));
    home.chmod(".bashrc", 0o600);
    home.write(".pgpass", "localhost:5432:shop:ada:pa\\:ss\n");
    home.chmod(".pgpass", 0o600);
    home.write("srv/app/.env", format!("SECRET={KEY}-2\n"));
    home.chmod("srv/app/.env", 0o600);
    home.write("srv/app/.env.example", "SECRET=\n");
    home.write("srv/app/.gitignore", ".env\n");
    stock(home, &["sqlite3", "srv/state.db", "create table t (a); insert into t values (1)"]);
    home.write("srv/not.db", "no database");
    stock(home, &["git", "init", "-q", "srv/app"]);
    stock(home, &["git", "init", "-q", "srv/app/inside"]);
    stock(home, &["git", "-C", "srv/app", "add", ".gitignore", ".env.example"]);
    let author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let mut commit = vec!["git", "-C", "srv/app"];
    commit.extend(author);
    commit.extend(["commit", "-qm", "one"]);
    stock(home, &commit);
    std::fs::remove_dir_all(home.join("srv/app/inside")).unwrap();
}

#[test]
fn what_is_found_is_packed_by_it() {
    let world = World::new();
    let home = &world.source;
    furnish(home);
    let draft = home.kbpack(&["init", "--json"]).ok().json();
    let found = draft["found"].as_array().unwrap();
    let names: Vec<&str> = found.iter().map(|found| found["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["keys", "shop", "state", "app"]);

    let text = String::from_utf8(home.read(".config/kbpack/profile.toml")).unwrap();
    for part in ["~/.bashrc", "names = [\"API_KEY\"]", "localhost:5432:shop:ada", "~/srv/app/.env\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for secret in [KEY, "pa:ss", "pa\\:ss", "NOW_TOKEN", "not.db", "example"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    home.kbpack(&["init"]).fails(2, "profile.toml: a file of this name exists already");
    assert_eq!(home.read(".config/kbpack/profile.toml"), text.as_bytes());

    let bundle = world.path("all.kbp");
    let to = bundle.to_str().unwrap();
    // There is no such server.
    home.kbpack(&["export", "-r", &world.recipient, "-o", to, "--skip", "shop"]).ok();
    world.import(&bundle, &[]).ok();
    assert_eq!(world.target.read("srv/app/.env"), format!("SECRET={KEY}-2\n").as_bytes());
    stock(&world.target, &["git", "-C", "srv/app", "fsck", "--strict"]);
    stock(&world.target, &["sqlite3", "srv/state.db", "select a from t"]);
}

#[test]
fn it_looks_only_where_it_is_told_to() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("elsewhere/x", "");
    let text = world.source.kbpack(&["init", "-o", "-", "elsewhere"]).ok().text();
    assert!(!text.contains("srv/") && text.contains("~/.bashrc"), "{text}");
    world.source.kbpack(&["init", "nowhere"]).fails(2, "nowhere is no folder");
}

#[test]
fn a_preset_stands_in_for_a_profile() {
    let world = World::new();
    let home = &world.source;
    let bundle = world.path("b.kbp");
    let export = ["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()];
    home.kbpack(&export).fails(2, "there is no profile");

    home.write(".claude/settings.json", "{\"enabledPlugins\": {\"a@m\": true, \"b@m\": false}}\n");
    home.write(".claude/debug/trace", "stays");
    home.write(".claude.json", "{\"userID\": \"machine-0123456789\", \"mcpServers\": {\"m\": {}}}\n");
    home.write(".claude/.credentials.json", "{\"refreshToken\": \"rotates-0123456789\"}\n");
    let said = home.kbpack(&export).ok().stderr;
    assert!(said.contains("no profile was found: this is by the preset claude-code"), "{said}");
    let report = world.import(&bundle, &["--json"]).ok().json();
    let checks = report["declared_checks"].as_array().unwrap();
    assert!(checks.len() == 2 && checks.iter().all(|check| check["verdict"] == "passed"), "{report}");
    assert_eq!(world.target.read(".claude/settings.json"), home.read(".claude/settings.json"));
    assert_eq!(world.target.read(".claude.json"), b"{\"mcpServers\": {\"m\": {}}}\n");
    assert!(!world.target.join(".claude/debug").exists());
    assert!(!world.target.join(".claude/.credentials.json").exists());

    // What else is found comes after it, and what it has already does not come twice.
    home.write(".bashrc", format!("export API_KEY='{KEY}'\n"));
    let draft = home.kbpack(&["init", "--json"]).ok().json();
    assert_eq!(draft["preset"], "claude-code");
    assert_eq!(draft["found"].as_array().unwrap().len(), 1, "{draft}");
    home.kbpack(&["export", "--preset", "nothing"]).fails(2, "there is no preset 'nothing'");
}
