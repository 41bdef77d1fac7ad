//! Hooks: when they run, what their failures mean, and for whom they run.

use crate::crash::lived_in;
use crate::support::{furnish, snapshot_but_times_of_folders, Run, World, PROFILE};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One `[[hook]]`: a shell line, and more keys.
pub fn hook(stage: &str, line: &str, more: &str) -> String {
    format!("[[hook]]\nstage = \"{stage}\"\nshell = true\nrun = ['''{line}''']\n{more}\n")
}

/// A source and a target that has all of it already, and all of it different.
pub struct Stage {
    pub world: World,
    /// Where hooks leave their words: outside of the homes, which must be as they were.
    pub trace: PathBuf,
}

impl Stage {
    pub fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        lived_in(&world.target);
        let trace = world.path("trace");
        fs::write(&trace, "").unwrap();
        Stage { world, trace }
    }

    /// A line that leaves `word`, and what the settings are at that moment.
    pub fn says(&self, word: &str) -> String {
        format!("echo \"{word} $(cat ~/app/settings.json)\" >> {}", self.trace.display())
    }

    /// Hooks of all stages, each of which leaves its name.
    pub fn all(&self) -> String {
        ["quiesce", "resume", "after-commit", "rollback"]
            .map(|stage| hook(stage, &self.says(stage), "where = \"target\""))
            .concat()
    }

    /// The bundle of a source without hooks.
    pub fn bundle(&self) -> String {
        self.world.export("b.kbp").to_str().unwrap().to_owned()
    }

    /// Imports with hooks of the target's own profile.
    pub fn import(&self, bundle: &str, hooks: &str) -> Run {
        self.world.target.kbpack(&["import", bundle, "--yes", "--profile", &self.own(hooks)])
    }

    /// A profile outside of the homes.
    pub fn own(&self, hooks: &str) -> String {
        let path = self.world.path("own.toml");
        fs::write(&path, hooks).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The words that were left since the last time.
    pub fn said(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.trace).unwrap();
        fs::write(&self.trace, "").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub fn words(&self) -> Vec<String> {
        self.said().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    pub fn before(&self) -> Vec<String> {
        snapshot_but_times_of_folders(&self.world.target)
    }

    /// Nothing is left that `recover` would have to end.
    #[track_caller]
    pub fn is_over(&self) {
        let hooks = self.world.target.join(".local/state/kbpack/hooks");
        assert!(fs::read_dir(hooks).is_ok_and(|mut notes| notes.next().is_none()));
        let run = self.world.target.kbpack(&["recover"]).ok();
        assert_eq!(run.stderr, "there is nothing to recover\n");
    }

    /// No hook was run, and none is remembered.
    #[track_caller]
    pub fn is_not_begun(&self) {
        assert_eq!(self.said(), [""; 0]);
        assert!(!self.world.target.join(".local/state/kbpack/hooks").exists());
    }

    pub fn recover(&self) -> Run {
        self.world.target.kbpack(&["recover"]).ok()
    }
}

const OLD: &str = "{\"a\": 0}";
const NEW: &str = "{\"a\": 1}";

#[test]
fn on_the_source_they_surround_what_is_packed() {
    let stage = Stage::new();
    let (source, target) = (&stage.world.source, &stage.world.target);
    let hooks = [
        hook("quiesce", "touch ~/app/quiet", "where = \"source\""),
        hook("resume", "rm ~/app/quiet", "where = \"source\""),
        // These are for the target.
        hook("quiesce", &stage.says("quiesce"), "where = \"target\""),
        hook("after-commit", &stage.says("after-commit"), ""),
        hook("rollback", &stage.says("rollback"), ""),
    ];
    source.profile(&format!("{PROFILE}{}", hooks.concat()));
    let plan = source.kbpack(&["export", "--dry-run"]).ok().text();
    assert!(plan.contains("hook 'quiesce' here: runs sh -c 'touch ~/app/quiet'\n"), "{plan}");
    assert!(plan.contains("hook 'after-commit' on the target: runs sh -c "), "{plan}");
    assert!(!source.join("app/quiet").exists());
    let bundle = stage.bundle();
    assert!(!source.join("app/quiet").exists());
    assert_eq!(stage.said(), [""; 0]);
    // It was there just while the tree was read.
    let listed = target.kbpack(&["inspect", &bundle, "--files"]).ok().text();
    assert!(listed.contains("  quiet\n"), "{listed}");
    let manifest = target.kbpack(&["inspect", &bundle, "--json"]).ok().json()["manifest"].clone();
    let stages = manifest["hooks"].as_array().unwrap().iter().map(|hook| hook["stage"].as_str().unwrap());
    assert_eq!(stages.collect::<Vec<_>>(), ["quiesce", "after-commit", "rollback"]);
    assert!(!manifest.to_string().contains("where"), "{manifest}");
}

#[test]
fn on_the_target_each_runs_at_its_place() {
    let stage = Stage::new();
    let target = &stage.world.target;
    let hooks = ["quiesce", "resume", "after-commit", "rollback"].map(|at| hook(at, &stage.says(at), ""));
    let check = format!(
        "[[check]]\nname = \"c\"\ncommand = {{ run = [\"sh\", \"-c\", '''{}'''] }}\n",
        stage.says("check")
    );
    stage.world.source.profile(&format!("{PROFILE}{}{check}", hooks.concat()));
    let bundle = stage.bundle();
    assert_eq!(stage.words(), ["quiesce", "resume"], "on the source");
    target.kbpack(&["trust", "add", "source", &stage.world.signer, "--hooks"]).ok();

    let plan = target.kbpack(&["import", &bundle, "--dry-run"]).ok().text();
    for at in ["quiesce", "resume", "after-commit", "rollback"] {
        assert!(plan.contains(&format!("hook '{at}' of the bundle")), "{plan}");
    }
    assert_eq!(stage.said(), [""; 0]);
    target.kbpack(&["import", &bundle, "--yes"]).ok();
    let both = |old: &[&str], new: &[&str]| -> Vec<String> {
        old.iter().map(|w| format!("{w} {OLD}")).chain(new.iter().map(|w| format!("{w} {NEW}"))).collect()
    };
    assert_eq!(stage.said(), both(&["quiesce"], &["after-commit", "resume", "check"]));
    stage.is_over();

    // Where nothing changes, nobody has to be quiet for it; its checks run.
    target.kbpack(&["import", &bundle, "--yes"]).ok();
    assert_eq!(stage.words(), ["check"]);
    let plan = target.kbpack(&["import", &bundle, "--dry-run"]).ok().text();
    assert!(plan.contains("nothing would change, so no hook is run"), "{plan}");

    // What surrounded the import surrounds its rollback.
    let plan = target.kbpack(&["rollback", "--dry-run"]).ok().text();
    assert!(plan.contains("hook 'rollback' of the bundle") && !plan.contains("after-commit"), "{plan}");
    target.kbpack(&["rollback", "--yes"]).ok();
    let expected = [format!("quiesce {NEW}"), format!("rollback {OLD}"), format!("resume {OLD}")];
    assert_eq!(stage.said(), expected);
    stage.is_over();
}

#[test]
fn a_rollback_runs_only_what_may_still_run() {
    let stage = Stage::new();
    let target = &stage.world.target;
    stage.world.source.profile(&format!("{PROFILE}{}", stage.all()));
    let bundle = stage.bundle();
    target.kbpack(&["trust", "add", "source", &stage.world.signer, "--hooks"]).ok();
    stage.import(&bundle, &hook("rollback", &stage.says("own"), "")).ok();
    stage.said();
    target.kbpack(&["trust", "remove", "source"]).ok();
    let run = target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(stage.words(), ["own"]);
    assert!(
        run.stderr.contains("not run: ") && run.stderr.contains("may no longer have commands"),
        "{}",
        run.stderr
    );
    // And none where they are not wanted: one that fails must not keep anybody from going back.
    stage.world.target.kbpack(&["trust", "add", "source", &stage.world.signer]).ok();
    stage
        .import(&bundle, &hook("quiesce", "test -e ~/app/mine.txt", ""))
        .fails(8, "(quiesce) and 3 other commands here, and its signer may not have commands run");
    target
        .kbpack(&[
            "import",
            &bundle,
            "--yes",
            "--no-hooks",
            "--profile",
            &stage.own(&hook("quiesce", "test -e ~/app/mine.txt", "")),
        ])
        .ok();
    fs::remove_file(target.join("app/mine.txt")).unwrap();
    target
        .kbpack(&["rollback", "--yes"])
        .fails(8, "the quiesce hook 'sh -c 'test -e ~/app/mine.txt'' failed");
    target.kbpack(&["rollback", "--yes", "--no-hooks"]).ok();
    assert_eq!(target.read("app/settings.json"), format!("{OLD}\n").as_bytes());
}

#[test]
fn a_quiesce_that_fails_stops_it_before_anything_is_done() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    let resume = hook("resume", &stage.says("resume"), "");
    for (broken, why) in [
        (hook("quiesce", "echo a; echo no >&2; exit 3", ""), "exit status 3: no"),
        (hook("quiesce", "sleep 60", "timeout = 1"), "within 1 s"),
        (hook("quiesce", "true", "directory = \"~/none\""), "there is no directory "),
        ("[[hook]]\nstage = \"quiesce\"\nrun = [\"no-such-program\"]\n".to_owned(), "was not found"),
    ] {
        let started = Instant::now();
        let run = stage.import(&bundle, &format!("{broken}{resume}")).fails(8, "the quiesce hook '");
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
        assert!(started.elapsed() < Duration::from_secs(30), "{why}");
        assert_eq!(stage.words(), ["resume"], "{why}");
        assert_eq!(stage.before(), before, "{why}");
        assert!(!stage.world.target.join(".local/state/kbpack/backups").exists(), "{why}");
        stage.is_over();

        // The same on the source.
        stage.world.source.profile(&format!("{PROFILE}{broken}{resume}"));
        let out = stage.world.path("refused.kbp");
        let export = ["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()];
        stage.world.source.kbpack(&export).fails(8, "the quiesce hook '");
        assert!(!out.exists());
        assert_eq!(stage.words(), ["resume"], "{why}");
    }
    // One that may fail does not.
    let may = hook("quiesce", "exit 3", "severity = \"warn\"");
    let run = stage.import(&bundle, &format!("{may}{resume}")).ok();
    assert!(
        run.stderr.contains("warning: hooks: the quiesce hook 'sh -c 'exit 3'' failed: exit status 3"),
        "{}",
        run.stderr
    );
    assert_eq!(stage.words(), ["resume"]);
}

#[test]
fn an_after_commit_that_fails_undoes_everything() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    for broken in
        [hook("after-commit", "echo why >&2; exit 1", ""), hook("after-commit", "sleep 60", "timeout = 1")]
    {
        let run = stage.import(&bundle, &format!("{}{broken}", stage.all()));
        let run = run.fails(9, "the after-commit hook '");
        assert!(run.stderr.contains("everything was put back"), "{}", run.stderr);
        // Nobody had resumed yet, so nobody was quiesced again.
        let expected = [
            format!("quiesce {OLD}"),
            format!("after-commit {NEW}"),
            format!("rollback {OLD}"),
            format!("resume {OLD}"),
        ];
        assert_eq!(stage.said(), expected);
        assert_eq!(stage.before(), before);
        stage.is_over();
    }
    let may = hook("after-commit", "exit 1", "severity = \"warn\"");
    let run = stage.import(&bundle, &may).ok();
    assert!(run.stderr.contains(" todo: run it by hand: sh -c 'exit 1'\n"), "{}", run.stderr);
}

