//! docs/RECOVERY.md does what it says: its commands, as they stand there, with stock tools, against bundles of every kind.

use crate::crash::{killed, lived_in};
use crate::postgres_server::{Server, SUPERUSER};
use crate::python;
use crate::support::{furnish, snapshot, snapshot_but_times_of_folders, Run, World, KBPACK, PROFILE};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const DOCUMENT: &str = include_str!("../../docs/RECOVERY.md");
const README: &str = include_str!("../../src/format/README.txt");

/// The commands of the blocks ```` ```sh recovery-<name> ````, in their order.
#[track_caller]
fn commands(name: &str) -> String {
    let mut found = String::new();
    let mut inside = false;
    for line in DOCUMENT.lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = fence == format!("sh recovery-{name}"),
            None if inside => found += &format!("{line}\n"),
            None => {}
        }
    }
    assert!(!found.is_empty(), "docs/RECOVERY.md has no block recovery-{name}");
    found
}

/// Puts values in place of the words in capitals, as a person would.
fn fill(text: &str, words: &[(&str, &str)]) -> String {
    let of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(of_a_word) {
        let word = &rest[start..];
        let word = &word[..word.find(|c| !of_a_word(c)).unwrap_or(word.len())];
        filled += &rest[..start];
        filled += words.iter().find(|(name, _)| *name == word).map_or(word, |(_, value)| value);
        rest = &rest[start + word.len()..];
    }
    filled + rest
}

/// A machine that is to be brought back: a home of its own, and no kbpack unless it is put on the path.
struct Machine {
    home: PathBuf,
    path: String,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    fn bare(home: PathBuf) -> Self {
        fs::create_dir_all(&home).unwrap();
        Machine { home, path: std::env::var("PATH").unwrap(), variables: Vec::new() }
    }

    fn with_kbpack(home: PathBuf) -> Self {
        let folder = Path::new(KBPACK).parent().unwrap().display();
        Machine { path: format!("{folder}:{}", std::env::var("PATH").unwrap()), ..Machine::bare(home) }
    }

    /// Runs commands in bash; the first that fails ends them.
    #[track_caller]
    fn types(&self, script: &str, words: &[(&str, &str)]) -> Run {
        let script = fill(script, words);
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &script]).current_dir(&self.home).env_clear();
        command.env("HOME", &self.home).env("PATH", &self.path).env("LC_ALL", "C.UTF-8");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let run = Run::of(&mut command);
        assert_eq!(run.code, 0, "{script}\nstdout: {}\nstderr: {}", run.text(), run.stderr);
        run
    }
}

/// A bundle that was opened with stock tools.
struct Opened {
    world: World,
    machine: Machine,
    out: PathBuf,
}

impl Opened {
    /// Exports what the source's profile says, and opens it by chapter 2.
    #[track_caller]
    fn new(world: World) -> Self {
        let bundle = world.export("b.kbp");
        let machine = Machine::bare(world.path("bare"));
        let out = world.path("out");
        let key = world.public_key();
        open(&world, &machine, &bundle, "kbpack-bundle", &key, &out);
        Opened { world, machine, out }
    }

    /// Runs the blocks of a kind for the component `name`, `place` standing for where it goes.
    #[track_caller]
    fn restore(&self, script: &str, name: &str, place: &str) -> Run {
        let out = self.out.to_str().unwrap();
        let words =
            [("OUT", out), ("NAME", name), ("DIRECTORY", place), ("FILE", place), ("DATABASE", place)];
        self.machine.types(script, &words)
    }
}

/// Chapter 2, with the target's identity, for a bundle that was sealed with `key` for `namespace`.
#[track_caller]
fn open(world: &World, machine: &Machine, bundle: &Path, namespace: &str, key: &str, out: &Path) {
    let signers = world.path("signers");
    fs::write(&signers, format!("ada namespaces=\"{namespace}\" {key}\n")).unwrap();
    let identity = world.target.join(".config/kbpack/identity.txt");
    let script = commands("open") + &commands("streams") + &commands("manifest");
    let words = [
        ("BUNDLE", bundle.to_str().unwrap()),
        ("SIGNERS", signers.to_str().unwrap()),
        ("PRINCIPAL", "ada"),
        ("IDENTITY", identity.to_str().unwrap()),
        ("OUT", out.to_str().unwrap()),
    ];
    let run = machine.types(&script.replace("kbpack-bundle", namespace), &words);
    assert!(run.text().contains(&format!("Good \"{namespace}\" signature for ada")), "{}", run.text());
}

