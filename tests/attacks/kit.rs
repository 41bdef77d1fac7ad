//! A world of two homes with a bundle between them, and the table of attacks that is run against it.

use crate::forge::Inside;
use crate::support::{furnish, snapshot, snapshot_but_state, Home, Run, World, KBPACK};
use age::x25519::Identity;
use ssh_key::PrivateKey;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// No attack may take longer than this (unless the machine is very slow).
const PATIENCE: Duration = Duration::from_secs(20);
/// Address space of a process under attack (KiB), its seconds of computing, and how many files it may have open.
const LIMITS: &str = "ulimit -v 1048576 && ulimit -t 20 && ulimit -n 1024 && exec \"$0\" \"$@\"";
/// What no message may contain: of the secrets of `furnish`, and of any identity.
const SECRETS: [&str; 3] = ["sk-demo-0123456789", "tok-abcdef-012345", "AGE-SECRET-KEY-1"];

/// The world, and all that a forger could have.
pub struct Kit {
    pub world: World,
    /// A good bundle from the source to the target.
    pub bundle: Vec<u8>,
    /// The same, taken apart.
    pub inside: Inside,
    /// Another good bundle of the same people.
    pub other: Inside,
    /// The target's identity.
    pub identity: Identity,
    /// The source's signing key: with it, a signer attacks.
    pub source: PrivateKey,
    /// Another one that the target trusts.
    pub colleague: PrivateKey,
    /// One that nobody knows.
    pub stranger: PrivateKey,
    /// The target's home as it is, if that is as it was at first.
    pristine: RefCell<Option<Snapshot>>,
}

impl Kit {
    pub fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        // Does not compress: its stream has several chunks of age's.
        world.source.write("app/random.bin", noise(200_000));
        let sparse = fs::File::create(world.source.join("app/sparse.bin")).unwrap();
        sparse.write_all_at(b"data", 1 << 20).unwrap();
        let bundle = fs::read(world.export("good.kbp")).unwrap();
        let other = fs::read(world.export("other.kbp")).unwrap();
        furnish_target(&world.target);
        let keys =
            |home: &Home| PrivateKey::read_openssh_file(&home.join(".config/kbpack/signing_key")).unwrap();
        let person = |name: &str| {
            let home = Home { path: world.path(name) };
            fs::create_dir(&home.path).unwrap();
            let signer =
                home.kbpack(&["keygen", "--json"]).ok().json()["signer"].as_str().unwrap().to_owned();
            (keys(&home), signer)
        };
        let ((colleague, signer), (stranger, _)) = (person("colleague"), person("stranger"));
        world.target.kbpack(&["trust", "add", "colleague", &signer]).ok();
        let text = String::from_utf8(world.target.read(".config/kbpack/identity.txt")).unwrap();
        let identity: Identity = text.lines().find(|line| !line.starts_with('#')).unwrap().parse().unwrap();
        Kit {
            inside: Inside::open(&bundle, &identity),
            other: Inside::open(&other, &identity),
            source: keys(&world.source),
            world,
            bundle,
            identity,
            colleague,
            stranger,
            pristine: RefCell::default(),
        }
    }

    /// Puts the target's home back as it was before the first attack.
    fn restore(&self) -> Snapshot {
        let (home, first) = (&self.world.target.path, self.world.path("first"));
        let copy = |from: &Path, to: &Path| {
            assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
        };
        if !first.exists() {
            copy(home, &first);
        }
        fs::remove_dir_all(home).unwrap();
        copy(&first, home);
        Snapshot::of(&self.world.target)
    }
}

/// What the target had before: some of it differs, some of it is no part of any bundle.
fn furnish_target(home: &Home) {
    home.write("app/settings.json", "{\"a\": 0}\n");
    home.write("app/own.txt", "mine\n");
    home.write("secret/inner.txt", "untouched\n");
    home.write(".bashrc", "# target's rc\n");
}

/// Bytes that do not compress, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(7);
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// A small generator (xorshift64*), so that every failure can be run again.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

/// Who notices an attack. Whoever does not, finds nothing wrong: what they look at is right.
#[derive(Clone, Copy, PartialEq)]
pub enum Seen {
    /// All: `verify`, `inspect`, `verify --deep`, `import`.
    ByAll,
    /// All but `inspect`, which reads the manifest only.
    ByDigests,
    /// All who have the key: all but `verify`.
    WithKey,
    /// Who reads the streams: `verify --deep` and `import`.
    InStreams,
    /// `import` alone, which knows what components, times and hosts are.
    ByImport,
    /// None: it is a good bundle.
    ByNone,
}