#[test]
fn a_check_that_fails_finds_nobody_at_work_while_it_is_undone() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let before = stage.before();
    let check = "[[check]]\nname = \"never\"\nfile = { path = \"~/none\" }\n";
    stage.import(&bundle, &format!("{}{check}", stage.all())).fails(9, "the check 'never' failed");
    let expected = [
        format!("quiesce {OLD}"),
        format!("after-commit {NEW}"),
        format!("resume {NEW}"),
        format!("quiesce {NEW}"),
        format!("rollback {OLD}"),
        format!("resume {OLD}"),
    ];
    assert_eq!(stage.said(), expected);
    assert_eq!(stage.before(), before);
    stage.is_over();
}

#[test]
fn what_was_never_put_in_place_is_not_told_to_be_put_back() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    // It is changed behind the plan's back, so the commit finds something else than the plan.
    let edit = hook("quiesce", "echo edited > ~/app/settings.json", "");
    let run = stage.import(&bundle, &format!("{}{edit}", stage.all()));
    assert_ne!(run.code, 0);
    let words = stage.words();
    assert_eq!((words.first().unwrap().as_str(), words.last().unwrap().as_str()), ("quiesce", "resume"));
    assert!(!words.contains(&"after-commit".to_owned()), "{words:?}");
    assert_eq!(stage.world.target.read("app/settings.json"), b"edited\n");
    stage.is_over();
}

