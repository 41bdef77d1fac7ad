//! The log of a run, and `-v`: what happened, and no secret.

use crate::crash::{injected, lived_in, strace};
use crate::support::{furnish, Home, World};
use base64::prelude::{Engine, BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use kbpack::base::digest::Digest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn logs(home: &Home) -> Vec<PathBuf> {
    let dir = home.join(".local/state/kbpack/logs");
    let mut logs: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

/// The text of the only log.
#[track_caller]
fn log(home: &Home) -> String {
    let logs = logs(home);
    assert_eq!(logs.len(), 1, "{logs:?}");
    fs::read_to_string(&logs[0]).unwrap()
}

/// A value as it stands, and in the forms in which it could slip out.
fn forms(value: &[u8]) -> Vec<String> {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![String::from_utf8_lossy(value).into_owned(), hex.to_uppercase(), hex];
    forms.extend([BASE64_STANDARD.encode(value), BASE64_URL_SAFE_NO_PAD.encode(value)]);
    forms.push(BASE64_STANDARD_NO_PAD.encode(value));
    forms.push(Digest::of(value).to_string()[..16].to_owned());
    forms
}

#[test]
fn it_says_what_was_done_and_when_and_so_does_the_terminal() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let bundle = world.export("b.kbp");
    let run = world.import(&bundle, &["-v"]).ok();
    let log = log(&world.target);
    let mode = |path: &str| world.target.mode(&format!(".local/state/kbpack/{path}"));
    assert_eq!(mode("logs"), 0o700);
    assert_eq!(logs(&world.target)[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let line = regex::Regex::new(
        r"^[0-9]{4}-[0-9-]{5}T[0-9:]{8}\.[0-9]{3}Z +[0-9]+\.[0-9]{3} (run|bundle|signer|profile|component|step|act|note|warning|took|outcome) [^ ].*$",
    );
    let line = line.unwrap();
    for text in log.lines() {
        assert!(line.is_match(text), "{text}");
    }
    let what: Vec<&str> = log.lines().map(|line| &line[35..]).collect();
    assert!(what[0].starts_with(&format!("run kbpack {} import, run ", env!("CARGO_PKG_VERSION"))), "{log}");
    for head in [
        format!("signer {}", world.fingerprint),
        format!("bundle {}", run_id(&world, &bundle)),
        "profile small, sequence ".to_owned(),
        "component app (files)".to_owned(),
        "component keys (secrets)".to_owned(),
    ] {
        assert!(what[..6].iter().any(|line| line.starts_with(&head)), "{head}: {log}");
    }
    let acts = ["app: replace settings.json", "app: put empty in place"].map(str::to_owned);
    let secret = |path: &str| format!("keys: replace {}", world.target.path.join(path).display());
    for act in acts.into_iter().chain([secret(".bashrc"), secret("app/credentials.json")]) {
        assert!(what.contains(&format!("act {act}").as_str()), "{act}: {log}");
        assert!(run.stderr.lines().any(|line| line.trim_start() == act), "{act}: {}", run.stderr);
    }
    for step in [
        "verifying",
        "planning",
        "unpacking app",
        "unpacking keys",
        "putting in place",
        "checking",
        "dropping what was replaced",
    ] {
        assert!(what.contains(&format!("step {step}").as_str()), "{step}: {log}");
        let took = |line: &str| line.contains(" s ") && line.ends_with(step);
        assert!(what.iter().any(|line| line.starts_with("took ") && took(line)), "{step}: {log}");
        assert!(run.stderr.lines().any(took), "{step}: {}", run.stderr);
    }
    assert_eq!(what.last(), Some(&"outcome imported"));
}

fn run_id(world: &World, bundle: &std::path::Path) -> String {
    let shown = world.target.kbpack(&["verify", bundle.to_str().unwrap(), "--json"]).ok().json();
    shown["id"].as_str().unwrap().to_owned()
}

#[test]
fn no_secret_is_in_it_in_any_form() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    world.source.write(".pgpass", "localhost:1:db:ada:pass-word-0123\n");
    world.source.chmod(".pgpass", 0o600);
    world.source.profile(
        "[component.keys]\nkind = \"secrets\"\nenv = { file = \"~/.bashrc\", names = [\"API_KEY\", \"MODE\"] }\n\
         pgpass = [\"localhost:1:db:ada\"]\nfiles = [{ path = \"~/app/credentials.json\", mode = \"600\" }]\n",
    );
    let bundle = world.export("b.kbp");
    // One that is undone, one that is recovered, and one that goes through.
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-v"];
    let undone = injected(&world.target, &args, "rename", 3, "error=EIO");
    let killed = injected(&world.target, &args, "rename", 3, "signal=SIGKILL");
    let run = world.target.kbpack(&args).ok();
    let mut shown = undone.stderr + &killed.stderr + &run.stderr + &run.text();
    for log in logs(&world.target) {
        shown += &fs::read_to_string(log).unwrap();
    }
    assert!(shown.contains("undone: ") && shown.contains("outcome imported"), "{shown}");
    let values: [&[u8]; 7] = [
        b"sk-demo-0123456789",
        b"pass-word-0123",
        b"tok-abcdef-012345",
        b"{\"token\": \"tok-abcdef-012345\"}\n",
        b"old-value-0123",
        b"{\"token\": \"old\"}\n",
        b"localhost:1:db:ada:pass-word-0123\n",
    ];
    let files =
        [".bashrc", ".pgpass", ".config/kbpack-env/keys/env.sh", ".config/kbpack-env/keys/environment"]
            .map(|path| world.target.read(path));
    for form in values.into_iter().chain(files.iter().map(Vec::as_slice)).flat_map(forms) {
        assert!(!shown.contains(&form), "{form} is in: {shown}");
    }
}

#[test]
fn the_last_line_says_what_became_of_it() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let bundle = world.export("b.kbp");
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    injected(&world.target, &args, "renameat2", 1, "signal=SIGINT").fails(9, "interrupted");
    let text = log(&world.target);
    let last = text.lines().last().unwrap();
    assert!(last.contains(" outcome undone: ") && last.contains("interrupted"), "{text}");
    assert!(text.contains(" step undoing\n"), "{text}");

    // One that is killed has no end. Its recovery adds that, and the import that did it says so without -v too.
    injected(&world.target, &args, "renameat2", 2, "signal=SIGKILL");
    let run = world.import(&bundle, &[]).ok();
    let told = run.stderr.lines().find(|line| line.starts_with("warning: recover: import "));
    assert!(
        told.is_some_and(|line| line.ends_with("undone; everything is as it was before it")),
        "{}",
        run.stderr
    );
    let recovered = logs(&world.target).into_iter().map(|log| fs::read_to_string(log).unwrap());
    let recovered = recovered.filter(|text| text.contains(" recover, run ")).collect::<Vec<_>>();
    assert_eq!(recovered.len(), 1, "{recovered:?}");
    assert!(recovered[0].contains(" import, run ") && recovered[0].ends_with(" outcome undone\n"));
    assert_eq!(logs(&world.target).len(), 3);
}

#[test]
fn what_comes_from_a_bundle_stays_on_its_line() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("app/a\n2026-01-01T00:00:00.000Z     0.000 outcome \u{1b}[31mforged\u{202e}", "x");
    fs::create_dir(world.target.join("app")).unwrap();
    world.import(&world.export("b.kbp"), &[]).ok();
    let log = log(&world.target);
    assert!(log.contains("act app: put a%0A2026") && !log.contains(['\u{1b}', '\u{202e}']), "{log}");
    assert!(log.ends_with(" outcome imported\n"), "{log}");
}

