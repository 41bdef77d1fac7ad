//! Keys, recipients, passphrases and plugins through the real binary: who opens what, and who is asked.

use crate::support::{furnish, Home, Run, World, KBPACK};
use crate::terminal::Terminal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Bech32 of the prefix `age1fake` and no data.
const FAKE_RECIPIENT: &str = "age1fake1f3suk7";
/// The PIN that the fake plugin takes.
const PIN: &str = "1234";

/// A world whose source has something to export.
fn furnished() -> World {
    let world = World::new();
    furnish(&world.source);
    world
}

/// A line of bash in `home`, with `$KBPACK` set to the binary.
fn bash(home: &Home, line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(&home.path);
    command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
    command.env("KBPACK", KBPACK);
    command
}

/// The same at a terminal, with a person who answers each text with a line.
#[track_caller]
fn at_terminal(home: &Home, line: &str, dialogue: &[(&str, &str)]) -> Run {
    Terminal::start(home, line, |_| {}).talk(dialogue)
}

/// The fake plugin in a folder of its own, and a PATH that finds it. The identity is in `home`.
fn with_plugin(world: &World, home: &Home) -> String {
    let bin = world.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugin/age-plugin-fake");
    fs::copy(plugin, bin.join("age-plugin-fake")).unwrap();
    let identity = age::plugin::Identity::default_for_plugin("fake").unwrap();
    home.write("fake-identity", format!("{identity}\n"));
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn keygen_shows_the_keys_that_are_there_and_makes_the_half_that_is_not() {
    let world = World::strangers();
    let home = &world.source;
    let first = home.kbpack(&["keygen", "--show", "--json"]).ok().json();
    assert_eq!(first["signer"], world.signer);
    let again = home.kbpack(&["keygen"]).fails(8, "identity.txt: there is a key already");
    assert!(again.stderr.contains("kbpack keygen --show"), "{}", again.stderr);
    let text = home.kbpack(&["keygen", "--show"]).ok().text();
    for part in [&world.signer, &world.fingerprint, first["recipient"].as_str().unwrap()] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!text.contains("AGE-SECRET-KEY"));

    let keys = home.join(".config/kbpack");
    fs::remove_file(keys.join("signing_key.pub")).unwrap();
    home.kbpack(&["keygen", "--show"]).fails(8, "signing_key.pub: this machine has no such key yet");
    assert_eq!(home.kbpack(&["keygen", "--json"]).ok().json(), first);
    fs::remove_file(keys.join("identity.txt")).unwrap();
    let second = home.kbpack(&["keygen", "--json"]).ok().json();
    assert_eq!(second["fingerprint"], world.fingerprint);
    assert_ne!(second["recipient"], first["recipient"]);
    fs::remove_file(keys.join("signing_key")).unwrap();
    home.kbpack(&["keygen"]).fails(8, "its private half, signing_key, is missing");
}

#[test]
fn showing_makes_nothing() {
    let world = World::strangers();
    let third = Home { path: world.path("third") };
    fs::create_dir(&third.path).unwrap();
    third.kbpack(&["keygen", "--show"]).fails(8, "this machine has no such key yet");
    assert_eq!(fs::read_dir(&third.path).unwrap().count(), 0);
}