#[test]
fn what_cannot_resume_is_said_with_what_to_run() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let broken = "[[hook]]\nstage = \"resume\"\nrun = [\"sh\", \"-c\", \"echo 'no unit' >&2; exit 5\"]\n";
    let run = stage.import(&bundle, &format!("{broken}{}", hook("resume", &stage.says("second"), ""))).ok();
    let said = "warning: hooks: the resume hook 'sh -c 'echo '\\''no unit'\\'' >&2; exit 5'' failed: exit status 5: no unit\n";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(run.stderr.contains(" todo: run it by hand: sh -c 'echo "), "{}", run.stderr);
    assert_eq!(stage.words(), ["second"], "one that fails keeps no other from its turn");
    stage.is_over();

    // Nor does one of a rollback make it any worse.
    let broken = [hook("rollback", "exit 1", ""), hook("rollback", &stage.says("second"), "")].concat();
    let check = "[[check]]\nname = \"never\"\nfile = { path = \"~/none\" }\n";
    lived_in(&stage.world.target);
    let run = stage.import(&bundle, &format!("{broken}{check}")).fails(9, "the check 'never' failed");
    assert!(
        run.stderr.contains("warning: hooks: the rollback hook 'sh -c 'exit 1'' failed"),
        "{}",
        run.stderr
    );
    assert_eq!(stage.words(), ["second"]);

    stage.world.source.profile(&format!("{PROFILE}{}", hook("resume", "exit 1", "where = \"source\"")));
    let out = stage.world.path("out.kbp");
    let run = stage
        .world
        .source
        .kbpack(&["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()])
        .ok();
    assert!(run.stderr.contains(" todo: run it by hand: sh -c 'exit 1'\n"), "{}", run.stderr);
    assert!(out.exists());
}

#[test]
fn a_bundle_runs_them_only_for_whom_it_may() {
    let stage = Stage::new();
    let target = &stage.world.target;
    let stop = "[[hook]]\nstage = \"quiesce\"\nwhere = \"target\"\nrun = [\"touch\", \"stopped now\"]\n";
    stage.world.source.profile(&format!("{PROFILE}{stop}"));
    let bundle = stage.bundle();
    let before = stage.before();
    let shown = target.kbpack(&["inspect", &bundle]).ok().text();
    assert!(shown.contains("  hook 'quiesce': runs touch 'stopped now'\n"), "{shown}");
    let plan = target.kbpack(&["import", &bundle, "--dry-run"]);
    assert_eq!(plan.code, 8, "{}", plan.stderr);
    for words in [
        "hook 'quiesce' of the bundle: runs touch 'stopped now'\n",
        "  refused: its signer may not have commands run\n",
        " --hooks; or write the hook into this machine's own profile; or import without it: --no-hooks\n",
    ] {
        assert!(plan.text().contains(words), "{}", plan.text());
    }
    target
        .kbpack(&["import", &bundle, "--yes"])
        .fails(8, "the bundle wants to run 'touch 'stopped now'' (quiesce) here, and its signer may not");
    assert_eq!(stage.before(), before);
    stage.is_not_begun();

    // Without it, and that is said.
    let run = target.kbpack(&["import", &bundle, "--yes", "--no-hooks"]).ok();
    let said = "  - hook 'quiesce' of the bundle: not run: touch 'stopped now' (--no-hooks)\n";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let report = target.kbpack(&["import", &bundle, "--yes", "--no-hooks", "--json"]).ok().json();
    assert_eq!(report["hooks"][0]["skipped"]["why"], "--no-hooks", "{report}");
    assert!(!target.join("stopped now").exists());

    // One that this machine's own profile has in the same words is its own.
    target.kbpack(&["rollback", "--yes"]).ok();
    stage.import(&bundle, "[[hook]]\nstage = \"quiesce\"\nrun = [\"touch\", \"stopped now\"]\n").ok();
    assert!(target.join("stopped now").exists());
    target.kbpack(&["rollback", "--yes"]).ok();
    fs::remove_file(target.join("stopped now")).unwrap();

    target.kbpack(&["trust", "add", "source", &stage.world.signer, "--hooks"]).ok();
    target.kbpack(&["import", &bundle, "--yes"]).ok();
    // One word, and no shell made two of it.
    assert!(target.join("stopped now").exists());
}

#[test]
fn they_know_nothing_of_our_environment() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let env = stage.world.path("env");
    let own =
        stage.own(&hook("after-commit", &format!("env > {}", env.display()), "env = { MINE = \"a b\" }"));
    let mut command = stage.world.target.command(&["import", &bundle, "--yes", "--profile", &own]);
    command.env("TOKEN", "tok-from-outside").env("LANG", "C.UTF-8").env("XDG_RUNTIME_DIR", "/run/user/7");
    Run::of(&mut command).ok();
    let text = fs::read_to_string(env).unwrap();
    for line in ["MINE=a b", "LANG=C.UTF-8", "XDG_RUNTIME_DIR=/run/user/7"] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    let home = format!("HOME={}", stage.world.target.path.canonicalize().unwrap().display());
    assert!(text.contains(&home) && !text.contains("TOKEN") && !text.contains("API_KEY"), "{text}");
}

