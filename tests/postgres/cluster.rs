//! Servers from the installed binaries, reached by a socket in a folder of their own, gone when they are dropped.

use super::run::Run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The user that the servers run as where the tests run as root, whom PostgreSQL refuses.
pub const OTHER_USER: &str = "nobody";

/// A running server. Its superuser is `postgres`; everybody on the machine gets in, whatever role they name, but for
/// the roles `locked` and `claude_mcp`, which need a password.
pub struct Server {
    dir: TempDir,
}

impl Server {
    pub fn start() -> Server {
        let dir = tempfile::Builder::new().prefix("kbpack-pg-").tempdir_in(place()).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        Run::of(Command::new("cp").arg("-a").args([template(), &data])).ok();
        let server = Server { dir };
        let hba = "local all locked,claude_mcp scram-sha-256\nlocal all all trust\n";
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let mut conf = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        conf += &format!(
            "\nlisten_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nmax_connections = 60\n\
             shared_buffers = 32MB\nmax_prepared_transactions = 4\nwal_level = logical\n",
            data.display()
        );
        fs::write(data.join("postgresql.conf"), conf).unwrap();
        server.up();
        server
    }

    /// Starts it, again.
    pub fn up(&self) {
        self.up_with(&[]);
    }

    /// Starts it with variables in its environment.
    pub fn up_with(&self, env: &[(&str, &str)]) {
        let log = self.data().join("log");
        as_owner_with("pg_ctl", &["-w", "-D", self.folder(), "-l", log.to_str().unwrap(), "start"], env).ok();
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.data().join("log")).unwrap()
    }

    /// Stops it as a power cut would.
    pub fn crash(&self) {
        as_owner("pg_ctl", &["-D", self.folder(), "-m", "immediate", "stop"]);
    }

    /// Makes it a standby, of a primary that never says anything.
    pub fn stand_by(&self) {
        as_owner("pg_ctl", &["-w", "-D", self.folder(), "-m", "fast", "stop"]).ok();
        fs::write(self.data().join("standby.signal"), "").unwrap();
        self.up();
    }

    /// Starts it again, to listen at `host` for connections of this `kind` (as `pg_hba.conf` has it), with a certificate and its key.
    pub fn listen(&self, host: &str, kind: &str, tls: Option<(&Path, &Path)>) {
        self.crash();
        let mut conf =
            format!("listen_addresses = '{host}'\nssl = {}\n", if tls.is_some() { "on" } else { "off" });
        if let Some((certificate, key)) = tls {
            for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
                let to = self.data().join(to);
                let _ = fs::remove_file(&to);
                fs::copy(from, &to).unwrap();
                fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
                if is_root() {
                    Run::of(Command::new("chown").arg(OTHER_USER).arg(&to)).ok();
                }
            }
            conf += "ssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n";
        }
        let append = |file: &str, text: &str| {
            let path = self.data().join(file);
            fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
        };
        append("postgresql.conf", &conf);
        let hba = format!("local all all trust\n{kind} all all 127.0.0.0/8 trust\n");
        fs::write(self.data().join("pg_hba.conf"), hba).unwrap();
        self.up();
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder of its socket, as a `host`.
    pub fn folder(&self) -> &str {
        self.dir.path().join("data").to_str().unwrap().to_owned().leak()
    }

    /// A URL for `role` and `database`.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@/{database}?host={}", self.folder())
    }

    /// Runs SQL as the superuser; what it answers, unaligned.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as("postgres", database, sql).ok().text().trim_end().to_owned()
    }

    pub fn sql_as(&self, role: &str, database: &str, sql: &str) -> Run {
        let mut psql = Command::new(binary("psql"));
        psql.args([
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self.folder(),
            "-U",
            role,
            "-d",
            database,
            "-f",
            "-",
        ]);
        Run::with_input(&mut psql, sql.as_bytes())
    }

    /// What stock pg_dump says of a database: statements and rows in an order that two equal databases share.
    pub fn dump(&self, database: &str) -> Vec<String> {
        let mut dump = Command::new(binary("pg_dump"));
        dump.args(["--inserts", "-h", self.folder(), "-U", "postgres", "-d", database]);
        let text = Run::of(&mut dump).ok().text();
        let line = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        let mut lines: Vec<String> = text.lines().filter(line).map(str::to_owned).collect();
        // Rows lie in any order.
        lines.sort();
        lines
    }

    /// Names of all databases but the server's own.
    pub fn databases(&self) -> Vec<String> {
        let sql = "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1";
        self.sql("postgres", sql).lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Where servers lie: a socket's name may not be longer than some 100 bytes.
fn place() -> PathBuf {
    let chosen = std::env::temp_dir();
    if chosen.as_os_str().len() < 50 {
        chosen
    } else {
        "/tmp".into()
    }
}

/// The folder of a fresh server, made once for all runs of the tests: that takes seconds, a copy does not.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let initdb = binary("initdb");
        let name = format!("template{}", initdb.display()).replace('/', "-");
        // `target/tmp`, also for the tests inside the library.
        let exe = std::env::current_exe().unwrap();
        let tmp = exe.ancestors().nth(3).unwrap().join("tmp");
        fs::create_dir_all(&tmp).unwrap();
        let kept = tmp.join(name);
        if kept.exists() {
            return kept;
        }
        let dir = tempfile::tempdir_in(place()).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            Run::of(Command::new("chown").arg(OTHER_USER).arg(&data)).ok();
        }
        let init = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        as_owner("initdb", &[&init[..], &[data.to_str().unwrap()]].concat()).ok();
        let part = kept.with_extension(std::process::id().to_string());
        Run::of(Command::new("cp").arg("-a").args([&data, &part])).ok();
        fs::rename(&part, &kept).unwrap();
        kept
    })
}

fn as_owner(tool: &str, args: &[&str]) -> Run {
    as_owner_with(tool, args, &[])
}

fn as_owner_with(tool: &str, args: &[&str], env: &[(&str, &str)]) -> Run {
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", OTHER_USER, "--clear-groups"]).arg(binary(tool));
            command
        }
        false => Command::new(binary(tool)),
    };
    command
        .args(args)
        .current_dir("/")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("PGDATA")
        .envs(env.iter().copied());
    if tool != "pg_ctl" {
        return Run::of(&mut command);
    }
    // The server that it starts would keep our pipes open.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let code = command.status().unwrap().code().unwrap_or(-1);
    Run { code, stdout: Vec::new(), stderr: String::new() }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The newest installed one.
pub fn binary(tool: &str) -> PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        folders.map(|f| f.path().join("bin").join(tool)).filter(|p| p.is_file()).collect();
    found.sort();
    let on_path =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|p| p.join(tool)).find(|p| p.is_file());
    found.pop().or(on_path).unwrap_or_else(|| {
        panic!("{tool} is not installed: apt-get install postgresql postgresql-contrib (tests/run does that)")
    })
}
