//! The whole move of the first user's server, with the preset: three commands, and everything works on the other side.

use crate::in_place::same;
use crate::moved_world::{Hosts, KEY, PASSWORD, TOKEN};
use crate::support::Run;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The plan's changes, each component's by its name.
#[track_caller]
fn changes(run: &Run) -> Vec<(String, usize)> {
    let report = run.json();
    let of = |c: &serde_json::Value| {
        (c["name"].as_str().unwrap().to_owned(), c["plan"]["changes"].as_array().unwrap().len())
    };
    report["components"].as_array().unwrap().iter().map(of).filter(|(_, changes)| *changes > 0).collect()
}

/// All refs and HEAD.
fn history(hosts: &Hosts, source: bool) -> String {
    let world = &hosts.pair.world;
    let home = if source { &world.source } else { &world.target };
    let refs =
        hosts.git(home, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"]);
    refs + &hosts.git(home, &["rev-parse", "HEAD"]) + &hosts.git(home, &["status", "--porcelain"])
}

/// That the target has what the source has.
#[track_caller]
fn arrived(hosts: &Hosts) {
    let (source, target) = (&hosts.pair.world.source, &hosts.pair.world.target);
    // The tree, as rsync sees it: what is excluded is not looked at.
    let mut rsync = Command::new("rsync");
    rsync.args(["-rlptn", "--itemize-changes", "--checksum", "--delete"]);
    let excluded =
        ["debug/", "cache/", "projects/", "file-history/", "session-env/", "shell-snapshots/", "telemetry/"];
    let excluded = excluded.iter().chain(&["stats-cache.json", "*.log", ".credentials.json"]);
    rsync.args(excluded.map(|pattern| format!("--exclude={pattern}")));
    rsync.arg(source.join(".claude/")).arg(target.join(".claude/"));
    let differences = Run::of(&mut rsync).ok().text();
    let differences: Vec<_> = differences.lines().filter(|line| *line != ".d..t...... ./").collect();
    assert_eq!(differences, [""; 0]);
    same(&hosts.pair.source.dump("claude_memory"), &hosts.pair.target.dump("claude_memory"));
    assert_eq!(history(hosts, true), history(hosts, false));
    // What is installed, as the environment's own Python sees it (pip says the same, and takes ten times as long).
    let installed = |home: &crate::support::Home| {
        let script =
            "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))";
        hosts.run(home, &home.join("projects/kage-bunshin/venv/bin/python"), &["-c", script])
    };
    assert_eq!(installed(source), installed(target));
    // The keys, in a shell that is new; and each file with its mode.
    let shell =
        hosts.run(target, Path::new("bash"), &["-c", ". ~/.bashrc; echo $EDITOR $API_KEYS $BASE_BRANCH"]);
    assert_eq!(shell, format!("vi {KEY} main\n"));
    for (path, mode) in [
        (".pgpass", 0o600),
        (".config/kbpack-env/keys/env.sh", 0o600),
        (".config/kbpack-env/keys/environment", 0o600),
        (".claude/hooks/guard.sh", 0o755),
        (".claude/settings.json", 0o644),
        (".config/systemd/user/kage-bunshin.service", 0o644),
    ] {
        assert_eq!(target.mode(path), mode, "{path}");
    }
    let pgpass = String::from_utf8(target.read(".pgpass")).unwrap();
    assert!(pgpass.starts_with("else:5432:d:u:p\n") && pgpass.contains(PASSWORD), "{pgpass}");
    // The API runs, out of the new environment, with the new keys.
    assert_eq!(hosts.health(KEY), "{\"status\": \"healthy\"}\n");
    assert_eq!(hosts.health("another"), "401\n");
}

/// What the target has of its own and no import may touch.
#[track_caller]
fn own_is_untouched(hosts: &Hosts) {
    let target = &hosts.pair.world.target;
    for own in [".claude/projects/own.jsonl", ".claude/debug/own.txt", ".claude/a.log"] {
        assert_eq!(target.read(own), b"of the target");
    }
    for stayed in
        [".claude/.credentials.json", ".claude/cache", ".claude/stats-cache.json", ".claude/debug/0001.txt"]
    {
        assert!(!target.join(stayed).exists(), "{stayed}");
    }
}

/// Everything that is in the bundle, opened with stock tools by the target's key.
fn plaintext(hosts: &Hosts, bundle: &str) -> String {
    let folder = hosts.pair.world.path("opened");
    fs::create_dir_all(&folder).unwrap();
    let script = "set -euo pipefail; tar -xf \"$1\" --strip-components=1; age -d -i \"$2\" keys/0.age > key; \
        for stream in s/*; do cat $stream/* | age -d -i key | zstd -dqc > \"plain-${stream#s/}\"; done; cat plain-*";
    let identity = hosts.pair.world.target.join(".config/kbpack/identity.txt");
    let mut open = Command::new("bash");
    open.args(["-c", script, "bash", bundle]).arg(identity).current_dir(&folder);
    let open = Run::of(&mut open).ok();
    fs::remove_dir_all(folder).unwrap();
    String::from_utf8_lossy(&open.stdout).into_owned()
}

fn base64(text: &str) -> String {
    Run::with_input(Command::new("base64").arg("-w0"), text.as_bytes()).ok().text()
}

#[test]
fn three_commands_move_a_server_and_it_runs() {
    let hosts = Hosts::new();
    let (source, target) = (&hosts.pair.world.source, &hosts.pair.world.target);

    // No export while a task runs.
    hosts.pair.source.sql("claude_memory", "UPDATE tasks SET status = 'running' WHERE config->>'n' = '1'");
    let busy = hosts.pair.world.path("busy.kbp");
    let args = ["export", "-r", &hosts.pair.world.recipient, "-o", busy.to_str().unwrap()];
    hosts.kbpack(source, &args).fails(8, "refuse-when");
    hosts.pair.source.sql("claude_memory", "UPDATE tasks SET status = 'pending' WHERE config->>'n' = '1'");

    let bundle = hosts.carry("first");
    let plain = plaintext(&hosts, &bundle);
    for inside in [&base64(KEY)[..], "lesson 3000", "uvicorn api.main:app"] {
        assert!(plain.contains(inside), "{inside}");
    }
    // Values stand there in base64, whose digits depend on where in a file they begin.
    let login = String::from_utf8(source.read(".claude/.credentials.json")).unwrap();
    for secret in [TOKEN, "accessToken", &base64(&login)[..20]] {
        assert!(!plain.contains(secret), "{secret}");
    }

    // A signer who may have nothing run here can use the preset, too.
    hosts.trust(&[]);
    let plan = hosts.kbpack(target, &["import", &bundle, "--dry-run"]).ok().text();
    assert!(
        plan.contains("its imports will not be tried") && plan.contains("warning: it will not be run"),
        "{plan}"
    );
    hosts.trust(&["--hooks"]);
    // The target has no password of that role: it comes with the bundle.
    let said = hosts.import(&bundle, &[]).ok().stderr;
    for line in [
        "~/.claude/.credentials.json (reissue): it",
        "todo: run `claude` there, and log in",
        "✓ as many tasks as on the source",
        "✓ the orchestrator's keys are set",
        "✓ the API is healthy",
        "✓ the API takes a task",
        "import uvicorn",
        "todo of the bundle, by hand: a firewall that lets nobody but SSH in",
        "      sudo ufw allow OpenSSH",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // What is done by now is not asked for any more.
    let (plan, report) = said.split_once("imported bundle").unwrap();
    let service = "todo of the bundle, by hand: the API as a service";
    assert!(plan.contains(service) && !report.contains(service) && !said.contains("by hand: git"), "{said}");
    arrived(&hosts);
    own_is_untouched(&hosts);
    assert_eq!(target.read(".cache/tasks"), b"a test task\n");
    hosts.kbpack(target, &["check"]).ok();
    let checked = hosts.kbpack(target, &["check", &bundle]).ok().text();
    assert!(checked.contains("✓ memory: rows") && checked.contains("✓ venv: as in the bundle"), "{checked}");
    hosts.pair.target.sql("claude_memory", "DELETE FROM memories WHERE id = 7");
    hosts.kbpack(target, &["check", &bundle]).fails(8, "1 of ");

    // Again: nothing to do, and nothing is stopped. A database alone is made anew each time.
    let asked = fs::read(hosts.runtime.join("asked")).unwrap();
    assert_eq!(changes(&hosts.import(&bundle, &["--json", "--skip", "memory"]).ok()), []);
    assert_eq!(fs::read(hosts.runtime.join("asked")).unwrap(), asked);
    hosts.import(&bundle, &["--only", "memory"]).ok();
    arrived(&hosts);

    // Things change on the source, and move again; and back.
    let (database, repository, settings) = (
        hosts.pair.target.dump("claude_memory"),
        history(&hosts, false),
        target.read(".claude/settings.json"),
    );
    source.write(".claude/settings.json", "{\"model\": \"new\"}\n");
    source.write("projects/kage-bunshin/README.md", "# changed\n");
    hosts.commit("third");
    hosts.pair.source.sql(
        "claude_memory",
        "DELETE FROM memories WHERE id <= 500; INSERT INTO tasks (description) VALUES ('new')",
    );
    let second = hosts.carry("second");
    hosts.import(&second, &[]).ok();
    arrived(&hosts);
    hosts.kbpack(target, &["rollback", "--yes"]).ok();
    same(&hosts.pair.target.dump("claude_memory"), &database);
    assert_eq!(history(&hosts, false), repository);
    assert_eq!(target.read(".claude/settings.json"), settings);
    own_is_untouched(&hosts);
    assert_eq!(hosts.health(KEY), "{\"status\": \"healthy\"}\n");

    // The same, one component after the other.
    let all = ["claude-config", "keys", "memory", "orchestrator", "service", "venv"];
    let plan = |bundle: &str| changes(&hosts.kbpack(target, &["import", bundle, "--dry-run", "--json"]).ok());
    for component in all {
        let said = hosts.import(&second, &["--only", component]).ok().stderr;
        // What is left out is not compared with the source.
        let compared = said.contains("✓ as many tasks as on the source");
        assert!(compared == (component == "memory"), "{component}: {said}");
        let left = plan(&second);
        assert!(
            component == "memory" || left.iter().all(|(name, _)| name != component),
            "{component}: {left:?}"
        );
    }
    assert_eq!(plan(&second).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["memory"]);
    arrived(&hosts);
    own_is_untouched(&hosts);

    // As a new database, once an administrator has run what the plan prints.
    hosts.pair.target.sql("claude_memory", "DELETE FROM tasks WHERE description LIKE 'task 1%'");
    hosts.own("");
    let refused = hosts.import(&second, &["--only", "memory"]);
    let report = hosts.kbpack(target, &["import", &second, "--only", "memory", "--dry-run", "--json"]).json();
    refused.fails(8, "may not create databases");
    let findings = report["components"][0]["plan"]["findings"].as_array().unwrap().clone();
    for remedy in findings.iter().filter_map(|finding| finding["remedy"].as_str()) {
        println!("{remedy}");
        let sql = remedy.split_once("run: ").map(|(_, sql)| sql.split(';').next().unwrap());
        sql.iter().for_each(|sql| drop(hosts.pair.target.sql("postgres", sql)));
    }
    hosts.import(&second, &["--only", "memory"]).ok();
    arrived(&hosts);
    assert_eq!(hosts.pair.target.databases(), ["claude_memory"]);
}
