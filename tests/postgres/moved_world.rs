//! Two "hosts" like the first user's: a home and a server each, and a service that answers on the target.

use crate::server::Pair;
use crate::support::{Home, Run};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const PRESET: &str = include_str!("../../src/presets/kage-bunshin/profile.toml");
const SCHEMA: &str = include_str!("../../fixtures/move/schema.sql");
pub const PASSWORD: &str = "memory-password-0123";
pub const KEY: &str = "kb-key-one:admin,kb-key-two:reader";
pub const TOKEN: &str = "oat01-this-token-stays-here";

/// The two of them, and what runs there.
pub struct Hosts {
    pub pair: Pair,
    /// Programs of both, before those of this machine.
    bin: PathBuf,
    /// Where the target's service keeps its state.
    pub runtime: PathBuf,
    pub port: u16,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.runtime.join("pid")) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

impl Hosts {
    /// Both, furnished; each believes the other.
    pub fn new() -> Hosts {
        let pair = Pair::new();
        let (bin, runtime) = (pair.world.path("bin"), pair.world.path("runtime"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&runtime).unwrap();
        fs::copy(fixture("move/systemctl"), bin.join("systemctl")).unwrap();
        let claude = bin.join("claude");
        fs::write(&claude, "#!/bin/sh\necho '2.1.0 (Claude Code)'\n").unwrap();
        Run::of(Command::new("chmod").arg("755").arg(&claude)).ok();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let hosts = Hosts { pair, bin, runtime, port };
        hosts.furnish_source();
        hosts.furnish_target();
        let world = &hosts.pair.world;
        let signer = world.target.kbpack(&["keygen", "--show", "--json"]).ok().json()["signer"].clone();
        let signer = signer.as_str().unwrap();
        world.source.kbpack(&["trust", "add", "target", signer, "--for", "tickets"]).ok();
        hosts
    }

    /// Has the target trust the source anew.
    pub fn trust(&self, more: &[&str]) {
        let world = &self.pair.world;
        world.target.kbpack(&["trust", "remove", &world.fingerprint]).ok();
        world.target.kbpack(&[&["trust", "add", "source", &world.signer], more].concat()).ok();
    }

    /// The preset, with this server and this port.
    fn preset(&self) -> String {
        let (server, port) = (&self.pair.source, self.port.to_string());
        let url = server.url("claude_mcp", "claude_memory");
        let replaced = [
            ("postgresql://claude_mcp@localhost/claude_memory", url.as_str()),
            // For both servers, as it is where each is the localhost of its machine.
            ("localhost:5432", "*:5432"),
            ("python = \"3.13\"\n", ""),
            ("8003", &port),
        ];
        replaced.iter().fold(PRESET.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the preset has no {from}");
            text.replace(from, to)
        })
    }