#[test]
fn nothing_is_logged_of_what_changes_nothing() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run"]).ok();
    world.target.kbpack(&["import", bundle.to_str().unwrap()]).fails(2, "nobody can be asked");
    assert!(!world.target.join(".local/state/kbpack/logs").exists());
}

#[test]
fn the_newest_hundred_are_kept() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    for n in 0..120u64 {
        let path = world.target.write(&format!(".local/state/kbpack/logs/{n:016x}.log"), "old");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000 + n);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    world.target.write(".local/state/kbpack/logs/mine.txt", "not a log");
    world.import(&bundle, &[]).ok();
    let left = logs(&world.target);
    assert_eq!(left.len(), 101);
    let is_left =
        |n: u64| left.contains(&world.target.join(&format!(".local/state/kbpack/logs/{n:016x}.log")));
    assert!(!is_left(20) && is_left(21) && is_left(119));
}

#[test]
fn one_that_cannot_be_written_is_a_warning() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.write(".local/state/kbpack/logs", "in the way");
    let run = world.import(&bundle, &[]).ok();
    assert_eq!(run.stderr.matches("the log of this run cannot be written").count(), 1, "{}", run.stderr);
}

#[test]
fn many_acts_are_few_writes() {
    let world = World::new();
    furnish(&world.source);
    for n in 0..1000 {
        world.source.write(&format!("app/many/{n}"), "x");
    }
    fs::create_dir_all(world.target.join("app/many")).unwrap();
    let bundle = world.export("b.kbp");
    let calls = world.path("calls");
    let options = ["-y", "-o", calls.to_str().unwrap(), "-e", "trace=write,fsync,fdatasync"];
    strace(&world.target, &options, &["import", bundle.to_str().unwrap(), "--yes", "-q"]).ok();
    let acts = log(&world.target).matches(" act app: put many/").count();
    assert_eq!(acts, 1000);
    let calls = fs::read_to_string(calls).unwrap();
    let to_log = calls.lines().filter(|line| line.contains("/logs/") && line.contains(".log>")).count();
    assert!((1..30).contains(&to_log), "{to_log}");
}
