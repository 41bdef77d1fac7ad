//! A throw-away PostgreSQL server: in a folder of its own, on a socket in it and on a port of the loopback interface.

use crate::support::Run;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running server; dropping it stops it. On its socket it takes everybody at their word, on its port by password.
pub struct Server {
    pub dir: TempDir,
    pub port: u16,
    bin: PathBuf,
}

/// The superuser's name.
pub const SUPERUSER: &str = "super";

impl Server {
    pub fn start() -> Self {
        let bin = bin();
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            // A server does not run as root.
            Run::of(Command::new("chown").arg("postgres").arg(dir.path())).ok();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { dir, port, bin };
        let data = server.path().join("data");
        let initdb = ["-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        Run::of(server.tool("initdb").args(initdb).arg(&data)).ok();
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            .unwrap();
        let options = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off",
            server.path().to_str().unwrap()
        );
        let log = server.path().join("log");
        let mut start = server.tool("pg_ctl");
        start
            .args(["start", "-w", "-t", "60", "-s", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(&log)
            .args(["-o", &options]);
        // The server keeps what it inherits: no pipe of ours.
        start.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let started = start.stderr(std::process::Stdio::null()).status().unwrap();
        assert!(started.success(), "{}", fs::read_to_string(&log).unwrap_or_default());
        server
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of a database on the socket.
    pub fn on_socket(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@/{database}?host={}&port={}", self.path().display(), self.port)
    }

    /// The URL of a database on the port.
    pub fn on_port(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@localhost:{}/{database}", self.port)
    }

    /// Runs SQL as the superuser, and returns what it gives.
    pub fn sql(&self, text: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", "postgres", "-h"]);
        psql.arg(self.path()).args(["-p", &self.port.to_string(), "-c", text]);
        Run::of(&mut psql).ok().text().trim().to_owned()
    }

    /// One of its programs, run as the user that may run a server.
    fn tool(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command.current_dir(self.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.tool("pg_ctl");
        let _ = stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.path().join("data")).status();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where the programs of the newest version are.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").is_file());
    bins.max()
        .unwrap_or_else(|| panic!("there is no PostgreSQL server: tests/run installs the package postgresql"))
}