#[test]
fn what_they_say_is_in_the_log_bounded_escaped_and_without_secrets() {
    let stage = Stage::new();
    let bundle = stage.bundle();
    let noisy =
        r"seq 1 200000; printf 'last \033[2J\n'; grep -h API ~/.config/kbpack-env/*/env.sh >&2; exit 1";
    let run = stage.import(&bundle, &hook("after-commit", noisy, "")).fails(9, "[$API_KEY]");
    assert!(!run.stderr.contains("sk-demo") && !run.stderr.contains("\u{1b}[2J"), "{}", run.stderr);
    let logs = stage.world.target.join(".local/state/kbpack/logs");
    let log = fs::read_dir(logs).unwrap().next().unwrap().unwrap().path();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("said hook: 200000\n") && log.contains("said hook: last "), "{log}");
    assert!(
        !log.contains("said hook: 199900\n") && !log.contains('\u{1b}') && !log.contains("sk-demo"),
        "{log}"
    );
    assert!(log.contains("step hook after-commit: sh -c "), "{log}");
    let quiet = hook("after-commit", "echo 'said aloud'", "");
    let run = stage.import(&bundle, &quiet).ok();
    assert!(!run.stderr.contains("said aloud\n"), "{}", run.stderr);
    lived_in(&stage.world.target);
    let own = stage.own(&quiet);
    let run = stage.world.target.kbpack(&["import", &bundle, "--yes", "-v", "--profile", &own]).ok();
    assert!(run.stderr.contains("  hook: said aloud\n"), "{}", run.stderr);
}

#[test]
fn a_secret_does_not_travel_in_one() {
    let stage = Stage::new();
    let refused = |profile: &str| {
        stage.world.source.profile(&format!("{PROFILE}{profile}"));
        let out = stage.world.path("refused.kbp");
        let export = ["export", "-r", &stage.world.recipient, "-o", out.to_str().unwrap()];
        let run = stage.world.source.kbpack(&export);
        assert!(!out.exists() && !run.stderr.contains("sk-demo"), "{}", run.stderr);
        run
    };
    let hooks = [
        hook("after-commit", "curl -H 'X-API-Key: sk-demo-0123456789' localhost", ""),
        hook("resume", &stage.says("resume"), ""),
    ];
    refused(&hooks.concat()).fails(2, "the after-commit hook 'sh' holds the value of $API_KEY");
    assert_eq!(stage.words(), ["resume"]);
}
