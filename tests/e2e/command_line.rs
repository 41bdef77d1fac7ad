//! The command line: errors of two lines, exit codes, JSON, no output after a failure.

use crate::support::{furnish, World};
use crate::terminal::Terminal;
use std::fs;

#[test]
fn errors_are_two_lines_with_the_right_code() {
    let world = World::new();
    let home = &world.source;
    home.kbpack(&["frobnicate"]).fails(2, "unrecognized subcommand 'frobnicate'");
    home.kbpack(&["export"]).fails(2, "there is no profile");
    home.kbpack(&["import", "missing.kbp"]).fails(2, "missing.kbp");
    home.kbpack(&["import", "."]).fails(2, ".:");
    home.kbpack(&["import", "x", "--map", "a=b"]).fails(2, "FROM and TO are absolute");
    home.profile("[bundle]\nname = \"x\"\n");
    home.kbpack(&["export", "-r", &world.recipient]).fails(2, "no [component.NAME]");
    home.profile("[component.x]\nkind = \"floppy\"\n");
    home.kbpack(&["export", "-r", &world.recipient]).fails(2, "there is no kind 'floppy'");
    home.profile("[component.x]\nkind = \"files\"\npath = \"~/x\"\nfoo = 1\n");
    home.kbpack(&["export", "-r", &world.recipient]).fails(2, "foo");
}

#[test]
fn no_output_file_after_a_failure_and_none_overwritten() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()];
    world.source.kbpack(&args).ok();
    let before = fs::read(&bundle).unwrap();
    world.source.kbpack(&args).fails(2, "exists already");
    assert_eq!(fs::read(&bundle).unwrap(), before);

    let nowhere = world.path("no/such/folder/b.kbp");
    world
        .source
        .kbpack(&["export", "-r", &world.recipient, "-o", nowhere.to_str().unwrap()])
        .fails(2, "b.kbp");
    world
        .source
        .kbpack(&["export", "-o", world.path("c.kbp").to_str().unwrap()])
        .fails(2, "there is no recipient");
    let left: Vec<_> = fs::read_dir(world.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.iter().all(|name| ["b.kbp", "source", "target"].contains(&name.as_str())), "{left:?}");
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let bundle = bundle.to_str().unwrap();
    for args in [
        &["inspect", bundle, "--json"][..],
        &["inspect", bundle, "--files", "--json"],
        &["verify", bundle, "--json"],
        &["verify", bundle, "--deep", "--json"],
        &["import", bundle, "--dry-run", "--json"],
        &["trust", "list", "--json"],
        &["import", bundle, "--yes", "--json"],
    ] {
        let run = world.target.kbpack(args).ok();
        assert!(!run.json().is_null(), "{args:?}");
        assert_eq!(run.stderr, "", "{args:?}");
    }
    let failed = world.target.kbpack(&["import", "nosuch", "--json"]);
    assert_eq!(failed.json()["error"]["exit_code"], failed.code);
}

#[test]
fn help_has_examples_everywhere() {
    let world = World::strangers();
    let help = world.source.kbpack(&["--help"]).ok().text();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands.iter().filter(|c| !matches!(**c, "help" | "demo")) {
        let text = world.source.kbpack(&[command, "--help"]).ok().text();
        assert!(text.contains("Example"), "{command}");
    }
    world.source.kbpack(&["man"]).ok();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.source.kbpack(&["completions", shell]).ok().text().contains("kbpack"));
    }
}

#[test]
fn passphrases_come_from_a_descriptor_never_from_a_variable() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.path("p.kbp");
    let script = format!(
        "KBPACK_PASSPHRASE_FD=3 {} export -r {} -p -o {} 3< <(printf 'correct horse\\n')",
        crate::support::KBPACK,
        world.recipient,
        bundle.display()
    );
    let bash = |script: &str, home: &crate::support::Home| {
        let mut command = std::process::Command::new("bash");
        command
            .args(["-c", script])
            .env_clear()
            .env("HOME", &home.path)
            .env("PATH", std::env::var_os("PATH").unwrap());
        crate::support::Run::of(&mut command)
    };
    bash(&script, &world.source).ok();
    // A third home has no identity: only the passphrase opens it.
    let third = crate::support::Home { path: world.path("third") };
    fs::create_dir(&third.path).unwrap();
    let open = |passphrase: &str| {
        bash(
            &format!(
                "KBPACK_PASSPHRASE_FD=3 {} inspect --trust {} {} 3< <(printf '{passphrase}')",
                crate::support::KBPACK,
                world.fingerprint,
                bundle.display()
            ),
            &third,
        )
    };
    assert!(open("correct horse").ok().text().contains("profile   small"));
    open("wrong").fails(5, "passphrase");
    // The identity still works, without a question.
    world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok();
}