impl Seen {
    /// Whether `command` has to notice.
    fn by(self, command: &[&str]) -> bool {
        match command {
            ["verify"] => matches!(self, Seen::ByAll | Seen::ByDigests),
            ["inspect"] => matches!(self, Seen::ByAll | Seen::WithKey),
            ["verify", "--deep"] => !matches!(self, Seen::ByImport | Seen::ByNone),
            _ => self != Seen::ByNone,
        }
    }
}

/// One row: a forged bundle, who notices, and how it is said.
pub struct Attack {
    pub name: String,
    pub bundle: Vec<u8>,
    pub code: i32,
    pub words: String,
    pub seen: Seen,
}

/// A row.
pub fn attack(name: impl Into<String>, bundle: Vec<u8>, code: i32, words: &str, seen: Seen) -> Attack {
    Attack { name: name.into(), bundle, code, words: words.to_owned(), seen }
}

/// Runs all rows, and says at the end which of them did not go as they should.
#[track_caller]
pub fn run(kit: &Kit, attacks: Vec<Attack>) {
    let mut complaints = Vec::new();
    for attack in &attacks {
        let file = kit.world.path(&format!("{}.kbp", attack.name));
        fs::write(&file, &attack.bundle).unwrap();
        for command in [&["verify"][..], &["inspect"], &["verify", "--deep"], &["import", "--yes"]] {
            if let Err(complaint) = attempt(kit, attack, &file, command) {
                complaints.push(format!("{}: {}: {complaint}", attack.name, command.join(" ")));
            }
        }
        if attack.seen == Seen::ByImport {
            // Lists what components say, without their knowledge of right and wrong.
            let trial = Trial::of(kit, &file, &["inspect", "--files"], |_| {});
            let verdict = if trial.run.code == 0 { trial.manners() } else { trial.refused(attack.code, "") };
            complaints.extend(verdict.err().map(|e| format!("{}: inspect --files: {e}", attack.name)));
        }
        fs::remove_file(&file).unwrap();
    }
    assert!(
        complaints.is_empty(),
        "{} of {} attacks:\n{}",
        complaints.len(),
        attacks.len(),
        complaints.join("\n")
    );
}

/// One command against one attack.
fn attempt(kit: &Kit, attack: &Attack, file: &Path, command: &[&str]) -> Result<(), String> {
    let trial = Trial::of(kit, file, command, |_| {});
    if !attack.seen.by(command) {
        return match trial.run.code {
            0 => trial.manners(),
            _ => Err(format!("should not have noticed: {}", trial.run.stderr)),
        };
    }
    trial.refused(attack.code, &attack.words)
}

/// A home to the byte, and kbpack's state in it but for the lock, and the history and the logs, where an import that was
/// undone stands too. The times of directories say little: staging areas
/// come and go in them.
#[derive(Clone, PartialEq)]
struct Snapshot(Vec<String>);

impl Snapshot {
    fn of(home: &Home) -> Self {
        let mut rows = snapshot_but_state(home);
        let state = home.join(".local");
        if state.exists() {
            let is_file = |row: &str| row.split(' ').nth(1).is_some_and(|mode| mode.starts_with("100"));
            let files = snapshot(&state).into_iter().filter(|row| is_file(row));
            rows.extend(
                files
                    .filter(|row| {
                        !["lock ", "history/", "logs/"]
                            .iter()
                            .any(|own| row.starts_with(&format!("state/kbpack/{own}")))
                    })
                    .map(|row| format!(".local/{row}")),
            );
        }
        Snapshot(rows.into_iter().map(without_directory_time).collect())
    }

    /// What differs, one line a row.
    fn differences(&self, after: &Snapshot) -> Vec<String> {
        let gone = self.0.iter().filter(|row| !after.0.contains(row)).map(|row| format!("- {row}"));
        gone.chain(after.0.iter().filter(|row| !self.0.contains(row)).map(|row| format!("+ {row}"))).collect()
    }
}

