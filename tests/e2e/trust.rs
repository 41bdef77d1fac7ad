//! Who is refused, and how it is said. Each with exit 4 and a message of its own; the target unchanged.

use crate::support::{furnish, snapshot_but_state, Run, World};
use std::path::Path;

/// Refused with exit 4 and `what`, and the target is as before.
#[track_caller]
fn refused(world: &World, bundle: &Path, more: &[&str], what: &str) {
    let before = snapshot_but_state(&world.target);
    world.import(bundle, more).fails(4, what);
    assert_eq!(snapshot_but_state(&world.target), before);
}

fn exported() -> (World, std::path::PathBuf) {
    let world = World::strangers();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    (world, bundle)
}

#[test]
fn an_unknown_signer_is_named_and_yes_does_not_cover_it() {
    let (world, bundle) = exported();
    refused(&world, &bundle, &[], &world.fingerprint);
    let run = world.import(&bundle, &[]);
    assert!(run.stderr.contains("kbpack trust add"), "{}", run.stderr);
    refused(&world, &bundle, &["--trust", "SHA256:AAAA"], &world.fingerprint);
    world.import(&bundle, &["--trust", &world.fingerprint]).ok();
    // Pinned for that run only.
    refused(&world, &bundle, &[], &world.fingerprint);
}

#[test]
fn revoked_expired_and_not_yet_valid() {
    let (world, bundle) = exported();
    world
        .target
        .kbpack(&["trust", "add", "source", &world.signer, "--from", "20200101Z", "--until", "20300101Z"])
        .ok();
    refused(&world, &bundle, &["--verify-time", "20310101Z"], "was trusted only until");
    refused(&world, &bundle, &["--verify-time", "20190101Z"], "is trusted only from");
    world.import(&bundle, &["--verify-time", "20250101Z"]).ok();
    world.target.write(".config/kbpack/revoked_signers", format!("{}\n", world.public_key()));
    world.target.chmod(".config/kbpack/revoked_signers", 0o600);
    refused(&world, &bundle, &[], "revoked");
}

#[test]
fn an_expired_bundle() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.path("b.kbp");
    world
        .source
        .kbpack(&["export", "-r", &world.recipient, "--expires", "1h", "-o", bundle.to_str().unwrap()])
        .ok();
    refused(&world, &bundle, &["--verify-time", "20990101Z"], "the bundle expired on");
    world.import(&bundle, &[]).ok();
}

#[test]
fn an_older_sequence_is_refused_and_allow_older_never_lowers_the_mark() {
    let world = World::new();
    furnish(&world.source);
    let (old, new) = (world.export("old.kbp"), world.export("new.kbp"));
    world.import(&new, &[]).ok();
    refused(&world, &old, &[], "was applied already");
    world.import(&old, &["--allow-older"]).ok();
    refused(&world, &old, &[], "was applied already");
    world.import(&new, &[]).ok();
}

#[test]
fn a_lost_mark_is_an_error_never_first_use() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    std::fs::remove_dir_all(world.target.join(".local/state/kbpack/signers")).unwrap();
    refused(&world, &bundle, &[], "sequence mark");
    world.target.kbpack(&["trust", "remove", "source"]).ok();
    world.target.kbpack(&["trust", "add", "source", &world.signer]).ok();
    world.import(&bundle, &[]).ok();
}