#[test]
fn keys_that_others_can_read_are_refused_and_the_remedy_helps() {
    let world = furnished();
    let bundle = world.export("b.kbp");
    let bundle = bundle.to_str().unwrap();
    let out = world.path("c.kbp");
    let export = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
    let import = ["import", bundle, "--dry-run"];
    let remedied = |home: &Home, args: &[&str], what: &str, loose: &str, mode: u32, tight: u32| {
        let path = format!(".config/kbpack{loose}");
        home.chmod(&path, mode);
        let run = home.kbpack(args).fails(8, &format!("{what} lets others in"));
        let todo = format!("chmod {tight:o} {}", home.join(&path).display());
        assert!(run.stderr.contains(&todo), "'{todo}' is not in: {}", run.stderr);
        home.chmod(&path, tight);
        home.kbpack(args).ok();
    };
    remedied(&world.target, &import, "identity.txt: its mode 644", "/identity.txt", 0o644, 0o600);
    remedied(&world.target, &import, "kbpack: its mode 777", "", 0o777, 0o700);
    remedied(
        &world.target,
        &["keygen", "--show"],
        "identity.txt: its mode 640",
        "/identity.txt",
        0o640,
        0o600,
    );
    let locks = [
        ("signing_key: its mode 644", "/signing_key", 0o644, 0o600),
        ("kbpack: its mode 777", "", 0o777, 0o700),
    ];
    for (what, loose, mode, tight) in locks {
        remedied(&world.source, &export, what, loose, mode, tight);
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn what_is_no_recipient_is_refused_and_secrets_are_not_repeated() {
    let world = furnished();
    let home = &world.source;
    let secret = String::from_utf8(home.read(".config/kbpack/identity.txt")).unwrap();
    let secret = secret.lines().last().unwrap();
    let refused = |args: &[&str], what: &str| {
        let out = world.path("c.kbp");
        let mut all = vec!["export", "-o", out.to_str().unwrap()];
        all.extend(args);
        let run = home.kbpack(&all).fails(2, what);
        assert!(!out.exists());
        assert!(!run.stderr.contains(&secret[20..40]), "{}", run.stderr);
    };
    refused(&["-r", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ me@here"], "RSA keys are not taken");
    refused(&["-r", secret], "a recipient: it is a secret key");
    refused(&["-r", &world.recipient[..50]], "copy it again");
    let file = |lines: String| home.write("recipients", lines).to_str().unwrap().to_owned();
    let good = format!("# the target\n\n{}\n", world.recipient);
    refused(&["-R", &file(format!("{good}hunter2\n"))], "recipients, line 4: ");
    refused(&["-R", &file(format!("{good}{secret}\n"))], "recipients, line 4: it is a secret key");
    refused(&["-R", "no-such-file"], "no-such-file");

    let out = world.path("c.kbp");
    home.kbpack(&["export", "-o", out.to_str().unwrap(), "-R", &file(good)]).ok();
    world.import(&out, &[]).ok();
}

#[test]
fn an_openssh_key_opens_what_is_encrypted_to_it() {
    let world = furnished();
    let home = &world.target;
    let passphrase = "open sesame";
    for (name, words) in [("plain", ""), ("locked", passphrase)] {
        let line = format!("ssh-keygen -q -t ed25519 -a 4 -N '{words}' -f {name}");
        Run::of(&mut bash(home, &line)).ok();
    }
    let bundle = world.path("ssh.kbp");
    let public = |name: &str| String::from_utf8(home.read(&format!("{name}.pub"))).unwrap();
    world
        .source
        .kbpack(&["export", "-r", &public("plain"), "-r", &public("locked"), "-o", bundle.to_str().unwrap()])
        .ok();
    let bundle = bundle.to_str().unwrap();
    home.kbpack(&["inspect", bundle]).fails(5, "it is encrypted to an OpenSSH key (2 of them)");
    home.kbpack(&["inspect", bundle, "-i", "plain"]).ok();
    Run::of(&mut home.command_alone(&["inspect", bundle, "-i", "locked"]))
        .fails(8, "no passphrase for the key locked");
    home.chmod("plain", 0o644);
    home.kbpack(&["inspect", bundle, "-i", "plain"]).fails(8, "plain: its mode 644 lets others in");
    let with_words = |words: &str| {
        let line =
            format!("KBPACK_PASSPHRASE_FD=3 $KBPACK import {bundle} -i locked --yes 3< <(echo {words})");
        Run::of(&mut bash(home, &line))
    };
    let wrong = with_words("wrong").fails(5, "locked: the passphrase does not open it");
    assert!(wrong.stderr.contains("that file's own passphrase"), "{}", wrong.stderr);
    with_words(passphrase).ok();
    assert_eq!(home.read("app/settings.json"), world.source.read("app/settings.json"));
}

#[test]
fn a_passphrase_is_typed_twice_and_may_be_mistyped_when_opening() {
    const FIRST: &str = "Passphrase for the bundle: ";
    const AGAIN: &str = "The same again: ";
    let world = furnished();
    let (bundle, third) = (world.path("p.kbp"), Home { path: world.path("third") });
    fs::create_dir(&third.path).unwrap();
    let export = format!("$KBPACK export -r {} -p -o {}", world.recipient, bundle.display());

    let differ = at_terminal(&world.source, &export, &[(FIRST, "open sesame"), (AGAIN, "open sesam")]);
    assert_eq!(differ.code, 2, "{}", differ.text());
    assert!(differ.text().contains("the two passphrases differ"), "{}", differ.text());
    let empty = at_terminal(&world.source, &export, &[(FIRST, ""), (AGAIN, "")]);
    assert_eq!(empty.code, 2, "{}", empty.text());
    assert!(!bundle.exists());

    let made = at_terminal(&world.source, &export, &[(FIRST, "open sesame"), (AGAIN, "open sesame")]);
    assert_eq!(made.code, 0, "{}", made.text());
    assert!(!made.text().contains("sesame"), "it was echoed: {}", made.text());

    let wrong = "That passphrase does not open it. Try again.\r\nPassphrase for the bundle: ";
    let inspect = format!("$KBPACK inspect --trust {} {}", world.fingerprint, bundle.display());
    let opened = at_terminal(&third, &inspect, &[(FIRST, "a"), (wrong, "b"), (wrong, "open sesame")]);
    assert_eq!(opened.code, 0, "{}", opened.text());
    let never = at_terminal(&third, &inspect, &[(FIRST, "a"), (wrong, "b"), (wrong, "c")]);
    assert_eq!(never.code, 5, "{}", never.text());
    assert!(never.text().contains("the passphrase does not open it"), "{}", never.text());
    assert!(!never.text().contains(" -i"), "{}", never.text());

    let inspect = ["inspect", "--trust", &world.fingerprint, bundle.to_str().unwrap()];
    let alone = Run::of(&mut third.command_alone(&inspect)).fails(5, "no key opens it");
    assert!(alone.stderr.contains("KBPACK_PASSPHRASE_FD"), "{}", alone.stderr);
    // With a key, nobody is asked.
    world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok();
}

#[test]
fn nobody_to_ask_for_a_passphrase() {
    let world = furnished();
    let out = world.path("p.kbp");
    let run = Run::of(&mut world.source.command_alone(&["export", "-p", "-o", out.to_str().unwrap()]));
    let run = run.fails(8, "no passphrase for the bundle: there is no terminal to ask at");
    assert!(run.stderr.contains("KBPACK_PASSPHRASE_FD"), "{}", run.stderr);
    assert!(!out.exists());
}

#[test]
fn one_descriptor_serves_every_prompt_of_a_run() {
    let world = furnished();
    let home = &world.source;
    // The signing key and the bundle both want a passphrase; a pipe can be read once.
    Run::of(&mut bash(home, "ssh-keygen -q -p -a 4 -N same -f .config/kbpack/signing_key")).ok();
    let out = world.path("p.kbp");
    let line = format!("KBPACK_PASSPHRASE_FD=3 $KBPACK export -p -o {} 3< <(echo same)", out.display());
    Run::of(&mut bash(home, &line)).ok();
    let line = format!("KBPACK_PASSPHRASE_FD=9 $KBPACK export -p -o {}", world.path("none.kbp").display());
    Run::of(&mut bash(home, &line)).fails(2, "KBPACK_PASSPHRASE_FD does not name a file descriptor");
}

#[test]
fn a_pinentry_program_is_asked() {
    let world = furnished();
    let pinentry = world.source.write(
        "pinentry",
        "#!/bin/sh\necho OK ready\nwhile read -r cmd rest; do echo \"$cmd $rest\" >>\"$0.log\"; case $cmd in\n\
         GETPIN) printf 'D open%%20sesame\\nOK\\n';; *) echo OK;; esac; done\n",
    );
    fs::set_permissions(&pinentry, fs::Permissions::from_mode(0o755)).unwrap();
    let bundle = world.path("p.kbp");
    let out = bundle.to_str().unwrap();
    let mut export = world.source.command(&["export", "-p", "-o", out]);
    Run::of(export.env("PINENTRY_PROGRAM", &pinentry)).ok();
    let heard = String::from_utf8(world.source.read("pinentry.log")).unwrap();
    assert!(heard.contains("SETDESC Passphrase for the bundle"), "{heard}");
    let mut inspect = world.target.command(&["inspect", out]);
    Run::of(inspect.env("PINENTRY_PROGRAM", &pinentry)).ok();
    let mut inspect = world.target.command(&["inspect", out]);
    Run::of(inspect.env("PINENTRY_PROGRAM", "/nonexistent")).fails(8, "PINENTRY_PROGRAM does not work");
}

#[test]
fn a_plugin_packs_and_opens_and_finds_the_descriptor_empty() {
    let world = furnished();
    let path = with_plugin(&world, &world.target);
    fs::write(world.path("bin/mode"), "peek").unwrap();
    let bundle = world.path("fake.kbp");
    let run = |home: &Home, line: &str| {
        let line = format!("KBPACK_PASSPHRASE_FD=3 $KBPACK {line} 3< <(echo {PIN})");
        Run::of(bash(home, &line).env("PATH", &path))
    };
    run(&world.source, &format!("export -r {FAKE_RECIPIENT} -o {}", bundle.display())).ok();
    assert_eq!(fs::read(world.path("bin/descriptor")).unwrap(), b"");
    fs::remove_file(world.path("bin/descriptor")).unwrap();
    run(&world.target, &format!("import {} -i fake-identity --yes", bundle.display())).ok();
    assert_eq!(fs::read(world.path("bin/descriptor")).unwrap(), b"");
    assert_eq!(world.target.read("app/settings.json"), world.source.read("app/settings.json"));
    let names = fs::read_to_string(world.path("bin/environment")).unwrap();
    assert!(!names.contains("KBPACK"), "{names}");
}

#[test]
fn a_plugin_that_hangs_or_is_missing_is_named() {
    let world = furnished();
    let path = with_plugin(&world, &world.target);
    let bundle = world.path("fake.kbp");
    let export = ["export", "-r", FAKE_RECIPIENT, "-o", bundle.to_str().unwrap()];
    let missing = world.source.kbpack(&export).fails(8, "age-plugin-fake: the program was not found");
    assert!(missing.stderr.contains("install age-plugin-fake"), "{}", missing.stderr);
    Run::of(world.source.command(&export).env("PATH", &path)).ok();

    fs::write(world.path("bin/mode"), "hang").unwrap();
    let mut inspect = world.target.command(&["inspect", bundle.to_str().unwrap(), "-i", "fake-identity"]);
    inspect.env("PATH", &path).env("KBPACK_PLUGIN_SECONDS", "1");
    Run::of(&mut inspect).fails(5, "age-plugin-fake did not finish within 1 s");
}

#[test]
fn while_it_waits_for_a_passphrase_its_memory_is_closed() {
    let world = furnished();
    let home = &world.source;
    // As another user, if we may: root could not tell from /proc what is closed to others.
    let ours = rustix::process::geteuid();
    let user = if ours.is_root() { 65534 } else { ours.as_raw() };
    let binary = world.path("kbpack");
    fs::copy(KBPACK, &binary).unwrap();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if ours.is_root() {
        Run::of(Command::new("chown").args(["-R", "65534"]).arg(&home.path)).ok();
    }
    let line = format!("echo $$ >pid; exec {} export -p -o p.kbp", binary.display());
    let mut terminal = Terminal::start(home, &line, |script| {
        script.uid(user);
    });
    terminal.wait_for("Passphrase for the bundle: ");

    let process = format!("/proc/{}", String::from_utf8(home.read("pid")).unwrap().trim());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What a process that is not dumpable has in /proc belongs to root.
    assert_eq!(fs::metadata(format!("{process}/environ")).unwrap().uid(), 0);
    let command = fs::read(format!("{process}/cmdline")).unwrap();
    assert_eq!(command.split(|byte| *byte == 0).nth(1), Some(&b"export"[..]));
}
