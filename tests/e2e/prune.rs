//! `prune`: what it removes, and all that it leaves alone.

use crate::support::{furnish, Home, Run, World};
use crate::terminal::Terminal;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A source whose own identity opens what it exports, and a folder of its bundles.
struct Scene {
    world: World,
    folder: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        let folder = world.path("bundles");
        fs::create_dir(&folder).unwrap();
        Scene { world, folder }
    }

    /// The source exports for itself to `name` in the folder.
    fn export(&self, name: &str) -> PathBuf {
        let recipient = recipient(&self.world.source);
        self.export_for(&recipient, name)
    }

    fn export_for(&self, recipient: &str, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.world.source.kbpack(&["export", "-r", recipient, "-o", path.to_str().unwrap()]).ok();
        path
    }

    fn prune(&self, more: &[&str]) -> Run {
        let args = [&["prune", self.folder.to_str().unwrap()], more].concat();
        self.world.source.kbpack(&args)
    }

    fn names(&self) -> Vec<String> {
        names(&self.folder)
    }
}

fn recipient(home: &Home) -> String {
    home.kbpack(&["keygen", "--show", "--json"]).ok().json()["recipient"].as_str().unwrap().to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The file was written `days` ago.
fn age(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_dry_run_shows_and_removes_nothing_and_the_newest_stays() {
    let scene = Scene::new();
    for name in ["1.kbp", "2.kbp", "3.kbp"] {
        scene.export(name);
    }
    // The time of making counts, not that of the file.
    age(&scene.folder.join("3.kbp"), 100);
    let shown = scene.prune(&["--keep-last", "2", "--dry-run"]).ok().text();
    let row = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row("1.kbp").trim().starts_with("remove"), "{shown}");
    assert!(row("3.kbp").contains("(newest, last)"), "{shown}");
    assert_eq!(scene.names(), ["1.kbp", "2.kbp", "3.kbp"]);

    let document = scene.prune(&["--keep-last", "2", "--dry-run", "--json"]).ok().json();
    assert_eq!(document["bundles"][0]["profile"], "small");
    assert_eq!(document["bundles"][2]["keep"], serde_json::json!([]));
    assert_eq!(document["removed"], serde_json::json!([]));

    scene.prune(&["--keep-last", "2"]).fails(2, "nobody can be asked");
    assert_eq!(scene.names().len(), 3);
    let run = scene.prune(&["--keep-last", "2", "--yes"]).ok();
    assert!(run.stderr.contains("removed: 1, left: 2"), "{}", run.stderr);
    assert_eq!(scene.names(), ["2.kbp", "3.kbp"]);
    // All of one day: the newest of it.
    scene.prune(&["--keep-monthly", "1", "--yes"]).ok();
    assert_eq!(scene.names(), ["3.kbp"]);
    let run = scene.prune(&["--keep-within", "1s", "--yes"]).ok();
    assert!(run.stderr.contains("there is nothing to remove"), "{}", run.stderr);
    assert_eq!(scene.names(), ["3.kbp"]);
}

#[test]
fn a_person_is_asked() {
    let scene = Scene::new();
    scene.export("1.kbp");
    scene.export("2.kbp");
    let line = format!("\"$KBPACK\" prune {} --keep-last 1", scene.folder.display());
    let answered = |answer: &str| {
        Terminal::start(&scene.world.source, &line, |_| ()).talk(&[("Remove these? [y/N] ", answer)])
    };
    let no = answered("n");
    assert!(no.code == 2 && no.text().contains("nothing was changed"), "{}", no.text());
    assert_eq!(scene.names(), ["1.kbp", "2.kbp"]);
    let yes = answered("y");
    assert!(yes.code == 0 && yes.text().contains("remove"), "{}", yes.text());
    assert_eq!(scene.names(), ["2.kbp"]);
}

#[test]
fn what_does_not_open_goes_by_the_time_of_its_file() {
    let scene = Scene::new();
    for (name, days) in [("a.kbp", 40), ("b.kbp", 3), ("c.kbp", 2), ("d.kbp", 1)] {
        age(&scene.export_for(&scene.world.recipient, name), days);
    }
    let shown = scene.prune(&["--keep-last", "1", "--keep-within", "60h", "--dry-run"]).ok().text();
    assert!(shown.contains("not opened: by the times of the files"), "{shown}");
    scene.prune(&["--keep-last", "1", "--keep-within", "60h", "--yes"]).ok();
    assert_eq!(scene.names(), ["c.kbp", "d.kbp"]);
    // The target opens them.
    let identity = scene.world.target.join(".config/kbpack/identity.txt");
    let args = ["--keep-daily", "1", "--dry-run", "-i", identity.to_str().unwrap()];
    assert!(scene.prune(&args).ok().text().contains("profile small, signed by"));
    // A bundle with a passphrase is not asked for it.
    let script = format!(
        "KBPACK_PASSPHRASE_FD=3 {} export -p -o {} 3< <(printf 'correct horse\\n')",
        crate::support::KBPACK,
        scene.folder.join("p.kbp").display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env_clear().env("HOME", &scene.world.source.path);
    Run::of(bash.env("PATH", std::env::var_os("PATH").unwrap())).ok();
    scene.prune(&["--keep-last", "9", "--yes"]).ok();
    assert_eq!(scene.names(), ["c.kbp", "d.kbp", "p.kbp"]);
}

#[test]
fn what_is_no_bundle_or_damaged_stays_and_does_not_count() {
    let scene = Scene::new();
    let old = scene.export("old.kbp");
    let newer = scene.export("newer.kbp");
    scene.export("newest.kbp");
    let bytes = fs::read(scene.folder.join("newest.kbp")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(scene.folder.join(name), bytes).unwrap();
    put("cut.kbp", &bytes[..bytes.len() - 700]);
    put("followed.kbp", &[&bytes[..], b"x"].concat());
    let seal = bytes.windows(14).rposition(|name| name == b"SHA256SUMS.sig").unwrap();
    let mut changed = bytes.clone();
    changed[seal + 700] ^= 1;
    put("seal.kbp", &changed);
    put("empty.kbp", b"");
    put("notes.kbp", &b"hello\n".repeat(1000));
    put("notes.txt", b"hello\n");
    fs::create_dir(scene.folder.join("inside.kbp")).unwrap();
    fs::copy(&old, scene.folder.join("inside.kbp/deep.kbp")).unwrap();
    let elsewhere = scene.world.path("elsewhere.kbp");
    fs::copy(&old, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, scene.folder.join("link.kbp")).unwrap();
    Run::of(Command::new("mkfifo").arg(scene.folder.join("fifo.kbp"))).ok();

    let before = scene.names();
    let run = scene.prune(&["--keep-last", "1", "--yes"]).ok();
    for name in ["cut.kbp", "followed.kbp", "seal.kbp"] {
        assert!(run.stderr.contains(&format!("warning: prune: {name}: ")), "{name}: {}", run.stderr);
    }
    let document = scene.prune(&["--keep-last", "1", "--dry-run", "--json"]).ok().json();
    let damaged = document["damaged"].as_array().unwrap().iter().map(|d| d["file"].as_str().unwrap());
    assert_eq!(damaged.collect::<Vec<_>>(), ["cut.kbp", "followed.kbp", "seal.kbp"]);
    for name in ["notes.", "inside.kbp", "link.kbp", "fifo.kbp", "empty.kbp"] {
        assert!(!run.stderr.contains(name), "{}", run.stderr);
    }
    let left: Vec<String> =
        before.into_iter().filter(|name| !["old.kbp", "newer.kbp"].contains(&name.as_str())).collect();
    assert_eq!(scene.names(), left);
    assert!(!newer.exists() && elsewhere.exists() && scene.folder.join("inside.kbp/deep.kbp").exists());
    let verbose = scene.prune(&["--keep-last", "1", "--yes", "-v"]).ok();
    assert!(verbose.stderr.contains("note: prune: link.kbp: no bundle; left alone"), "{}", verbose.stderr);
}

#[test]
fn a_bundle_that_rotted_is_noticed_if_all_is_read() {
    let scene = Scene::new();
    scene.export("good.kbp");
    let path = scene.export("rotten.kbp");
    let mut bytes = fs::read(&path).unwrap();
    let header = bytes.windows(17).position(|name| name == b"/s/000001/000001\0").unwrap();
    bytes[header + 1024] ^= 1;
    fs::write(&path, bytes).unwrap();
    let shown = scene.prune(&["--keep-last", "1", "--dry-run", "--verify"]).ok();
    assert!(shown.stderr.contains("rotten.kbp: s/000001/000001 is damaged"), "{}", shown.stderr);
    assert!(shown.text().contains("good.kbp  (newest, last)"), "{}", shown.text());
    scene.prune(&["--keep-last", "1", "--verify", "--yes"]).ok();
    assert_eq!(scene.names(), ["good.kbp", "rotten.kbp"]);
}

#[test]
fn bundles_of_strangers_and_copies_push_nothing_out() {
    let scene = Scene::new();
    let old = scene.export("old.kbp");
    let new = scene.export("new.kbp");
    // A stranger's newer ones, of a profile of the same name, made for us to open.
    let stranger = Home { path: scene.world.path("stranger") };
    fs::create_dir(&stranger.path).unwrap();
    furnish(&stranger);
    stranger.chmod(".config/kbpack", 0o700);
    stranger.kbpack(&["keygen"]).ok();
    let recipient = recipient(&scene.world.source);
    for n in 0..3 {
        let path = scene.folder.join(format!("stranger-{n}.kbp"));
        stranger.kbpack(&["export", "-r", &recipient, "-o", path.to_str().unwrap()]).ok();
    }
    // And copies of ours.
    for n in 0..3 {
        fs::copy(&old, scene.folder.join(format!("copy-{n}.kbp"))).unwrap();
        fs::copy(&new, scene.folder.join(format!("again-{n}.kbp"))).unwrap();
    }
    let document = scene.prune(&["--keep-last", "2", "--json", "--yes"]).ok().json();
    assert!(old.exists() && new.exists());
    // What was not trusted was not opened.
    let bundles = document["bundles"].as_array().unwrap();
    let strangers = bundles.iter().filter(|b| b["file"].as_str().unwrap().starts_with("stranger"));
    assert!(strangers.clone().count() == 3 && strangers.clone().all(|b| b["profile"].is_null()));
    assert_eq!(scene.names().iter().filter(|name| name.starts_with("stranger")).count(), 2);
    assert_eq!(scene.names().len(), 2 + 6 + 2);

    // Where they are trusted, and have a profile of the same name.
    let signer = stranger.kbpack(&["keygen", "--show", "--json"]).ok().json()["signer"].clone();
    scene.world.source.kbpack(&["trust", "add", "stranger", signer.as_str().unwrap()]).ok();
    let document = scene.prune(&["--keep-last", "1", "--json", "--yes"]).ok().json();
    assert!(document["bundles"].as_array().unwrap().iter().all(|bundle| bundle["profile"] == "small"));
    assert!(!old.exists() && new.exists());
    // Where nothing opens.
    let closed = ["a.kbp", "b.kbp"].map(|name| scene.export_for(&scene.world.recipient, name));
    age(&closed[0], 20);
    age(&closed[1], 10);
    for n in 3..6 {
        let path = scene.folder.join(format!("stranger-{n}.kbp"));
        let for_target = ["export", "-r", &scene.world.recipient, "-o", path.to_str().unwrap()];
        stranger.kbpack(&for_target).ok();
    }
    scene.prune(&["--keep-last", "2", "--yes"]).ok();
    assert!(closed.iter().all(|bundle| bundle.exists()), "{:?}", scene.names());
}

#[test]
fn one_that_cannot_be_removed_does_not_keep_the_others() {
    // Only the immutable attribute stops root, and only root can set it.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let stuck = scene.export("1.kbp");
    scene.export("2.kbp");
    scene.export("3.kbp");
    let attribute = |flag: &str| Run::of(Command::new("chattr").arg(flag).arg(&stuck));
    if attribute("+i").code != 0 {
        return;
    }
    let run = scene.prune(&["--keep-last", "1", "--yes", "--json"]);
    attribute("-i").ok();
    let document = run.json();
    assert_eq!(document["failed"], serde_json::json!(["1.kbp"]));
    assert_eq!(document["removed"], serde_json::json!(["2.kbp"]));
    run.fails(1, "1 of the bundles that should go could not be removed");
    assert_eq!(scene.names(), ["1.kbp", "3.kbp"]);
}

#[test]
fn the_command_line_wants_a_place_and_a_rule() {
    let scene = Scene::new();
    scene.prune(&[]).fails(2, "--keep-last");
    scene.prune(&["--keep-last", "0"]).fails(2, "a number from 1 on");
    scene.prune(&["--keep-within", "1y"]).fails(2, "such as 30d");
    scene.prune(&["--keep-last", "1", "--backups"]).fails(2, "cannot be used with");
    scene.world.source.kbpack(&["prune", "--keep-last", "1"]).fails(2, "DIR");
    scene.world.source.kbpack(&["prune", "none", "--keep-last", "1"]).fails(2, "none");
    scene.world.source.kbpack(&["prune", ".bashrc", "--keep-last", "1"]).fails(2, ".bashrc");
}

#[test]
fn backups_that_an_unfinished_import_needs_stay() {
    let scene = Scene::new();
    let (source, state) = (&scene.world.source, ".local/state/kbpack");
    let run = |n: u32| format!("{n:016x}");
    let none = source.kbpack(&["prune", "--backups", "--keep-last", "1", "--yes"]).ok();
    assert!(none.stderr.contains("there is nothing to remove"), "{}", none.stderr);
    // A bundle of the source's, sealed again as a backup is: its namespace is what differs.
    for n in 0..4 {
        let sealed = as_backup(&fs::read(scene.export(&format!("{n}.kbp"))).unwrap(), source);
        source.write(&format!("{state}/backups/{}.kbp", run(n)), sealed);
    }
    fs::copy(scene.folder.join("0.kbp"), source.join(&format!("{state}/backups/other.kbp"))).unwrap();
    source.write(&format!("{state}/journals/{}.jsonl", run(1)), "");
    let shown = source.kbpack(&["prune", "--backups", "--keep-last", "1", "--dry-run"]).ok().text();
    assert!(shown.contains("0000000000000001.kbp  (an unfinished import needs it)"), "{shown}");
    assert!(!shown.contains("other.kbp") && shown.contains("profile small"), "{shown}");
    source.kbpack(&["prune", "--backups", "--keep-last", "1", "--yes"]).ok();
    let left = names(&source.join(&format!("{state}/backups")));
    assert_eq!(left, [format!("{}.kbp", run(1)), format!("{}.kbp", run(3)), "other.kbp".to_owned()]);
    // In a folder of bundles, a backup is none of them.
    fs::copy(source.join(&format!("{state}/backups/{}.kbp", run(3))), scene.folder.join("backup.kbp"))
        .unwrap();
    let run = scene.prune(&["--keep-last", "1", "--dry-run"]).ok();
    assert!(run.stderr.contains("backup.kbp: its signature was made for kbpack-backup"), "{}", run.stderr);
}

/// `bundle` with a seal by `home`'s key for the namespace of backups, of the same length.
fn as_backup(bundle: &[u8], home: &Home) -> Vec<u8> {
    let find = |what: &[u8]| bundle.windows(what.len()).rposition(|window| window == what).unwrap();
    let begin = find(b"-----BEGIN SSH SIGNATURE-----\n");
    let end = find(b"-----END SSH SIGNATURE-----\n") + 28;
    let sums_header = bundle.windows(15).position(|name| name == b"/SHA256SUMS\0\0\0\0").unwrap();
    let sums_header = sums_header / 512 * 512;
    let octal = std::str::from_utf8(&bundle[sums_header + 124..sums_header + 135]).unwrap();
    let size = usize::from_str_radix(octal, 8).unwrap();
    let sums = &bundle[sums_header + 512..sums_header + 512 + size];
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", "kbpack-backup", "-f"]).arg(home.join(".config/kbpack/signing_key"));
    let seal = Run::with_input(&mut sign, sums).ok().stdout;
    assert_eq!(seal.len(), end - begin);
    [&bundle[..begin], &seal, &bundle[end..]].concat()
}

#[test]
fn what_shrank_takes_no_whole_ones_place() {
    let scene = Scene::new();
    let home = &scene.world.source;
    for n in 0..20 {
        home.write(&format!("app/files/{n}"), "x");
    }
    scene.export("1.kbp");
    fs::remove_dir_all(home.join("app/files")).unwrap();
    let to = scene.folder.join("2.kbp");
    let recipient = recipient(home);
    let export = ["export", "-r", &recipient, "-o", to.to_str().unwrap()];
    let run = home.kbpack(&export).fails(8, "component 'app' has");
    assert!(
        run.stderr.contains("entries, and had 2") && run.stderr.contains("--accept-shrink"),
        "{}",
        run.stderr
    );
    assert_eq!(scene.names(), ["1.kbp"]);
    // A part of a component is no measure of it.
    home.kbpack(&["export", "-r", &recipient, "-o", "part.kbp", "--only", "app:hooks"]).ok();
    home.kbpack(&[&export[..], &["--accept-shrink"]].concat()).ok();

    let shown = scene.prune(&["--keep-last", "1", "--dry-run"]).ok().text();
    let row = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row("1.kbp").contains("(newest, last)"), "{shown}");
    assert!(row("2.kbp").contains("(holds less than the one before"), "{shown}");
    // What is small as it should be is the measure from now on, and whole.
    scene.export("3.kbp");
    scene.prune(&["--keep-last", "1", "--yes"]).ok();
    assert_eq!(scene.names(), ["3.kbp"]);
}

#[test]
fn less_than_the_minimum_is_no_bundle() {
    let scene = Scene::new();
    let home = &scene.world.source;
    let recipient = recipient(home);
    let export = ["export", "-r", &recipient, "-o", "b.kbp"];
    let with = |minimum: &str| {
        let table = "[component.app]\n";
        home.profile(&crate::support::PROFILE.replace(table, &format!("{table}minimum = {minimum}\n")));
    };
    with("{ entries = 100, bytes = 1 }");
    home.kbpack(&export).fails(8, "component 'app' has 6 entries, and at least 100 are wanted");
    with("{ rows = 1 }");
    let run = home.kbpack(&export).fails(2, "component 'app': nothing called 'rows' is counted of it");
    assert!(run.stderr.contains("a minimum can be of bytes, entries"), "{}", run.stderr);
    with("{ entries = 6 }");
    home.kbpack(&export).ok();
    home.profile("[bundle]\nmax-shrink = 101\n[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    home.kbpack(&export).fails(2, "max-shrink is 101 percent");
}
