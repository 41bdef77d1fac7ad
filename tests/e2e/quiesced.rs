//! What was quiesced resumes, whatever comes between: signals, kills, an undo that fails.

use crate::crash::copy;
use crate::hooks::{hook, Stage};
use crate::support::{Run, KBPACK, PROFILE};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts `command`, and interrupts it when the trace has `word` in it.
fn interrupted_at(stage: &Stage, command: &mut Command, word: &str) -> (Option<i32>, Vec<String>) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !fs::read_to_string(&stage.trace).unwrap().contains(word) {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {word}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let started = Instant::now();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect();
    let code = child.wait().unwrap().code();
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    (code, lines)
}

#[test]
fn a_signal_in_the_quiet_time_resumes() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    let then_sleep = |at: &str| hook(at, &format!("{}; sleep 600", stage.says(at)), "timeout = 600");
    let resume = hook("resume", &stage.says("resume"), "");
    for (hooks, at, code, then) in [
        (then_sleep("quiesce"), "quiesce", 1, &["quiesce", "resume"][..]),
        (then_sleep("after-commit"), "after-commit", 9, &["after-commit", "resume"]),
    ] {
        let own = stage.own(&format!("{hooks}{resume}"));
        let mut import = stage.world.target.command(&["import", &bundle, "--yes", "--profile", &own]);
        let (ended, lines) = interrupted_at(&stage, &mut import, at);
        assert_eq!(ended, Some(code), "{lines:?}");
        assert_eq!(stage.words(), then);
        assert_eq!(stage.before(), before);
        stage.is_over();
    }

    // On the source: in a hook, and in what comes after it.
    let recorded = format!(
        "[[check]]\nname = \"slow\"\ntimeout = 600\nversion = {{ run = [\"sh\", \"-c\", '''{}; sleep 600'''], equal-to-source = true }}\n",
        stage.says("slow")
    );
    for (more, at, then) in [
        (then_sleep("quiesce"), "quiesce", &["quiesce", "resume"][..]),
        (
            format!("{}{recorded}", hook("quiesce", &stage.says("quiesce"), "")),
            "slow",
            &["quiesce", "slow", "resume"],
        ),
    ] {
        stage.world.source.profile(&format!("{PROFILE}{more}{resume}"));
        let out = stage.world.path("refused.kbp");
        let export = ["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()];
        let (ended, lines) = interrupted_at(&stage, &mut stage.world.source.command(&export), at);
        assert_eq!(ended, Some(1), "{lines:?}");
        assert!(lines.iter().any(|line| line == "error: interrupted by a signal"), "{lines:?}");
        assert_eq!(stage.words(), then);
        assert!(!out.exists());
    }
}

#[test]
fn a_signal_while_a_tree_is_read_resumes_too() {
    let stage = Stage::new();
    // A moment after the hook, when the first directory is read, which takes its time.
    let signal = format!("{}; (sleep 1; kill -INT $PPID) >/dev/null 2>&1 &", stage.says("quiesce"));
    let hooks = [hook("quiesce", &signal, ""), hook("resume", &stage.says("resume"), "")].concat();
    stage.world.source.profile(&format!("{PROFILE}{hooks}"));
    let out = stage.world.path("refused.kbp");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getdents64"]);
    command.args(["-e", "inject=getdents64:delay_enter=4000000:when=1", "-P"]);
    command.arg(stage.world.source.join("app")).arg(KBPACK);
    command.args(["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()]);
    command.env_clear().env("HOME", &stage.world.source.path).env("PATH", std::env::var_os("PATH").unwrap());
    let run = Run::of(&mut command);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("interrupted by a signal"), "{}", run.stderr);
    assert_eq!(stage.words(), ["quiesce", "resume"]);
    assert!(!out.exists());
}

#[test]
fn after_a_kill_recovery_resumes_at_least_once() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    let pristine = stage.world.path("pristine");
    copy(&stage.world.target.path, &pristine);
    // The first time, kbpack is killed in it.
    let mark = stage.world.path("mark");
    let kill = |word: &str| {
        format!("{}; test -e {1} || {{ touch {1}; kill -9 $PPID; }}", stage.says(word), mark.display())
    };
    let check = |line: &str| {
        format!("[[check]]\nname = \"c\"\ncommand = {{ run = [\"sh\", \"-c\", '''{line}'''] }}\n")
    };
    let names = ["quiesce", "resume", "after-commit", "rollback"];
    for (at, until, then) in [
        ("quiesce", &["quiesce"][..], &["resume"][..]),
        ("after-commit", &["quiesce", "after-commit"], &["quiesce", "rollback", "resume"]),
        ("resume", &["quiesce", "after-commit", "resume"], &["quiesce", "rollback", "resume"]),
        ("check", &["quiesce", "after-commit", "resume", "check"], &["quiesce", "rollback", "resume"]),
    ] {
        let _ = fs::remove_file(&mark);
        copy(&pristine, &stage.world.target.path);
        let line = |name: &str| if name == at { kill(name) } else { stage.says(name) };
        let hooks = names.map(|name| hook(name, &line(name), "")).concat() + &check(&line("check"));
        assert_eq!(stage.import(&bundle, &hooks).code, -1, "{at}");
        assert_eq!(stage.words(), until, "{at}");
        let run = stage.recover();
        assert_eq!(stage.words(), then, "{at}: {}", run.stderr);
        assert_eq!(stage.before(), before, "{at}");
        let words = if at == "quiesce" { "its resume hooks were run" } else { "undone" };
        assert!(run.stderr.contains(words), "{at}: {}", run.stderr);
        stage.is_over();
        assert_eq!(stage.words(), [""; 0], "{at}");
        // What follows finds nothing in its way.
        stage.import(&bundle, &hooks).ok();
        stage.said();
    }

    // The next import does what recovery would.
    copy(&pristine, &stage.world.target.path);
    let _ = fs::remove_file(&mark);
    let own =
        names.map(|name| hook(name, &if name == "quiesce" { kill(name) } else { stage.says(name) }, ""));
    stage.import(&bundle, &own.concat());
    assert_eq!(stage.words(), ["quiesce"]);
    stage.import(&bundle, "").ok();
    assert_eq!(stage.words(), ["resume"]);
}