/// Everything of a tree that an import would restore too.
#[track_caller]
fn differences(from: &Path, to: &Path, exclude: &[&str]) -> String {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--delete", "--itemize-changes"]);
    rsync.args(exclude.iter().map(|path| format!("--exclude={path}")));
    rsync.arg(format!("{}/", from.display())).arg(format!("{}/", to.display()));
    Run::of(&mut rsync).ok().text()
}

#[test]
fn it_opens_a_bundle_with_the_commands_of_readme_txt() {
    let opening = commands("open");
    let steps = README.split("\n4. ").next().unwrap();
    let printed: Vec<&str> = steps.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(printed.len() > 5);
    assert_eq!(opening.lines().collect::<Vec<_>>(), printed);
}

#[test]
fn files() {
    let world = World::new();
    furnish(&world.source);
    std::os::unix::fs::symlink("nowhere", world.source.join("app/broken")).unwrap();
    fs::hard_link(world.source.join("app/big.bin"), world.source.join("app/again.bin")).unwrap();
    world.source.chmod("app/empty", 0o500);
    world.source.chmod("app/settings.json", 0o666);
    world.source.chmod("app", 0o751);
    world.source.write("one.conf", "a = 1\n");
    world.source.profile(&format!("{PROFILE}\n[component.one]\nkind = \"files\"\npath = \"~/one.conf\"\n"));
    let opened = Opened::new(world);

    let place = opened.machine.home.join("srv/app");
    let run = opened.restore(&commands("files"), "app", place.to_str().unwrap());
    assert!(run.text().contains("\"mode\": \"0751\""), "{}", run.text());
    let source = &opened.world.source;
    assert_eq!(differences(&source.join("app"), &place, &["/debug", "/credentials.json"]), "");

    // A single file, which has no directory to be set right.
    opened.restore(&shards_only(), "one", opened.machine.home.to_str().unwrap());
    assert_eq!(fs::read(opened.machine.home.join("one.conf")).unwrap(), source.read("one.conf"));
}