#[test]
fn a_person_confirms_an_unknown_signer_by_its_fingerprint() {
    let (world, bundle) = exported();
    // script(1) gives it a terminal.
    let typed = |fingerprint: &str, answer: &str| {
        let command = format!("{} import {}", crate::support::KBPACK, bundle.display());
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_clear();
        script.env("HOME", &world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
        Run::with_input(&mut script, format!("{fingerprint}\n{answer}\n").as_bytes())
    };
    let wrong = typed("SHA256:nope", "y");
    assert_eq!(wrong.code, 4, "{}", wrong.text());
    let no = typed(&world.fingerprint, "n");
    assert_eq!(no.code, 2, "{}", no.text());
    assert!(!world.target.join("app").exists());
    // The fingerprint was right: from now on it is trusted.
    world.import(&bundle, &[]).ok();
}

#[test]
fn rekeyed_for_others() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let third = crate::support::Home { path: world.path("third") };
    std::fs::create_dir(&third.path).unwrap();
    let made = third.kbpack(&["keygen", "--json"]).ok().json();
    let target_signer = world.target.kbpack(&["keygen"]);
    assert_ne!(target_signer.code, 0, "keygen never overwrites");
    let again = world.path("again.kbp");
    let recipient = made["recipient"].as_str().unwrap();
    world
        .target
        .kbpack(&["rekey", bundle.to_str().unwrap(), "-r", recipient, "-o", again.to_str().unwrap()])
        .ok();
    // The former recipient's key no longer opens the new file; the new one's does, and the signer is the one who rekeyed.
    world.target.kbpack(&["inspect", again.to_str().unwrap()]).fails(4, "own key");
    let line = std::fs::read_to_string(world.target.join(".config/kbpack/signing_key.pub")).unwrap();
    third.kbpack(&["trust", "add", "rekeyer", line.trim()]).ok();
    third.kbpack(&["import", again.to_str().unwrap(), "--yes"]).ok();
    assert_eq!(third.read("app/settings.json"), b"{\"a\": 1}\n");
    world.target.kbpack(&["trust", "add", "me", line.trim()]).ok();
    world.target.kbpack(&["inspect", again.to_str().unwrap()]).fails(5, "");
}

#[test]
fn nobody_to_ask() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.kbpack(&["import", bundle.to_str().unwrap()]).fails(2, "nobody can be asked");
}

#[test]
fn a_pin_is_for_that_signer_and_no_other() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    refused(&world, &bundle, &["--trust", "SHA256:AAAA"], "not by SHA256:AAAA that --trust names");
}

#[test]
fn another_profiles_name_is_no_way_around_the_known_destinations() {
    let world = World::new();
    furnish(&world.source);
    world.import(&world.export("1.kbp"), &[]).ok();
    world.source.write("other/x", "x");
    world
        .source
        .profile("[bundle]\nname = \"evil\"\n[component.other]\nkind = \"files\"\npath = \"~/other\"\n");
    let second = world.export("2.kbp");
    refused(&world, &second, &[], "writes where no earlier one");
}

#[test]
fn a_signer_with_two_names_is_trusted_until_the_last_one_is_removed() {
    let world = World::new();
    furnish(&world.source);
    world.target.kbpack(&["trust", "add", "again", &world.signer]).ok();
    let (old, new) = (world.export("1.kbp"), world.export("2.kbp"));
    world.import(&new, &[]).ok();
    let run = world.target.kbpack(&["trust", "remove", "again"]).ok();
    assert!(run.stderr.contains("still trusted under another name"), "{}", run.stderr);
    // What was applied is not forgotten.
    world.import(&old, &[]).fails(4, "was applied already");
    let run = world.target.kbpack(&["trust", "remove", "source"]).ok();
    assert!(run.stderr.contains("no longer trusted"), "{}", run.stderr);
}

#[test]
fn ones_own_bundle_says_how_to_trust_oneself() {
    let world = World::new();
    furnish(&world.source);
    let recipient = world.source.kbpack(&["keygen", "--show", "--json"]).ok().json()["recipient"].clone();
    let bundle = world.path("own.kbp");
    let args = ["export", "-r", recipient.as_str().unwrap(), "-o", bundle.to_str().unwrap()];
    world.source.kbpack(&args).ok();
    let refused = world.source.kbpack(&["verify", bundle.to_str().unwrap()]);
    let todo = refused.stderr.lines().last().unwrap().split("kbpack ").last().unwrap().to_owned();
    refused.fails(4, "this machine's own key");
    world.source.kbpack(&todo.split(' ').collect::<Vec<_>>()).ok();
    world.source.kbpack(&["import", bundle.to_str().unwrap(), "--yes"]).ok();
}