fn without_directory_time(row: String) -> String {
    let mut words: Vec<&str> = row.split(' ').collect();
    if let [.., mode, _, time, _] = &mut words[..] {
        if mode.starts_with("40") {
            *time = "";
        }
    }
    words.join(" ")
}

/// A command run in the target's home, and what it left there.
pub struct Trial {
    pub run: Run,
    /// What it wrote into its log.
    log: String,
    differences: Vec<String>,
    temporary: PathBuf,
    took: Duration,
}

impl Trial {
    /// Runs `command` on `file`, in the target's home as it was at first; `with` may add to the command.
    pub fn of(kit: &Kit, file: &Path, command: &[&str], with: impl FnOnce(&mut Command)) -> Self {
        Self::start(kit, command, b"", |process| with(process.arg(file)))
    }

    /// Runs `command` with `input` on its standard input.
    pub fn fed(kit: &Kit, input: &[u8], command: &[&str]) -> Self {
        Self::start(kit, command, input, |_| {})
    }

    fn start(kit: &Kit, command: &[&str], input: &[u8], with: impl FnOnce(&mut Command)) -> Self {
        let before = kit.pristine.take().unwrap_or_else(|| kit.restore());
        let home = &kit.world.target;
        let temporary = kit.world.path("temporary");
        fs::create_dir_all(&temporary).unwrap();
        let mut process = Command::new("sh");
        process.args(["-c", LIMITS, KBPACK]).args(command).env_clear();
        process.env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
        process.env("TMPDIR", &temporary).current_dir(&home.path);
        with(&mut process);
        let start = Instant::now();
        let run = Run::with_input(&mut process, input);
        let took = start.elapsed();
        let differences = before.differences(&Snapshot::of(home));
        if differences.is_empty() {
            kit.pristine.replace(Some(before));
        }
        Trial { run, log: take_logs(home), differences, temporary, took }
    }

    /// Whether it was refused as it should be, and nothing has changed.
    pub fn refused(&self, code: i32, words: &str) -> Result<(), String> {
        let stderr = &self.run.stderr;
        if self.run.code != code {
            return Err(format!("exit {} instead of {code}: {stderr}", self.run.code));
        }
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        let todos: Vec<&str> = stderr.lines().filter(|line| line.starts_with(" todo: ")).collect();
        let [error] = errors[..] else { return Err(format!("not one error line: {stderr}")) };
        if todos.len() != 1 || stderr.lines().last() != todos.last().copied() || todos[0].len() < 12 {
            return Err(format!("not one todo line at the end: {stderr}"));
        }
        if !error.contains(words) {
            return Err(format!("'{words}' is not in: {error}"));
        }
        self.unchanged()?;
        self.manners()
    }

    /// Whether the home is as it was, to the byte.
    pub fn unchanged(&self) -> Result<(), String> {
        match self.differences.is_empty() {
            true => Ok(()),
            false => Err(format!("the target has changed:\n  {}", self.differences.join("\n  "))),
        }
    }

    /// What holds for every command, whatever its outcome.
    pub fn manners(&self) -> Result<(), String> {
        let stdout = self.run.text();
        let all = format!("{}{stdout}{}", self.run.stderr, self.log);
        if self.run.code == 1 || all.contains("panicked") {
            return Err(format!("a defect: exit {}: {all}", self.run.code));
        }
        if let Some(c) = all.chars().find(|&c| is_unsafe(c)) {
            return Err(format!("{c:?} reached the terminal or the log: {all:?}"));
        }
        if let Some(secret) = SECRETS.iter().find(|secret| all.contains(**secret)) {
            return Err(format!("it shows {secret}"));
        }
        if self.took > PATIENCE {
            return Err(format!("it took {:?}", self.took));
        }
        match snapshot(&self.temporary).len() {
            1 => Ok(()),
            _ => Err("temporary files are left".to_owned()),
        }
    }
}

/// The text of all logs, which are removed: the next trial has its own.
fn take_logs(home: &Home) -> String {
    let logs = home.join(".local/state/kbpack/logs");
    let entries = fs::read_dir(&logs).into_iter().flatten();
    let text = entries.map(|log| fs::read_to_string(log.unwrap().path()).unwrap()).collect();
    let _ = fs::remove_dir_all(&logs);
    text
}

/// Characters that move a terminal, or turn the direction of its writing.
fn is_unsafe(c: char) -> bool {
    c != '\n' && c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