/// The commands for files, without those for the metadata of the tree's own directory.
fn shards_only() -> String {
    commands("files")
        .lines()
        .take_while(|line| !line.starts_with("jq "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn what_is_whole_of_a_damaged_bundle() {
    let world = World::new();
    world.source.write("a/precious.txt", "precious\n");
    // Nothing that shrinks.
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    world.source.write("b/big.bin", (0..3 << 20).map(|_| random()).collect::<Vec<u8>>());
    let tree = |name: &str| format!("[component.{name}]\nkind = \"files\"\npath = \"~/{name}\"\n");
    world.source.profile(&(tree("a") + &tree("b")));
    let bundle = world.export("b.kbp");
    let bytes = fs::read(&bundle).unwrap();

    // One byte is another one: kbpack gives what that is not in.
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let damaged = world.path("flipped.kbp");
    fs::write(&damaged, flipped).unwrap();
    let out = world.path("extracted");
    let extract = |name| {
        let args = ["extract", damaged.to_str().unwrap(), name, "-C", out.to_str().unwrap()];
        world.target.kbpack(&args)
    };
    extract("a").ok();
    extract("b").fails(3, "is damaged");

    // The end is missing: stock tools give what is there.
    let cut = world.path("cut.kbp");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (machine, out) = (Machine::bare(world.path("bare")), world.path("out"));
    let identity = world.target.join(".config/kbpack/identity.txt");
    let words = [
        ("BUNDLE", cut.to_str().unwrap()),
        ("IDENTITY", identity.to_str().unwrap()),
        ("OUT", out.to_str().unwrap()),
    ];
    let said = machine.types(&commands("salvage"), &words).text();
    assert_eq!(said.matches(" is not whole").count(), 1, "{said}");
    let broken = said.trim_end().strip_suffix(" is not whole").unwrap();
    let archives = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let whole: Vec<_> = archives.filter(|path| !path.ends_with(broken)).collect();
    let unpack = |path: &PathBuf| {
        let place = path.with_extension("d");
        fs::create_dir(&place).unwrap();
        let done = Command::new("tar").arg("-xf").arg(path).arg("-C").arg(&place).output().unwrap();
        (done.status.success() && place.join("precious.txt").is_file()).then(|| place.join("precious.txt"))
    };
    let found: Vec<_> = whole.iter().filter_map(unpack).collect();
    assert_eq!(found.len(), 1, "{whole:?}");
    assert_eq!(fs::read(&found[0]).unwrap(), b"precious\n");
}

#[test]
fn secrets() {
    let world = World::new();
    furnish(&world.source);
    world
        .source
        .write(".bashrc", "export A=\"it's \\$HOME\"\nexport B=$'two\\nlines\\n\\n\\xff'\nexport C=\n");
    world.source.write(".pgpass", "local\\:host:5432:app:ada:a\\:b\\\\c d\n");
    world.source.chmod(".pgpass", 0o600);
    world.source.write("key.pem", b"\x00\xff\nbinary\n\n");
    world.source.chmod("key.pem", 0o440);
    world.source.profile(
        "[component.keys]\nkind = \"secrets\"\nenv = { file = \"~/.bashrc\", names = [\"A\", \"B\", \"C\"] }\n\
         pgpass = [\"local\\\\:host:5432:app:ada\"]\n\
         files = [{ path = \"~/key.pem\", mode = \"440\" }]\n",
    );
    let opened = Opened::new(world);
    // What is there is replaced.
    fs::write(opened.machine.home.join("key.pem"), "old").unwrap();
    opened.restore(&commands("secrets"), "keys", "");

    let keys = opened.out.join("keys");
    let values = |home: &Path, file: &Path| {
        let mut command = Command::new("bash");
        let script = format!(". {}; printf '%s|%s|%s' \"$A\" \"$B\" \"$C\"", file.display());
        Run::of(command.args(["-c", &script]).env_clear().env("HOME", home)).ok().stdout
    };
    let source = &opened.world.source;
    let bashrc = source.join(".bashrc");
    assert_eq!(values(&source.path, &keys.join("env.sh")), values(&source.path, &bashrc));
    assert_eq!(fs::read(keys.join("pgpass")).unwrap(), source.read(".pgpass"));
    let [was, is] = [&source.path, &opened.machine.home]
        .map(|home| snapshot(home).into_iter().find(|row| row.starts_with("key.pem")).unwrap());
    let but_time = |row: &str| row.split(' ').take(3).chain(row.split(' ').skip(4)).collect::<String>();
    assert_eq!(but_time(&is), but_time(&was));
    // Nothing of it can be read by others.
    let open_to_others = "find OUT/keys ! -type l -perm /077";
    assert_eq!(opened.restore(open_to_others, "keys", "").text(), "");
}

#[test]
fn sqlite() {
    let world = World::new();
    let live = world.source.write("app/state.db", "");
    let sqlite3 = |db: &Path, sql: &str| Run::of(Command::new("sqlite3").arg(db).arg(sql)).ok().text();
    sqlite3(
        &live,
        "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1), ('zwölf'), (x'00ff')",
    );
    world.source.chmod("app/state.db", 0o640);
    world.source.profile("[component.state]\nkind = \"sqlite\"\npath = \"~/app/state.db\"\n");
    let opened = Opened::new(world);
    // An old database, with a log that must not be mixed with the new one.
    let place = opened.machine.home.join("app/state.db");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "damaged").unwrap();
    fs::write(place.with_extension("db-wal"), "of another one").unwrap();
    let run = opened.restore(&commands("sqlite"), "state", place.to_str().unwrap());
    assert_eq!(run.text(), "ok\n");
    assert!(!place.with_extension("db-wal").exists());
    assert_eq!(fs::read(place.with_extension("db.old")).unwrap(), b"damaged");
    assert_eq!(fs::read(place.with_extension("db.old-wal")).unwrap(), b"of another one");
    assert_eq!(sqlite3(&place, ".dump"), sqlite3(&live, ".dump"));
    assert_eq!(fs::metadata(&place).unwrap().permissions(), fs::metadata(&live).unwrap().permissions());
}

/// Stock git, in nobody's environment.
#[track_caller]
fn git(dir: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(dir).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
    }
    Run::of(&mut command).ok().text()
}

#[test]
fn git_with_large_files() {
    let world = World::new();
    let live = world.source.join("code");
    fs::create_dir(&live).unwrap();
    git(
        &live,
        "git init -q -b trunk; git lfs install --local; echo '*.bin filter=lfs -text' > .gitattributes
         seq 9000 > big.bin; git add -A; git commit -qm first; seq 8000 > big.bin; git commit -qam second",
    );
    world.source.profile("[component.code]\nkind = \"git\"\npath = \"~/code\"\n");
    let opened = Opened::new(world);
    let place = opened.machine.home.join("code");
    // As `git lfs install` has it: a checkout asks for contents, and fails where they are nowhere.
    let filters =
        "[filter \"lfs\"]\n clean = git-lfs clean -- %f\n smudge = git-lfs smudge -- %f\n required = true\n";
    fs::write(opened.machine.home.join(".gitconfig"), filters).unwrap();
    let script = commands("git") + &commands("git-lfs");
    opened.restore(&script, "code", place.to_str().unwrap());
    for seen in [
        "cat big.bin",
        "git status --porcelain",
        "git checkout -q HEAD~1; cat big.bin; git checkout -q trunk",
    ] {
        assert_eq!(git(&place, seen), git(&live, seen), "{seen}");
    }
}

#[test]
fn git_with_submodules() {
    let world = World::new();
    let live = world.source.join("code");
    fs::create_dir(&live).unwrap();
    git(
        &world.source.path,
        "for lib in lib 'other lib'; do git init -q -b main \"$lib\"; cd \"$lib\"; echo \"$lib\" > a; git add -A; git commit -qm lib; cd ..; done
         cd code; git init -q -b trunk; echo one > a; git add -A; git commit -qm first
         git -c protocol.file.allow=always submodule --quiet add --name named ../lib vendor/lib
         git -c protocol.file.allow=always submodule --quiet add '../other lib' 'other lib'; git commit -qm modules
         cd vendor/lib; git checkout -q --detach; echo two > b; git add -A; git commit -qm two; cd ../..; git commit -qam moved",
    );
    world.source.profile("[component.code]\nkind = \"git\"\npath = \"~/code\"\nsubmodules = true\n");
    let opened = Opened::new(world);
    let place = opened.machine.home.join("code");
    let script = commands("git") + &commands("git-submodules");
    opened.restore(&script, "code", place.to_str().unwrap());
    for seen in [
        "git submodule foreach --quiet 'git rev-parse HEAD main; cat *; git fsck --strict'; git status --porcelain",
        "git submodule status | cut -c 1-60; cat vendor/lib/.git",
    ] {
        assert_eq!(git(&place, seen), git(&live, seen), "{seen}");
    }
}

#[test]
fn git_with_what_was_in_no_commit() {
    let world = World::new();
    let live = world.source.join("code");
    fs::create_dir(&live).unwrap();
    git(
        &live,
        "git init -q -b trunk; echo one > a; echo b > b; git add -A; git commit -qm first; git tag -a -m x v1
         git branch side; git notes add -m note; echo stashed > a; git stash -q
         echo staged > a; git add a; echo changed > a; rm b; echo new > c",
    );
    world.source.profile("[component.code]\nkind = \"git\"\npath = \"~/code\"\nuncommitted = \"include\"\n");
    let opened = Opened::new(world);
    let place = opened.machine.home.join("code");
    let script = commands("git") + &commands("git-uncommitted");
    opened.restore(&script, "code", place.to_str().unwrap());
    for seen in [
        "git for-each-ref --format='%(objectname) %(refname)'; git symbolic-ref HEAD",
        "git status --porcelain",
        "git diff; git diff --cached; cat a c; git stash list --format=%H; git fsck --no-dangling",
    ] {
        assert_eq!(git(&place, seen), git(&live, seen), "{seen}");
    }
}

const ZOO: &str = include_str!("../postgres/zoo.sql");

#[test]
fn python_environments() {
    let world = World::new();
    python::index(&world.source, &["kbdemo 1.0 py3-none-any kbother>=2", "kbother 2.1"]);
    python::venv(&world.source, &["kbdemo"]);
    let component = |name: &str| format!("[component.{name}]\nkind = \"python\"\npath = \"~/app/venv\"\n");
    world.source.profile(&format!("{}wheels = true\n", component("venv")));
    let opened = Opened::new(world);
    let place = opened.machine.home.join("with/venv");
    opened.restore(&commands("python"), "venv", place.to_str().unwrap());
    assert_eq!(python::frozen(&place), "kbdemo==1.0\nkbother==2.1\n");
    // An index has newer ones by now.
    python::index(&opened.world.source, &["kbother 2.2"]);
    let pip = opened.world.source.read(".config/pip/pip.conf");
    fs::create_dir_all(opened.machine.home.join(".config/pip")).unwrap();
    fs::write(opened.machine.home.join(".config/pip/pip.conf"), pip).unwrap();
    let place = opened.machine.home.join("without/venv");
    opened.restore(&commands("python-index"), "venv", place.to_str().unwrap());
    assert_eq!(python::frozen(&place), "kbdemo==1.0\nkbother==2.1\n");

    // What an import replaced is in its backup, and works where it was.
    let Opened { world, .. } = opened;
    python::index(&world.target, &["kbdemo 0.9"]);
    python::venv(&world.target, &["kbdemo"]);
    let before = snapshot(&world.target.join("app/venv"));
    world.import(&world.path("b.kbp"), &[]).ok();
    let backups = fs::read_dir(world.target.join(".local/state/kbpack/backups")).unwrap();
    let backup = backups.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some()).unwrap();
    let key = String::from_utf8(world.target.read(".config/kbpack/signing_key.pub")).unwrap();
    let (machine, out) = (Machine::bare(world.path("barer")), world.path("old"));
    open(&world, &machine, &backup, "kbpack-backup", key.trim(), &out);
    let place = world.target.join("app/venv");
    fs::remove_dir_all(&place).unwrap();
    let words = [("OUT", out.to_str().unwrap()), ("NAME", "venv"), ("DIRECTORY", place.to_str().unwrap())];
    machine.types(&commands("python-backup"), &words);
    // The folder itself is made anew.
    assert_eq!(snapshot(&place)[1..], before[1..]);
    assert_eq!(python::frozen(&place), "kbdemo==0.9\n");
}

