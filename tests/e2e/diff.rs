//! `kbpack diff`: a bundle against this machine, and against another bundle.

use crate::git::git;
use crate::support::{snapshot_but_state, Home, Run, World};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Files, secrets, a repository and a database.
pub const PROFILE: &str = r#"
[bundle]
name = "four"

[component.app]
kind = "files"
path = "~/app"

[component.keys]
kind = "secrets"
env = [{ file = "~/.bashrc", names = ["API_KEY", "TOKEN"] }, { file = "~/.env", names = ["LATER"], policy = "prompt" }]
files = [{ path = "~/.token", mode = "600" }]

[component.repo]
kind = "git"
path = "~/repo"

[component.db]
kind = "sqlite"
path = "~/state.db"
"#;

/// The values of secrets, before and after [`change`]: in no output.
pub const VALUES: [&str; 6] = [
    "sk-demo-0123456789",
    "tok-aaaa-bbbb",
    "tok-cccc-dddd",
    "whole-file-1234",
    "whole-file-5678",
    "asked-for-99",
];

pub fn sqlite(home: &Home, sql: &str) {
    let code =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()";
    let status = Command::new("python3").arg("-c").arg(code).arg(home.join("state.db")).arg(sql).status();
    assert!(status.unwrap().success());
}

/// Four components.
pub fn furnish(home: &Home) {
    for name in ["a", "b", "c", "sub/d"] {
        home.write(&format!("app/{name}.txt"), format!("this is {name}\n"));
    }
    home.write(".bashrc", "export API_KEY='sk-demo-0123456789'\nexport TOKEN='tok-aaaa-bbbb'\n");
    home.write(".token", "whole-file-1234\n");
    home.chmod(".bashrc", 0o600);
    home.chmod(".token", 0o600);
    let repo = home.join("repo");
    fs::create_dir(&repo).unwrap();
    git(&repo, "init -q -b main");
    commit(&repo, "one");
    git(&repo, "branch other");
    sqlite(
        home,
        "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2); CREATE TABLE old (x); PRAGMA user_version = 3",
    );
    home.profile(PROFILE);
}

fn commit(repo: &Path, text: &str) {
    fs::write(repo.join("file"), text).unwrap();
    git(repo, "add file");
    git(repo, &format!("commit -q -m {text}"));
}

/// Something of everything changes; `env` is where the variables stand.
pub fn change(home: &Home, env: &str) {
    home.write("app/a.txt", "this is longer than a was\n");
    fs::remove_file(home.join("app/b.txt")).unwrap();
    home.chmod("app/c.txt", 0o600);
    home.write("app/e.txt", "new\n");
    let text = String::from_utf8(home.read(env)).unwrap();
    home.write(env, text.replace("tok-aaaa-bbbb", "tok-cccc-dddd"));
    home.write(".token", "whole-file-5678\n");
    let repo = home.join("repo");
    commit(&repo, "two");
    commit(&repo, "three");
    git(&repo, "branch -D other");
    sqlite(home, "INSERT INTO t VALUES (3); DROP TABLE old; CREATE TABLE new (x); PRAGMA user_version = 4");
}

/// `+name`, `-name` or `~name: aspects` of each difference of a component.
pub fn differences(components: &Value, name: &str) -> Vec<String> {
    let component = of(components, name);
    let rows = component["differences"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let name = row["name"].as_str().unwrap();
            match row["change"].as_str().unwrap() {
                "added" => format!("+{name}"),
                "removed" => format!("-{name}"),
                _ => {
                    let aspects = row["aspects"].as_array().unwrap();
                    let aspects: Vec<&str> = aspects.iter().map(|aspect| aspect.as_str().unwrap()).collect();
                    format!("~{name}: {}", aspects.join(" "))
                }
            }
        })
        .collect()
}

pub fn of<'v>(components: &'v Value, name: &str) -> &'v Value {
    components.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

