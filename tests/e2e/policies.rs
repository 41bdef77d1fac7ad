//! Secrets that do not travel: asked for, fetched, made anew, left where they are.

use crate::support::{snapshot_but_state, Home, Run, World, KBPACK};
use crate::terminal::Terminal;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What only the source knows, and no bundle may have.
const OF_THE_SOURCE: [&str; 3] =
    ["tok-source-0123456789", "login-source-0123456789", "machine-source-0123456789"];
/// What somebody gives on the target.
const GIVEN: &str = "tok-target-9876543210";

const PROFILE: &str = r#"
[bundle]
name = "small"

[component.app]
kind = "files"
path = "~/app"

[component.keys]
kind = "secrets"
env = [
    { file = "~/.bashrc", names = ["API_KEY"] },
    { file = "~/.bashrc", names = ["TOKEN"], policy = "prompt" },
]
files = [
    { path = "~/app/login.json", policy = "reissue", how = "claude login" },
    { path = "~/app/machine-id", policy = "host-bound" },
]
"#;

/// `$FETCHED` is what a command prints.
fn with_command(argv: &str) -> String {
    let copied = r#"env = { file = "~/.bashrc", names = ["API_KEY"] }"#;
    let fetched =
        format!(r#"{{ file = "~/.bashrc", names = ["FETCHED"], policy = {{ command = {argv} }} }}"#);
    format!("[component.keys]\nkind = \"secrets\"\nenv = [{}, {fetched}]\n", &copied["env = ".len()..])
}

fn furnish(home: &Home) {
    let [token, login, machine] = OF_THE_SOURCE;
    home.write("app/settings.json", "{}\n");
    home.write("app/login.json", format!("{{\"token\": \"{login}\"}}\n"));
    home.write("app/machine-id", machine);
    home.write(".bashrc", format!("export API_KEY='sk-demo-0123456789'\nexport TOKEN='{token}'\n"));
    home.chmod(".bashrc", 0o600);
    home.profile(PROFILE);
}

fn world() -> World {
    let world = World::new();
    furnish(&world.source);
    world
}

fn env_sh(home: &Home) -> String {
    String::from_utf8(home.read(".config/kbpack-env/keys/env.sh")).unwrap()
}

/// Everything below `dir` that contains `text`.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let files =
        walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file());
    let holds = |path: &Path| fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    files.filter(|e| holds(e.path())).map(|e| e.path().display().to_string()).collect()
}

/// An import where nobody can be asked.
fn alone(world: &World, bundle: &Path, more: &[&str]) -> Run {
    let args = [&["import", bundle.to_str().unwrap()], more].concat();
    Run::of(&mut world.target.command_alone(&args))
}