#[test]
fn postgres() {
    let (source, target) = (Server::start(), Server::start());
    let world = World::new();
    let client = |server: &Server, script: &str| {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).envs(server_variables(server));
        Run::with_input(&mut command, ZOO.as_bytes()).ok().text()
    };
    let roles = "CREATE ROLE zoo_keeper; CREATE ROLE zoo_reader";
    client(&source, &format!("psql -Xq -d postgres -c '{roles}'; createdb app; psql -Xq -v ON_ERROR_STOP=1 -d app -o /dev/null"));
    let url = source.on_socket(SUPERUSER, "app");
    world.source.profile(&format!("[component.db]\nkind = \"postgres\"\nurl = \"{url}\"\n"));
    let mut opened = Opened::new(world);
    opened.machine.variables = server_variables(&target);
    opened.restore(&commands("postgres"), "db", "restored");
    assert!(!opened.out.join("db/refused.sh").exists());

    // What stock pg_dump says of both, rows in any order.
    let dump = |server: &Server, name: &str| {
        let text = client(server, &format!("pg_dump --inserts -d {name}"));
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (was, is) = (dump(&source, "app"), dump(&target, "restored"));
    let missing: Vec<_> = was.iter().filter(|line| !is.contains(line)).collect();
    let added: Vec<_> = is.iter().filter(|line| !was.contains(line)).collect();
    assert!(was == is, "missing: {missing:#?}\nadded: {added:#?}");
}