fn states(document: &Value) -> Vec<String> {
    let all = document["components"].as_array().unwrap();
    all.iter()
        .map(|one| format!("{}: {}", one["name"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect()
}

/// No secret's value is in what was said.
#[track_caller]
pub fn silent(run: Run) -> Run {
    for value in VALUES {
        assert!(!run.text().contains(value) && !run.stderr.contains(value), "{value}: {}", run.text());
    }
    run
}

/// A difference that is the same for the machine and for a bundle of it.
#[track_caller]
fn all_that_changed(components: &Value) {
    assert_eq!(
        differences(components, "app"),
        ["~a.txt: size content time", "-b.txt", "~c.txt: mode", "+e.txt"]
    );
    assert_eq!(
        differences(components, "keys"),
        ["~$TOKEN in ~/.bashrc: value", "~~/.token: value"].map(str::to_owned)
    );
    assert_eq!(differences(components, "repo"), ["~refs/heads/main: value", "-refs/heads/other"]);
    let main = &of(components, "repo")["differences"][0];
    assert_eq!((&main["ahead"], &main["behind"]), (&2.into(), &0.into()));
    assert_eq!(
        differences(components, "db"),
        ["~PRAGMA user_version: value", "+new", "-old", "~sqlite_schema: content", "~t: rows content"]
    );
    let t = &of(components, "db")["differences"][4];
    assert_eq!((&t["left"]["rows"], &t["right"]["rows"]), (&2.into(), &3.into()));
}

#[test]
fn a_bundle_against_this_machine_and_against_another() {
    let world = World::new();
    furnish(&world.source);
    let one = world.export("one.kbp");
    let one = one.to_str().unwrap();
    let diff = |args: &[&str]| silent(world.target.kbpack(&[&["diff"], args].concat()));

    // Nothing is there yet; nothing is made by the look.
    let before = snapshot_but_state(&world.target);
    let document = diff(&[one, "--json"]).ok().json();
    assert_eq!(states(&document), ["app: only-left", "db: only-left", "keys: different", "repo: only-left"]);
    assert_eq!(document["left"]["profile"], "four");
    assert_eq!(snapshot_but_state(&world.target), before);
    assert_eq!(diff(&[one, "--exit-code"]).code, 8);
    let said = diff(&[one]).ok().text();
    assert!(said.contains("db (sqlite): not on this machine\n"), "{said}");
    assert!(said.contains("secret that an import asks for"), "{said}");

    // In place: nothing differs, whatever is asked.
    world.target.write(".answers", "LATER=asked-for-99\n");
    world.target.chmod(".answers", 0o600);
    let answers = world.target.join(".answers");
    world.import(Path::new(one), &["--secrets-file", answers.to_str().unwrap()]).ok();
    let before = snapshot_but_state(&world.target);
    let document = diff(&[one, "--json", "--exit-code"]).ok().json();
    assert_eq!(states(&document), ["app: same", "db: same", "keys: same", "repo: same"]);
    // What an import asked for is there; its value is not the bundle's.
    assert_eq!(of(&document["components"], "keys")["counts"]["values_not_compared"], 1);
    assert_eq!(snapshot_but_state(&world.target), before);

    // Somebody changed the target.
    change(&world.target, ".config/kbpack-env/keys/env.sh");
    let document = diff(&[one, "--json"]).ok().json();
    all_that_changed(&document["components"]);
    fs::write(world.target.join("repo/file"), "not committed").unwrap();
    fs::write(world.target.join("repo/more"), "nor this").unwrap();
    let said = diff(&[one, "--only", "repo"]).ok().text();
    assert!(said.contains("2 ahead") && said.contains("+ work tree: file"), "{said}");
    assert!(said.contains("+ work tree: more") && !said.contains("app (files)"), "{said}");

    // The same changes on the source, and its next bundle: without a look at any machine.
    change(&world.source, ".bashrc");
    let two = world.export("two.kbp");
    let two = two.to_str().unwrap();
    fs::rename(world.target.join("app"), world.target.join("away")).unwrap();
    let document = diff(&[one, two, "--json"]).ok().json();
    all_that_changed(&document["components"]);
    let back = diff(&[two, one, "--json"]).ok().json();
    let main = &of(&back["components"], "repo")["differences"][0];
    assert_eq!((&main["ahead"], &main["behind"]), (&0.into(), &2.into()));
    assert_eq!(states(&diff(&[one, one, "--json", "--exit-code"]).ok().json())[0], "app: same");
    let narrow = world.path("narrow.kbp");
    let narrow = narrow.to_str().unwrap();
    world.source.kbpack(&["export", "-r", &world.recipient, "--only", "app:sub", "-o", narrow]).ok();
    let said = diff(&[narrow, one, "--exit-code"]);
    assert!(said.code == 8 && said.text().contains("keys (secrets): not in"), "{}", said.text());
}

#[test]
fn a_part_is_compared_by_itself() {
    let world = World::new();
    furnish(&world.source);
    let one = world.export("one.kbp");
    world.import(&one, &["--only", "app"]).ok();
    let one = one.to_str().unwrap();
    for home in [&world.source, &world.target] {
        home.write("app/sub/d.txt", "this is longer than d was\n");
        home.write("app/sub/deep/e.txt", "new\n");
        home.write("app/more/f.txt", "new\n");
    }
    change(&world.source, ".bashrc");
    let two = world.export("two.kbp");
    for right in [&[][..], &[two.to_str().unwrap()]] {
        let diff = |only: &[&str]| {
            let only = only.iter().flat_map(|only| ["--only", only]);
            world.target.kbpack(&["diff", one].iter().chain(right).copied().chain(only).collect::<Vec<_>>())
        };
        let said = |only: &[&str]| -> Vec<String> {
            let lines = diff(only).ok().text();
            let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            lines.lines().skip(2).map(words).collect()
        };
        let sub = ["app (files):", "~ sub/d.txt", "+ sub/deep", "+ sub/deep/e.txt"];
        assert_eq!(said(&["app:sub"]), sub);
        assert_eq!(said(&["app:sub/d.txt", "app:more/"]), [sub[0], "+ more", "+ more/f.txt", sub[1]]);
        diff(&["app:sub", "app:subb"]).fails(2, "there is no 'subb' in component app");
        diff(&["keys:x"]).fails(2, "a component of kind secrets cannot be narrowed to a path");
    }
}

#[test]
fn what_cannot_be_compared_is_said() {
    let world = World::new();
    furnish(&world.source);
    let one = world.export("one.kbp");
    let (one, other) = (one.to_str().unwrap(), world.path("other.kbp"));
    // One for somebody else.
    let own = world.source.kbpack(&["keygen", "--show", "--json"]).ok().json();
    let own = own["recipient"].as_str().unwrap();
    let other = other.to_str().unwrap();
    world.source.kbpack(&["export", "-r", own, "-o", other]).ok();
    let run = world.target.kbpack(&["diff", one, other]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(run.stderr.contains("other.kbp"), "{}", run.stderr);
    assert_eq!(world.target.kbpack(&["diff", "-", "-"]).code, 2);
    assert_eq!(world.target.kbpack(&["diff", one, "--only", "none"]).code, 2);
    assert_eq!(world.target.kbpack(&["diff", one, one, "--map", "/a=/b"]).code, 2);

    // A damaged bundle is no difference.
    let mut bytes = fs::read(one).unwrap();
    bytes.truncate(bytes.len() - 700);
    let damaged = world.path("damaged.kbp");
    fs::write(&damaged, bytes).unwrap();
    assert_eq!(world.target.kbpack(&["diff", damaged.to_str().unwrap(), one]).code, 3);

    // A component that cannot be looked at does not keep the others from it.
    world.target.write("state.db", "this is no database\n".repeat(100));
    let run = world.target.kbpack(&["diff", one, "--json"]);
    assert_eq!(run.code, 8, "{}", run.stderr);
    let document = run.json();
    assert_eq!(states(&document), ["app: only-left", "db: unknown", "keys: different", "repo: only-left"]);
    assert!(of(&document["components"], "db")["error"].as_str().unwrap().contains("state.db"));

    // Nor one of which nobody can say where it lies.
    std::os::unix::fs::symlink("/nowhere", world.target.join("app")).unwrap();
    let run = world.target.kbpack(&["diff", one, "--json"]);
    assert_eq!(run.code, 8, "{}", run.stderr);
    let document = run.json();
    assert_eq!(states(&document), ["db: unknown", "keys: different", "repo: only-left", "app: unknown"]);
    let why = format!("{}/app: a symlink to nothing", world.target.path.display());
    assert_eq!(of(&document["components"], "app")["error"], why);
    world.target.kbpack(&["diff", one, "--only", "keys"]).ok();
    assert_eq!(world.target.kbpack(&["diff", one, "--only", "app"]).code, 8);
    // A check of the bundle says so of that one, too, and looks at the others.
    let checked = world.target.kbpack(&["check", one, "--json"]).json();
    assert_eq!(checked["components"].as_array().unwrap().len(), 4, "{checked}");
    assert_eq!(of(&checked["components"], "app")["results"][0]["failure"], why);
    fs::remove_file(world.target.join("app")).unwrap();

    // A long list has an end, unless all of it is wanted.
    world.import(Path::new(one), &["--only", "app"]).ok();
    for n in 0..30 {
        world.target.write(&format!("app/more/{n:02}"), "x");
    }
    let short = world.target.kbpack(&["diff", one, "--only", "app"]).ok().text();
    assert!(short.contains("and 11 more: -v lists all") && !short.contains("more/29"), "{short}");
    let long = world.target.kbpack(&["diff", one, "--only", "app", "-v"]).ok().text();
    assert!(long.contains("more/29"), "{long}");
}
