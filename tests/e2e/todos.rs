//! What a bundle leaves to a person, and hooks that a target goes without where it must.

use crate::support::{furnish, Run, World, PROFILE};
use std::fs;
use std::process::Command;

const MORE: &str = r#"
[[todo]]
text = "the server of the database"
run = ["sudo apt-get install kbpack-no-such", "touch pwned"]
unless = { path = "~/server" }

[[todo]]
text = "a shell"
run = ["sudo apt-get install sh"]
unless = { program = "sh" }

[[todo]]
text = "log in"

[[hook]]
stage = "after-commit"
where = "target"
optional = true
run = ["touch", "hooked"]
"#;

const SHOWN: [&str; 4] = [
    "the server of the database",
    "      sudo apt-get install kbpack-no-such",
    "      touch pwned",
    "log in",
];

#[test]
fn what_is_not_done_is_shown_and_never_run() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    furnish(source);
    source.profile(&format!("{PROFILE}{MORE}"));
    let surveyed = source.kbpack(&["export", "--dry-run"]).ok().text();
    assert!(surveyed.contains("todo on the target: a shell"), "{surveyed}");
    let bundle = world.export("b.kbp");
    let name = bundle.to_str().unwrap();
    let inspected = target.kbpack(&["inspect", name]).ok().text();
    let planned = target.kbpack(&["import", name, "--dry-run"]).ok().text();
    // The signer may not have commands run here, and the import goes without the optional hook.
    let imported = world.import(&bundle, &[]).ok().stderr;
    for words in SHOWN {
        assert!(inspected.contains(words), "{words}: {inspected}");
        assert!(planned.contains(words), "{words}: {planned}");
        assert!(imported.ends_with('\n') && imported.contains(words), "{words}: {imported}");
    }
    assert!(inspected.contains("a shell") && !planned.contains("a shell") && !imported.contains("a shell"));
    let not_run =
        "hook 'after-commit' of the bundle: not run: touch hooked (its signer may not have commands run)";
    assert!(imported.contains(not_run), "{imported}");
    assert!(!target.join("hooked").exists() && !target.join("pwned").exists());

    // What is done by now is not shown; and the machine's own profile has the last word.
    target.write("server", "");
    target.profile("[[todo]]\ntext = \"log in\"\nrun = [\"mine\"]\n");
    let report = target.kbpack(&["import", name, "--yes", "--json"]).ok().json();
    let todos = report["todos"].as_array().unwrap();
    assert_eq!(todos.len(), 1, "{todos:?}");
    assert_eq!((&todos[0]["run"][0], &todos[0]["origin"]), (&"mine".into(), &"profile".into()));

    // For who may, the hook runs.
    target.kbpack(&["rollback", "--yes"]).ok();
    target.kbpack(&["trust", "remove", &world.fingerprint]).ok();
    target.kbpack(&["trust", "add", "source", &world.signer, "--hooks"]).ok();
    world.import(&bundle, &[]).ok();
    assert!(target.join("hooked").exists());
}

#[test]
fn a_refused_import_says_what_is_left_to_a_person() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    source.write("app/a", "a");
    source.profile(&format!("[component.app]\nkind = \"files\"\npath = \"~/app\"\n{MORE}\n[[hook]]\nstage = \"rollback\"\nrun = [\"true\"]\n"));
    let bundle = world.export("b.kbp");
    let run = world.import(&bundle, &[]).fails(8, "its signer may not have commands run");
    assert!(run.stderr.contains("todo: the server of the database (by hand)"), "{}", run.stderr);
    assert!(run.stderr.contains("sudo apt-get install kbpack-no-such; touch pwned"), "{}", run.stderr);
    assert!(!target.join("app").exists());
}

/// A file that comes with the profile: for where the source has none.
#[test]
fn a_profile_brings_the_text_of_a_file() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    let unit = "[Service]\nExecStart=%h/app/run\n";
    let profile = format!(
        "[component.unit]\nkind = \"files\"\npath = \"~/.config/systemd/user/app.service\"\ncontent = \"\"\"\n{unit}\"\"\"\n"
    );
    source.profile(&profile);
    let surveyed = source.kbpack(&["export", "--dry-run", "-v"]).ok();
    let said = "it does not exist: the profile's content is packed for it";
    assert!(surveyed.text().contains(said) && surveyed.text().contains("items: 1, "), "{}", surveyed.text());
    let first = world.export("first.kbp");
    let path = ".config/systemd/user/app.service";
    assert!(!source.join(path).exists());
    world.import(&first, &[]).ok();
    assert_eq!((target.read(path), target.mode(path)), (unit.as_bytes().to_vec(), 0o644));
    // Another export has the same file, so that nothing is to be done.
    let again = world.export("again.kbp");
    for home in [source, target] {
        home.kbpack(&["status", "--exit-code"]).ok();
    }
    let plan = target.kbpack(&["import", again.to_str().unwrap(), "--dry-run", "--json"]).ok().json();
    assert_eq!(plan["components"][0]["plan"]["changes"], serde_json::json!([]));
    target.kbpack(&["rollback", "--yes"]).ok();
    assert!(!target.join(".config/systemd").exists());
    // What the source has goes before.
    source.write(path, "[Service]\n");
    let own = world.export("own.kbp");
    world.import(&own, &[]).ok();
    assert_eq!(target.read(path), b"[Service]\n");
    // Stock tar reads it.
    fs::remove_file(source.join(path)).unwrap();
    let extracted = world.path("extracted");
    target.kbpack(&["extract", first.to_str().unwrap(), "unit", "-C", extracted.to_str().unwrap()]).ok();
    let mut tar = Command::new("tar");
    tar.arg("-xOf").arg(extracted.join("unit/tree/000001"));
    assert_eq!(Run::of(&mut tar).ok().text(), unit);
    // A text is not larger than a text is.
    source.profile(&profile.replace("[Service]", &"x".repeat(70_000)));
    source.kbpack(&["export", "--dry-run"]).fails(2, "content has more than 65536 bytes");
}