/// How stock tools find a server as its superuser.
fn server_variables(server: &Server) -> Vec<(&'static str, String)> {
    let host = server.path().to_str().unwrap().to_owned();
    vec![("PGHOST", host), ("PGPORT", server.port.to_string()), ("PGUSER", SUPERUSER.to_owned())]
}

/// A machine on which an import has replaced things, and the run's name.
fn imported() -> (World, String) {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let import = world.import(&world.export("b.kbp"), &["--json"]).ok().json();
    let backup = PathBuf::from(import["backup"]["path"].as_str().unwrap());
    (world, backup.file_stem().unwrap().to_str().unwrap().to_owned())
}

#[test]
fn with_kbpack_an_import_is_looked_at_and_taken_back() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let before = snapshot_but_times_of_folders(&world.target);
    world.import(&world.export("b.kbp"), &[]).ok();
    let machine = Machine::with_kbpack(world.target.path.clone());
    let seen = machine.types(&commands("look"), &[]).text();
    for part in ["small", ".log", "takes the import "] {
        assert!(seen.contains(part), "{part} is not in: {seen}");
    }
    machine.types(&commands("recover"), &[]);
    machine.types(&commands("rollback"), &[]);
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
}

#[test]
fn a_backup_is_read_with_kbpack_and_without() {
    let (world, run) = imported();
    let backup = world.target.join(&format!(".local/state/kbpack/backups/{run}.kbp"));
    let outs = [world.path("with"), world.path("without")];
    let with = Machine::with_kbpack(world.target.path.clone());
    let words = [("BUNDLE", backup.to_str().unwrap()), ("NAME", "app"), ("OUT", outs[0].to_str().unwrap())];
    with.types(&commands("extract"), &words);

    let bare = Machine::bare(world.path("bare"));
    let key = String::from_utf8(world.target.read(".config/kbpack/signing_key.pub")).unwrap();
    open(&world, &bare, &backup, "kbpack-backup", key.trim(), &outs[1]);

    for out in outs {
        let place = out.join("restored");
        let words = [("OUT", out.to_str().unwrap()), ("NAME", "app"), ("DIRECTORY", place.to_str().unwrap())];
        bare.types(&shards_only(), &words);
        assert_eq!(fs::read(place.join("settings.json")).unwrap(), b"{\"a\": 0}\n");
        assert_eq!(fs::read(place.join("hooks/run.sh")).unwrap(), b"#!/bin/sh\necho old\n");
    }
}