#[test]
fn a_reader_that_goes_away_ends_nothing_badly() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    // stderr is a pipe that nobody reads any more: the import is done all the same.
    let script = format!(
        "{{ {} import {} --yes -v; echo $? > {}/code; }} 2>&1 | true",
        crate::support::KBPACK,
        bundle.display(),
        world.dir.path().display()
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).env_clear().env("HOME", &world.target.path);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    crate::support::Run::of(&mut command);
    assert_eq!(fs::read_to_string(world.path("code")).unwrap(), "0\n");
    assert!(world.target.join("app/settings.json").is_file());
    for args in ["completions bash", "man", "--help", "trust list"] {
        let script = format!("{} {args} | true; echo ${{PIPESTATUS[0]}}", crate::support::KBPACK);
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).env_clear().env("HOME", &world.target.path);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        assert_eq!(crate::support::Run::of(&mut command).text(), "0\n", "{args}");
    }
}

#[test]
fn a_profile_that_others_could_have_put_here_is_not_taken() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("work/kbpack.toml", crate::support::PROFILE);
    world.source.chmod("work/kbpack.toml", 0o666);
    let mut command = world.source.command(&["export", "--dry-run"]);
    command.current_dir(world.source.join("work"));
    crate::support::Run::of(&mut command).fails(4, "others may write it");
    world.source.chmod("work/kbpack.toml", 0o644);
    crate::support::Run::of(&mut command).ok();
}

#[test]
fn keys_are_never_packed_wherever_the_options_point() {
    let world = World::new();
    let elsewhere = world.path("elsewhere");
    world.source.profile("[component.all]\nkind = \"files\"\npath = \"~/.config\"\n");
    let bundle = world.path("b.kbp");
    let config = elsewhere.to_str().unwrap();
    world.source.kbpack(&["--config-dir", config, "keygen"]).ok();
    let profile = world.source.join(".config/kbpack/profile.toml");
    let args =
        ["--config-dir", config, "export", "--profile", profile.to_str().unwrap(), "-r", &world.recipient];
    let run = world.source.kbpack(&[&args[..], &["-o", bundle.to_str().unwrap()]].concat()).ok();
    let signer = fs::read_to_string(elsewhere.join("signing_key.pub")).unwrap();
    world.target.kbpack(&["trust", "add", "elsewhere", signer.trim()]).ok();
    world.import(&bundle, &["--map", "~/.config=~/got"]).ok();
    assert!(!world.target.join("got/kbpack").exists(), "{}", run.stderr);
}

#[test]
fn paths_that_are_not_text_do_not_spoil_the_document() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    furnish(&world.source);
    let mut command = world.source.command(&["export", "--json", "-r", &world.recipient, "-o"]);
    let report = crate::support::Run::of(command.arg(std::ffi::OsStr::from_bytes(b"o\xff.kbp"))).ok().json();
    assert_eq!(report["path"], "o%FF.kbp");
    assert_eq!(report["recipients"][0], world.recipient);
}

#[test]
fn text_from_bundles_is_escaped() {
    let world = World::new();
    world.source.write("app/evil\u{1b}[31m\nname", "x");
    world.source.profile("[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    let bundle = world.export("b.kbp");
    let shown = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok();
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "-v"]).ok();
    for text in [shown.text(), plan.text(), plan.stderr] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    assert!(shown.text().contains("evil%1B[31m%0Aname"), "{}", shown.text());
    world.import(&bundle, &[]).ok();
    assert!(world.target.join("app/evil\u{1b}[31m\nname").is_file());
}

/// Room is not what a pipe lacks whose reader is gone.
#[test]
fn a_reader_that_ends_is_told_of() {
    let world = World::new();
    world.source.write("app/big", vec![1u8; 1 << 20]);
    world.source.profile("[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.source.command(&["export", "-r", &world.recipient, "-o", "-"]);
    let run = command.stdout(writer).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains(" todo: see why the program that reads it ended"), "{said}");
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    let world = World::new();
    let shown = |term: &str| {
        let terminal = Terminal::start(&world.source, "$KBPACK inspect nothing.kbp", |script| {
            script.env("TERM", term);
        });
        terminal.talk(&[]).text()
    };
    assert!(shown("xterm").contains("\u{1b}["));
    let dumb = shown("dumb");
    assert!(dumb.contains("error: ") && !dumb.contains('\u{1b}'), "{dumb:?}");
}

#[test]
fn a_history_of_nothing_says_so() {
    let world = World::new();
    let history = world.source.kbpack(&["history"]).ok();
    assert_eq!(history.text(), "nothing was imported here, and nothing exported\n");
    let document = world.source.kbpack(&["history", "--json"]).ok().json();
    assert_eq!(document, serde_json::json!({ "imports": [], "exports": [] }));
}