#[test]
fn after_a_kill_on_the_source_the_next_export_or_recovery_resumes() {
    let stage = Stage::new();
    let hooks = [
        hook("quiesce", &format!("{}; kill -9 $PPID", stage.says("quiesce")), ""),
        hook("resume", &stage.says("resume"), ""),
    ];
    let source = &stage.world.source;
    source.profile(&format!("{PROFILE}{}", hooks.concat()));
    let out = stage.world.path("b.kbp");
    let export = ["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()];
    assert_eq!(source.kbpack(&export).code, -1);
    let run = source.kbpack(&["recover"]).ok();
    assert!(run.stderr.contains("its resume hooks were run"), "{}", run.stderr);
    assert_eq!(stage.words(), ["quiesce", "resume"]);

    assert_eq!(source.kbpack(&export).code, -1);
    stage.said();
    source.profile(PROFILE);
    let run = source.kbpack(&export).ok();
    assert!(run.stderr.contains("was cut off; its resume hooks were run"), "{}", run.stderr);
    assert_eq!(stage.words(), ["resume"]);
    assert_eq!(source.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
}

#[test]
fn where_recovery_is_needed_nobody_goes_on() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    // What was replaced is taken away, so it cannot be put back.
    let away = stage.world.path("away");
    fs::create_dir(&away).unwrap();
    let hide = hook("after-commit", &format!("mv .kbpack-stage-* {}; exit 1", away.display()), "");
    let run =
        stage.import(&bundle, &format!("{}{hide}", stage.all())).fails(10, "putting things back failed too");
    assert!(run.stderr.contains("what was quiesced stays so until `kbpack recover`"), "{}", run.stderr);
    assert_eq!(stage.words(), ["quiesce", "after-commit"]);
    stage.world.target.kbpack(&["recover"]).fails(10, "undoing it failed");
    assert_eq!(stage.words(), ["quiesce"]);
    let side = fs::read_dir(&away).unwrap().next().unwrap().unwrap();
    fs::rename(side.path(), stage.world.target.join(side.file_name().to_str().unwrap())).unwrap();
    stage.recover();
    assert_eq!(stage.words(), ["quiesce", "rollback", "resume"]);
    assert_eq!(stage.before(), before);
    stage.is_over();
}

#[test]
fn a_note_that_is_damaged_is_named() {
    let stage = Stage::new();
    let note = stage.world.target.write(".local/state/kbpack/hooks/0123456789abcdef.json", "{}");
    let run = stage.world.target.kbpack(&["recover"]).fails(1, "0123456789abcdef.json: damaged");
    assert!(
        run.stderr.contains(" todo: start by hand what was stopped, and remove that file\n"),
        "{}",
        run.stderr
    );
    fs::remove_file(note).unwrap();
    stage.is_over();
}

#[test]
fn a_signal_while_the_backup_is_made_resumes_too() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    // A moment after the hook, when the backup is opened, which takes its time. (The first look there is for leftovers.)
    let signal = format!("{}; (sleep 1; kill -INT $PPID) >/dev/null 2>&1 &", stage.says("quiesce"));
    let own = stage.own(&[hook("quiesce", &signal, ""), hook("resume", &stage.says("resume"), "")].concat());
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat"]);
    command.args(["-e", "inject=openat:delay_enter=4000000:when=2", "-P"]);
    command.arg(stage.world.target.join(".local/state/kbpack/backups")).arg(KBPACK);
    command.args(["import", &bundle, "--yes", "--profile", &own]);
    command.env_clear().env("HOME", &stage.world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
    let run = Run::of(&mut command).fails(1, "interrupted by a signal");
    assert!(run.stderr.contains(" todo: nothing was changed; run it again\n"), "{}", run.stderr);
    // It did not wait for the end of the backup.
    assert!(
        run.stderr.contains("error: the backup of what would be replaced cannot be made: "),
        "{}",
        run.stderr
    );
    assert_eq!(stage.words(), ["quiesce", "resume"]);
    assert_eq!(stage.before(), before);
    stage.is_over();
}