#[test]
fn what_a_killed_import_replaced_is_where_the_journal_says() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(&world.target);
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    killed(&world.target, &args, "renameat2", 4);
    let journals = world.target.join(".local/state/kbpack/journals");
    let journal = fs::read_dir(&journals).unwrap().next().unwrap().unwrap().path();
    let run = journal.file_stem().unwrap().to_str().unwrap();
    assert_ne!(snapshot_but_times_of_folders(&world.target), before);

    // Also if a line of it is damaged.
    let whole = fs::read_to_string(&journal).unwrap();
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[0] = "{\"damaged";
    fs::write(&journal, lines.join("\n") + "\n").unwrap();
    world.target.kbpack(&["recover"]).fails(10, "the journal is damaged");
    let machine = Machine::with_kbpack(world.target.path.clone());
    let home = world.target.path.display();
    let script = commands("journal").replace("find / ", &format!("find {home} "));
    let shown = machine.types(&script, &[("RUN", run)]).text();
    assert!(shown.lines().any(|line| line == format!("{home}/.kbpack-stage-{run}")), "{shown}");

    // By hand, from the last act to the first.
    let acts: Vec<serde_json::Value> = shown
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .map(|row: serde_json::Value| row[1].clone())
        .collect();
    let text = |act: &serde_json::Value, key: &str| act[key].as_str().unwrap().to_owned();
    let (base, side) = (text(&acts[0], "base"), text(&acts[0], "side"));
    let mut put_back = 0;
    for act in acts.iter().rev().filter(|act| act["op"] == "put") {
        let place = Path::new(&base).join(text(act, "path"));
        if act["old"].is_null() {
            let added = place.symlink_metadata().is_ok_and(|meta| act["new"]["ino"] == meta.ino());
            put_back += u32::from(added);
            machine.types(
                if added { "mv -T PLACE PLACE.imported" } else { "" },
                &[("PLACE", place.to_str().unwrap())],
            );
            continue;
        }
        let words =
            [("SIDE", &*side), ("INO", &act["old"]["ino"].to_string()), ("PLACE", place.to_str().unwrap())];
        machine.types(&commands("put-back"), &words);
        put_back += u32::from(Path::new(&format!("{}.imported", place.display())).exists());
    }
    assert!((1..5).contains(&put_back), "{put_back} of {acts:#?}");
    machine.types(&commands("journal-away"), &[("RUN", run)]);
    machine.types("rm ~/RUN.jsonl; find ~ -depth \\( -name '*.imported' -o -name '.kbpack-stage-*' \\) -exec rm -r {} +", &[("RUN", run)]);
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
    world.import(&bundle, &[]).ok();
}

#[test]
fn a_lost_state_directory_does_not_keep_a_bundle_out() {
    let (world, _) = imported();
    fs::remove_dir_all(world.target.join(".local/state/kbpack")).unwrap();
    let bundle = world.path("b.kbp");
    world.import(&bundle, &[]).fails(4, "the sequence mark of the trusted signer");
    let key = world.source.join(".config/kbpack/signing_key.pub");
    let words = [("PRINCIPAL", "source"), ("KEY", key.to_str().unwrap())];
    Machine::with_kbpack(world.target.path.clone()).types(&commands("state-lost"), &words);
    world.import(&bundle, &["--accept-new"]).ok();
}