#[test]
fn what_is_not_copied_is_nowhere_in_the_bundle() {
    let world = world();
    let survey = world.source.kbpack(&["export", "--dry-run"]).ok().text();
    assert!(
        survey.contains("note: $TOKEN in ~/.bashrc (prompt) is not packed: it is asked for on the target")
    );
    let bundle = world.export("b.kbp");
    let place = bundle.to_str().unwrap();
    let shown = world.target.kbpack(&["inspect", place]).ok().text();
    for line in [
        "without $TOKEN in ~/.bashrc (prompt): it is asked for on the target",
        "without ~/app/login.json (reissue): it is made anew on the target: claude login",
        "without ~/app/machine-id (host-bound): it stays on its machine",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let document = world.target.kbpack(&["inspect", place, "--json"]).ok().json();
    assert_eq!(document["not_packed"]["keys"][0]["key"], "TOKEN");
    let files = world.target.kbpack(&["inspect", place, "--files"]).ok().text();
    assert!(!files.contains("  login.json") && !files.contains("  machine-id"), "{files}");
    assert!(files.contains("~/app/login.json (reissue: not in the bundle)"), "{files}");

    let out = world.path("out");
    for component in ["app", "keys"] {
        world.target.kbpack(&["extract", place, component, "-C", out.to_str().unwrap()]).ok();
    }
    assert!(out.join("keys/values").exists() && out.join("app/index").exists());
    for secret in OF_THE_SOURCE {
        assert_eq!(holding(&out, secret), [""; 0]);
    }
}

#[test]
fn what_is_not_copied_is_searched_for_where_it_does_not_belong() {
    let world = world();
    for (n, secret) in OF_THE_SOURCE.iter().enumerate() {
        world.source.write("app/settings.json", format!("{{\"copy\": \"{secret}\"}}\n"));
        let out = world.path(&format!("{n}.kbp"));
        let export = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
        let run = world.source.kbpack(&[&export[..], &["--strict-secrets"]].concat());
        run.fails(6, "copies of secrets stand outside the secrets components: 1");
        let run = world.source.kbpack(&export).ok();
        assert!(run.stderr.contains("settings.json in 'app' holds a copy of "), "{}", run.stderr);
    }
}

#[test]
fn a_person_is_asked_once_and_after_the_plan() {
    let world = world();
    let bundle = world.export("b.kbp");
    let before = snapshot_but_state(&world.target);
    let plan = alone(&world, &bundle, &["--dry-run"]).ok().text();
    assert!(plan.contains("not in the bundle: $TOKEN in ~/.bashrc (prompt): it is asked for"), "{plan}");
    let plan = alone(&world, &bundle, &["--dry-run", "--json"]).ok().json();
    assert_eq!(plan["components"][1]["plan"]["not_packed"][0]["key"], "TOKEN", "{plan}");

    let refused = alone(&world, &bundle, &["--yes"]);
    let refused = refused.fails(8, "no value for $TOKEN in ~/.bashrc: there is no terminal to ask at");
    assert!(refused.stderr.contains("TOKEN=... in a file (--secrets-file FILE)"), "{}", refused.stderr);
    alone(&world, &bundle, &["--yes", "--json"]).fails(8, "with --json nobody is asked");
    assert_eq!(snapshot_but_state(&world.target), before);

    let line = format!("$KBPACK import {}", bundle.display());
    let terminal = Terminal::start(&world.target, &line, |_| {});
    let run = terminal.talk(&[("Import this? [y/N] ", "y"), ("Value of $TOKEN in ~/.bashrc: ", GIVEN)]);
    assert_eq!(run.code, 0, "{}", run.text());
    assert!(!run.text().contains(GIVEN), "{}", run.text());
    assert!(env_sh(&world.target).contains(&format!("export TOKEN='{GIVEN}'\n")));

    // What is there stays: nobody need be there for the next import, or give it another value beforehand.
    let again = alone(&world, &bundle, &["--yes"]).ok();
    assert!(again.stderr.contains("(prompt): it is here, and stays as it is"), "{}", again.stderr);
    assert!(again.stderr.contains("0 added, 0 changed"), "{}", again.stderr);
    let declined = Terminal::start(&world.target, &line, |_| {}).talk(&[("Import this? [y/N] ", "n")]);
    assert_eq!(declined.code, 2);
}

#[test]
fn a_file_or_a_descriptor_answers_for_a_person() {
    let world = world();
    let bundle = world.export("b.kbp");
    let target = &world.target;
    let file = target.write("given.env", format!("# for b.kbp\nTOKEN='{GIVEN}'\nUNUSED=1\n"));
    let options = ["--yes", "-v", "--secrets-file", file.to_str().unwrap()];
    target.chmod("given.env", 0o640);
    alone(&world, &bundle, &options).fails(8, "given.env: others on this machine may read or change it");
    target.chmod("given.env", 0o600);
    let run = alone(&world, &bundle, &options).ok();
    assert!(run.stderr.contains("(prompt): it is taken from what was given"), "{}", run.stderr);
    assert!(env_sh(target).contains(GIVEN));
    assert!(!run.stderr.contains(GIVEN), "{}", run.stderr);
    for kept in ["logs", "history"] {
        assert_eq!(holding(&target.join(".local/state/kbpack").join(kept), GIVEN), [""; 0]);
    }
    target.write("given.env", format!("TOKEN='{GIVEN}'\n{GIVEN}\n"));
    let run =
        alone(&world, &bundle, &options).fails(2, "given.env, line 2: neither NAME=value nor a comment");
    assert!(!run.stderr.contains(GIVEN), "{}", run.stderr);

    // Passwords and whole files have names, too, which the plan tells.
    world.source.profile(
        "[component.more]\nkind = \"secrets\"\npgpass = { lines = [\"localhost:1:db:me\"], policy = \"prompt\" }\n\
         files = [{ path = \"~/.app/key.pem\", policy = \"prompt\" }]\n",
    );
    let more = world.export("more.kbp");
    let plan = alone(&world, &more, &["--dry-run", "--json"]).ok().json();
    let keys = plan["components"][0]["plan"]["not_packed"].as_array().unwrap().iter().map(|n| &n["key"]);
    assert_eq!(keys.collect::<Vec<_>>(), ["PGPASS_localhost_1_db_me", "FILE_app_key_pem"]);
    target.write("given.env", "PGPASS_localhost_1_db_me='p:w'\nFILE_app_key_pem='-----BEGIN-----\nx\n'\n");
    alone(&world, &more, &["--yes", "--accept-new", "--secrets-file", "given.env"]).ok();
    assert_eq!(target.read(".pgpass"), b"localhost:1:db:me:p\\:w\n");
    assert_eq!(target.read(".app/key.pem"), b"-----BEGIN-----\nx\n");
    assert_eq!(target.mode(".app/key.pem"), 0o600);

    let by_descriptor = |words: &str, number: u8| {
        let line = format!(
            "KBPACK_SECRETS_FD={number} exec {KBPACK} import {} --yes 3< <(printf %s \"{words}\")",
            bundle.display()
        );
        let mut bash = Command::new("setsid");
        bash.args(["--wait", "bash", "-c", &line]).env_clear().env("HOME", &target.path);
        Run::of(bash.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(&target.path))
    };
    by_descriptor("TOKEN=another-one", 3).ok();
    assert!(env_sh(target).contains("export TOKEN='another-one'\n"));
    by_descriptor("TOKEN=x", 9).fails(2, "KBPACK_SECRETS_FD is not the number of a file descriptor");
}

#[test]
fn a_command_needs_the_word_of_the_target() {
    let world = world();
    world.source.profile(&with_command(r#"["./vault", "get", "api key"]"#));
    let bundle = world.export("b.kbp");
    world.target.write("vault", "#!/bin/sh\necho \"fetched-$2\"\n");
    world.target.chmod("vault", 0o755);
    let before = snapshot_but_state(&world.target);
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run"]);
    assert!(plan
        .text()
        .contains("will be able to run: ./vault get 'api key' (once, to fetch $FETCHED in ~/.bashrc)"));
    let refused =
        plan.fails(8, "the bundle wants to run './vault' here, and its signer may not have commands run");
    let key = world.public_key().split(' ').take(2).collect::<Vec<_>>().join(" ");
    let todo =
        format!("kbpack trust add source '{key}' --hooks; or name the command in this machine's own profile");
    assert!(refused.stderr.contains(&todo), "{}", refused.stderr);
    world.import(&bundle, &[]).fails(8, "the bundle wants to run './vault' here");
    assert_eq!(snapshot_but_state(&world.target), before);

    // The signer may.
    world.target.kbpack(&["trust", "add", "source", &world.public_key(), "--hooks"]).ok();
    let trace = world.path("trace");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-v",
        "-s",
        "4096",
        "-e",
        "trace=execve",
        "-o",
        trace.to_str().unwrap(),
        KBPACK,
    ]);
    strace
        .args(["import", bundle.to_str().unwrap(), "--yes", "-v"])
        .env_clear()
        .env("HOME", &world.target.path);
    strace.env("PATH", std::env::var_os("PATH").unwrap()).env("LANG", "C").env("ELSE", "not-for-children");
    let run = Run::of(strace.current_dir(&world.target.path)).ok();
    assert!(env_sh(&world.target).contains("export FETCHED='fetched-api key'\n"));
    let trace = fs::read_to_string(trace).unwrap();
    let vault = trace.lines().find(|line| line.contains("\"./vault\"") && line.contains("= 0")).unwrap();
    assert!(vault.contains("HOME=") && !vault.contains("ELSE="), "{vault}");
    // The fresh shell of the check hands its variables to one `env`, as it is meant to.
    let children: String = trace.lines().filter(|line| !line.contains("[\"/usr/bin/env\"")).collect();
    for text in [&children, &run.stderr] {
        assert!(!text.contains("fetched-api") && !text.contains("sk-demo-0123456789"), "{text}");
    }
    for kept in ["logs", "history"] {
        assert_eq!(holding(&world.target.join(".local/state/kbpack").join(kept), "fetched-api"), [""; 0]);
    }

    // A change of what it prints comes with the next import.
    world.target.write("vault", "#!/bin/sh\necho rotated\n");
    world.import(&bundle, &[]).ok();
    assert!(env_sh(&world.target).contains("export FETCHED='rotated'\n"));
}

#[test]
fn a_targets_own_command_and_one_that_fails() {
    let world = world();
    world.source.profile(&with_command(r#"["vault", "get"]"#));
    let bundle = world.export("b.kbp");
    let own = |argv: &str| world.target.profile(&with_command(argv));
    own(r#"["printf", "own-value\n"]"#);
    world.import(&bundle, &["--no-backup"]).ok();
    assert!(env_sh(&world.target).contains("export FETCHED='own-value'\n"));

    let before = snapshot_but_state(&world.target);
    own(r#"["sh", "-c", "echo first >&2; printf 'the vault is \\033[31msealed' >&2; exit 4"]"#);
    let unchanged = snapshot_but_state(&world.target);
    let run = world.import(&bundle, &[]);
    let run = run.fails(8, "sh ended with exit status: 4, its last line: the vault is \\u{1b}[31msealed");
    assert!(run.stderr.contains("nothing was changed"), "{}", run.stderr);
    assert_eq!(snapshot_but_state(&world.target), unchanged);
    own(r#"["no-such-vault"]"#);
    world.import(&bundle, &[]).fails(8, "no-such-vault: the program was not found");
    own(r#"["true"]"#);
    world.import(&bundle, &[]).fails(8, "$FETCHED in ~/.bashrc cannot be fetched: true printed nothing");
    own(r#"["printf", "own-value\n"]"#);
    assert_eq!(snapshot_but_state(&world.target).len(), before.len());
}

/// It, and what it started.
#[test]
fn a_command_that_hangs_is_stopped() {
    // It takes the minute that a command has.
    if std::env::var_os("KBPACK_CAMPAIGN").is_none() {
        return;
    }
    let world = world();
    let bundle = world.export("b.kbp");
    let late = world.path("late");
    let script = format!(r#"["sh", "-c", "(sleep 70; touch {}) & sleep 500"]"#, late.display());
    let token =
        format!(r#"env = {{ file = "~/.bashrc", names = ["TOKEN"], policy = {{ command = {script} }} }}"#);
    world.target.profile(&format!("[component.keys]\nkind = \"secrets\"\n{token}\n"));
    let before = snapshot_but_state(&world.target);
    let start = Instant::now();
    world.import(&bundle, &[]).fails(8, "sh did not finish within 60 s and was stopped");
    assert!(start.elapsed() < Duration::from_secs(65));
    assert_eq!(snapshot_but_state(&world.target), before);
    std::thread::sleep(Duration::from_secs(15));
    assert!(!late.exists());
}

#[test]
fn what_is_made_anew_is_left_alone_and_what_is_missing_is_named() {
    let world = world();
    let bundle = world.export("b.kbp");
    world.target.write("given.env", format!("TOKEN={GIVEN}\n"));
    world.target.chmod("given.env", 0o600);
    let run = alone(&world, &bundle, &["--yes", "--secrets-file", "given.env"]).ok();
    let wanted = "    – ~/app/login.json (reissue): it is not here, and has to be made anew\n      todo: claude login\n";
    assert!(run.stderr.contains(wanted), "{}", run.stderr);
    assert!(
        run.stderr.contains("~/app/machine-id (host-bound): it stays where it came from"),
        "{}",
        run.stderr
    );
    assert!(!world.target.join("app/login.json").exists() && !world.target.join("app/machine-id").exists());

    world.target.write("app/login.json", "the target's own\n");
    world.target.chmod("app/login.json", 0o640);
    let import = alone(&world, &bundle, &["--yes", "--json"]).ok().json();
    assert_eq!(
        import["components"][1]["plan"]["not_packed"][1]["outcome"], "is here, and stays as it is",
        "{import}"
    );
    // Also where the folder's component removes what the bundle does not have.
    world.source.profile(&PROFILE.replace("path = \"~/app\"", "path = \"~/app\"\nmode = \"mirror\""));
    let mirror = world.export("mirror.kbp");
    world.target.write("app/extra", "goes");
    alone(&world, &mirror, &["--yes"]).ok();
    assert!(!world.target.join("app/extra").exists());
    assert_eq!(world.target.read("app/login.json"), b"the target's own\n");
    assert_eq!(world.target.mode("app/login.json"), 0o640);
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/login.json"), b"the target's own\n");
}

#[test]
fn a_target_may_say_otherwise() {
    let world = world();
    let bundle = world.export("b.kbp");
    let keys = |more: &str| world.target.profile(&format!("[component.keys]\nkind = \"secrets\"\n{more}\n"));
    keys(r#"env = { file = "~/.bashrc", names = ["TOKEN"], policy = "copy" }"#);
    world.import(&bundle, &[]).fails(2, "the bundle does not bring $TOKEN in ~/.bashrc");
    keys(r#"env = { file = "~/.bashrc", names = ["TOKEN", "API_KEY"], policy = "host-bound" }"#);
    let run = alone(&world, &bundle, &["--yes"]).ok();
    assert!(run.stderr.contains("$API_KEY in ~/.bashrc (host-bound)"), "{}", run.stderr);
    assert!(!world.target.join(".bashrc").exists() && !world.target.join(".config/kbpack-env").exists());
}

/// What the bundle does not bring is no difference to it: an import asks for it. What it brings is one.
#[test]
fn a_check_does_not_count_what_an_import_asks_for() {
    let world = world();
    let bundle = world.export("a.kbp");
    let bundle = bundle.to_str().unwrap();
    world.target.write("given.env", format!("TOKEN={GIVEN}\n"));
    world.target.chmod("given.env", 0o600);
    world.target.kbpack(&["import", bundle, "--yes", "--secrets-file", "given.env"]).ok();
    let whole = world.target.kbpack(&["check", bundle]).ok().text();
    assert!(!whole.contains("skipped"), "{whole}");

    let file = ".config/kbpack-env/keys/env.sh";
    let without: String = env_sh(&world.target)
        .lines()
        .filter(|line| !line.contains("TOKEN"))
        .map(|line| format!("{line}\n"))
        .collect();
    world.target.write(file, &without);
    let said = world.target.kbpack(&["check", bundle]).ok().text();
    assert!(
        said.contains("skipped: not in the bundle: an import asks for it, or fetches it ($TOKEN"),
        "{said}"
    );
    world.target.write(file, without.replace("sk-demo-0123456789", "sk-demo-other"));
    let run = world.target.kbpack(&["check", bundle]);
    assert_eq!(run.code, 8, "{}", run.text());
    assert!(run.text().contains("an import would change 1, the first is $API_KEY"), "{}", run.text());
}
