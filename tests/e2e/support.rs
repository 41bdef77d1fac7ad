//! Two homes that know each other, and the binary run in them.

#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

#[path = "run.rs"]
pub mod run;

pub use run::Run;

/// The binary under test.
pub const KBPACK: &str = env!("CARGO_BIN_EXE_kbpack");

/// One user's home.
pub struct Home {
    pub path: PathBuf,
}

impl Home {
    /// The command `kbpack` with nothing of this process's environment but `PATH`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(KBPACK);
        command.args(args).env_clear().env("HOME", &self.path).env("PATH", std::env::var_os("PATH").unwrap());
        command.current_dir(&self.path);
        command
    }

    /// [`command`](Self::command) without a terminal, also where the tests run at one.
    pub fn command_alone(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(KBPACK).args(args).current_dir(&self.path);
        command.env_clear().env("HOME", &self.path).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    #[track_caller]
    pub fn kbpack(&self, args: &[&str]) -> Run {
        Run::of(&mut self.command(args))
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Writes a file, making its folders.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.join(path)).unwrap().permissions().mode() & 0o7777
    }

    pub fn profile(&self, text: &str) {
        self.write(".config/kbpack/profile.toml", text);
    }
}

/// A source and a target; the target trusts the source.
pub struct World {
    pub dir: TempDir,
    pub source: Home,
    pub target: Home,
    /// The target's recipient.
    pub recipient: String,
    /// The source's signer line.
    pub signer: String,
    /// The source's fingerprint.
    pub fingerprint: String,
}

impl World {
    pub fn new() -> Self {
        let world = Self::strangers();
        world.target.kbpack(&["trust", "add", "source", &world.signer]).ok();
        world
    }

    /// The same, before the target has said that it trusts the source.
    pub fn strangers() -> Self {
        let dir = TempDir::new().unwrap();
        let home = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            Home { path }
        };
        let (source, target) = (home("source"), home("target"));
        let made = source.kbpack(&["keygen", "--json"]).ok().json();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let (signer, fingerprint) = (text(&made["signer"]), text(&made["fingerprint"]));
        let recipient = text(&target.kbpack(&["keygen", "--json"]).ok().json()["recipient"]);
        World { dir, source, target, recipient, signer, fingerprint }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The source's public key, as OpenSSH has it.
    pub fn public_key(&self) -> String {
        String::from_utf8(self.source.read(".config/kbpack/signing_key.pub")).unwrap().trim().to_owned()
    }

    /// Exports to `name` for the target.
    #[track_caller]
    pub fn export(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.source.kbpack(&["export", "-r", &self.recipient, "-o", path.to_str().unwrap()]).ok();
        path
    }

    #[track_caller]
    pub fn import(&self, bundle: &Path, more: &[&str]) -> Run {
        let mut args = vec!["import", bundle.to_str().unwrap(), "--yes"];
        args.extend(more);
        self.target.kbpack(&args)
    }

    /// Holds a receipt or a ticket (its `kind`) to the target's key, by the commands of docs/FORMAT.md, chapters A and N.
    pub fn verify_by_ssh_keygen(&self, kind: &str, document: &Path) -> Run {
        let public = String::from_utf8(self.target.read(".config/kbpack/signing_key.pub")).unwrap();
        fs::write(self.path("signers"), format!("beta namespaces=\"kbpack-{kind}\" {public}")).unwrap();
        let script = "sed -n '/^-----BEGIN/,$p' \"$1\" > signature
            sed '/^-----BEGIN/,$d' \"$1\" | ssh-keygen -Y verify -n \"kbpack-$2\" -f signers -I beta -s signature";
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script, "bash"]).arg(document).arg(kind);
        Run::of(bash.current_dir(self.dir.path()))
    }
}

/// A small home with both kinds in it, and the profile that packs it.
pub fn furnish(home: &Home) {
    home.write("app/settings.json", "{\"a\": 1}\n");
    home.write("app/hooks/run.sh", "#!/bin/sh\necho hi\n");
    home.chmod("app/hooks/run.sh", 0o755);
    home.write("app/big.bin", vec![7u8; 300_000]);
    home.write("app/debug/trace.log", "left out");
    fs::create_dir_all(home.join("app/empty")).unwrap();
    std::os::unix::fs::symlink("settings.json", home.join("app/link")).unwrap();
    home.write(".bashrc", "# rc\nexport API_KEY='sk-demo-0123456789'\nexport MODE=plain\n");
    home.write("app/credentials.json", "{\"token\": \"tok-abcdef-012345\"}\n");
    home.chmod("app/credentials.json", 0o600);
    home.profile(PROFILE);
}

/// The profile of [`furnish`].
pub const PROFILE: &str = r#"
[bundle]
name = "small"

[component.app]
kind = "files"
path = "~/app"
exclude = ["debug/"]

[component.keys]
kind = "secrets"
env = { file = "~/.bashrc", names = ["API_KEY", "MODE"] }
files = [{ path = "~/app/credentials.json", mode = "600" }]
"#;

/// Everything about a tree that an import may not change when it fails: path, type, mode, mtime, content.
pub fn snapshot(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut rows = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let content = match meta.file_type() {
            t if t.is_file() => {
                kbpack::base::digest::Digest::of(&fs::read(entry.path()).unwrap()).to_string()
            }
            t if t.is_symlink() => fs::read_link(entry.path()).unwrap().display().to_string(),
            _ => String::new(),
        };
        rows.push(format!(
            "{} {:o} {} {}.{:09} {}",
            entry.path().strip_prefix(root).unwrap().display(),
            meta.mode(),
            meta.uid(),
            meta.mtime(),
            meta.mtime_nsec(),
            content
        ));
    }
    rows
}

/// [`snapshot`] without kbpack's own state, which a refused import may touch (the lock).
pub fn snapshot_but_state(home: &Home) -> Vec<String> {
    snapshot(&home.path)
        .into_iter()
        .filter(|row| !row.starts_with(".local"))
        .map(|row| without_root_time(&row))
        .collect()
}

/// The home folder's own mtime moves when `.local` is made in it.
fn without_root_time(row: &str) -> String {
    match row.strip_prefix(' ') {
        Some(_) => "the home itself".to_owned(),
        None => row.to_owned(),
    }
}

/// [`snapshot_but_state`] without the times of folders: what is put in one and taken out again moves them.
pub fn snapshot_but_times_of_folders(home: &Home) -> Vec<String> {
    let folder = |row: &str| row.split(' ').nth(1).is_some_and(|mode| mode.starts_with("40"));
    let rows = snapshot_but_state(home).into_iter();
    rows.map(|row| if folder(&row) { row.split(' ').take(3).collect::<Vec<_>>().join(" ") } else { row })
        .collect()
}