    fn furnish_source(&self) {
        let home = &self.pair.world.source;
        for entry in walkdir::WalkDir::new(fixture("kage-bunshin/dot-claude")) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let inside = entry.path().strip_prefix(fixture("kage-bunshin/dot-claude")).unwrap();
                let place = format!(".claude/{}", inside.display());
                home.write(&place, fs::read(entry.path()).unwrap());
                home.chmod(&place, if place.ends_with(".sh") { 0o755 } else { 0o644 });
            }
        }
        home.write(".claude/.credentials.json", format!("{{\"accessToken\": \"{TOKEN}\"}}\n"));
        home.chmod(".claude/.credentials.json", 0o600);
        home.write(
            ".bashrc",
            format!("case $- in *i*) ;; *) return;; esac\nexport OPENAI_API_KEY='sk-openai-0123456789'\nexport BASE_BRANCH=main\nexport API_KEYS=\"{KEY}\"\n"),
        );
        home.write(".pgpass", format!("*:5432:claude_memory:claude_mcp:{PASSWORD}\n"));
        home.chmod(".pgpass", 0o600);
        self.make_database();

        // The repository, with its environment inside.
        let repository = "projects/kage-bunshin";
        home.write(&format!("{repository}/api/main.py"), "app = \"kage-bunshin\"\n");
        home.write(&format!("{repository}/api/__init__.py"), "");
        home.write(&format!("{repository}/requirements.txt"), "fastapi\nuvicorn>=1\nasyncpg\n");
        home.write(&format!("{repository}/.gitignore"), "venv/\n__pycache__/\n");
        self.git(home, &["init", "-q", "-b", "main", "."]);
        self.commit("first");
        home.write(&format!("{repository}/README.md"), "# Kage Bunshin\n");
        self.commit("second");
        self.git(home, &["tag", "-a", "v1", "-m", "one"]);
        self.git(home, &["branch", "feature"]);
        let wheels = home.join(".config/wheels");
        for (name, module) in [("fastapi", None), ("asyncpg", None), ("uvicorn", Some("move/uvicorn.py"))] {
            let mut make = Command::new("python3");
            make.arg(fixture("python/wheels.py")).arg(&wheels).args([name, "1.0"]);
            make.envs(module.map(|module| ("MODULE", fixture(module))));
            Run::of(&mut make).ok();
        }
        home.write(
            ".config/pip/pip.conf",
            format!("[global]\nno-index = true\nfind-links = {}\n", wheels.display()),
        );
        let venv = home.join("projects/kage-bunshin/venv");
        self.run(home, Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]);
        self.run(
            home,
            &venv.join("bin/pip"),
            &["install", "-q", "-r", "projects/kage-bunshin/requirements.txt"],
        );
        home.profile(&self.preset());
    }

    fn make_database(&self) {
        let server = &self.pair.source;
        server.sql("postgres", &format!("CREATE ROLE claude_mcp LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("postgres", "CREATE DATABASE claude_memory");
        server.sql("claude_memory", "GRANT CREATE ON SCHEMA public TO claude_mcp");
        server.sql("claude_memory", &format!("SET ROLE claude_mcp; {SCHEMA}"));
    }

    /// A home that is in use, a server with an empty database that an administrator has made, and a role that may make none.
    fn furnish_target(&self) {
        let (home, server) = (&self.pair.world.target, &self.pair.target);
        for own in [".claude/projects/own.jsonl", ".claude/debug/own.txt", ".claude/a.log"] {
            home.write(own, "of the target");
        }
        home.write(".bashrc", "# of the target\nexport EDITOR=vi\n");
        home.write(".profile", "[ ! -f ~/.bashrc ] || . ~/.bashrc\n");
        home.write(".pgpass", "else:5432:d:u:p\n");
        home.chmod(".pgpass", 0o600);
        server.sql("postgres", &format!("CREATE ROLE claude_mcp LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("postgres", "CREATE DATABASE claude_memory");
        server.sql("claude_memory", "GRANT CREATE ON SCHEMA public TO claude_mcp");
        self.own("mode = \"in-place\"");
    }

    /// The target's own profile: its own database, what is checked there, and `more` about the database.
    pub fn own(&self, more: &str) {
        let url = self.pair.target.url("claude_mcp", "claude_memory");
        let port = self.port;
        self.pair.world.target.profile(&format!(
            r#"
[component.memory]
kind = "postgres"
url = "{url}"
{more}

[[check]]
name = "as many tasks as on the source"
sql = {{ url = "{url}", query = "SELECT count(*) FROM tasks", recorded = true }}

[[check]]
name = "the API takes a task"
retry-for = 15
http = {{ url = "http://127.0.0.1:{port}/api/v1/tasks", method = "POST", header = {{ X-API-Key = "$API_KEYS", Content-Type = "application/json" }}, body = '{{"description": "a test task"}}', status = 201 }}
"#
        ));
    }

    /// kbpack on one of the two.
    #[track_caller]
    pub fn kbpack(&self, home: &Home, args: &[&str]) -> Run {
        let path = std::env::var("PATH").unwrap();
        let mut command = home.command(args);
        command.env("PATH", format!("{}:{path}", self.bin.display())).env("XDG_RUNTIME_DIR", &self.runtime);
        Run::of(&mut command)
    }

    /// Asks, answers, and gives the bundle.
    #[track_caller]
    pub fn carry(&self, name: &str) -> String {
        let path = |name: String| self.pair.world.path(&name).to_str().unwrap().to_owned();
        let (ticket, bundle) = (path(format!("{name}.ticket")), path(format!("{name}.kbp")));
        self.kbpack(&self.pair.world.target, &["ticket", "-o", &ticket]).ok();
        self.kbpack(&self.pair.world.source, &["export", "--for", &ticket, "-o", &bundle]).ok();
        bundle
    }

    #[track_caller]
    pub fn import(&self, bundle: &str, more: &[&str]) -> Run {
        self.kbpack(&self.pair.world.target, &[&["import", bundle, "--yes"], more].concat())
    }

    /// A program of the machine's, in `home`.
    #[track_caller]
    pub fn run(&self, home: &Home, program: &Path, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).current_dir(&home.path).env_clear().env("HOME", &home.path);
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
        }
        Run::of(&mut command).ok().text()
    }

    #[track_caller]
    pub fn git(&self, home: &Home, args: &[&str]) -> String {
        self.run(home, Path::new("git"), &[&["-C", "projects/kage-bunshin"], args].concat())
    }

    pub fn commit(&self, message: &str) {
        let home = &self.pair.world.source;
        self.git(home, &["add", "-A"]);
        self.git(home, &["commit", "-q", "-m", message]);
    }

    /// Asks the API, with `key`.
    pub fn health(&self, key: &str) -> String {
        let script = "import sys, urllib.request, urllib.error\n\
            request = urllib.request.Request(sys.argv[1], headers={'X-API-Key': sys.argv[2]})\n\
            try: print(urllib.request.urlopen(request).read().decode())\n\
            except urllib.error.HTTPError as error: print(error.code)\n";
        let url = format!("http://127.0.0.1:{}/health", self.port);
        self.run(&self.pair.world.target, Path::new("python3"), &["-c", script, &url, key])
    }
}
