//! A source tree, a target tree, streams in memory and a journal: what the tests play with.

use super::super::FilesKind;
use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::component::{
    Act, Captured, Component, Finding, Holds, Host, Kind, Nobody, Plan, Result, Scope, Severity,
};
pub use crate::components::conformance::{tree as snapshot, Acts, Break, Silent, Streams, RUN};
use rustix::fs::{utimensat, AtFlags, Timespec, Timestamps, CWD};
use serde_json::{json, Value};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

/// A home with a source tree `src` and a target tree `dst`.
pub struct World {
    _temp: tempfile::TempDir,
    pub host: Host,
    pub options: Value,
    pub overrides: Value,
    pub carved: Vec<PathBuf>,
    pub only: Vec<BundlePath>,
    pub threads: usize,
}

impl World {
    pub fn new() -> World {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("src")).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        World {
            host: Host { home, uid, own: vec![], maps: vec![] },
            _temp: temp,
            options: json!({"path": "~/src"}),
            overrides: json!({"path": "~/dst"}),
            carved: vec![],
            only: Vec::new(),
            threads: 2,
        }
    }

    pub fn with(options: Value) -> World {
        let mut world = World::new();
        world.options.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        world
    }

    pub fn src(&self, path: &str) -> PathBuf {
        self.host.home.join("src").join(path)
    }

    pub fn dst(&self, path: &str) -> PathBuf {
        self.host.home.join("dst").join(path)
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope {
            host: &self.host,
            carved: &self.carved,
            only: &self.only,
            run: RUN,
            threads: self.threads,
            progress: &Silent,
            ask: &Nobody,
            trusted: true,
            logins: &[],
        }
    }

    pub fn source(&self) -> Box<dyn Component> {
        FilesKind.from_options(&ComponentName::new("tree").unwrap(), &self.options, &self.host).unwrap()
    }

    pub fn capture(&self) -> (Streams, Captured) {
        self.try_capture().unwrap()
    }

    pub fn try_capture(&self) -> Result<(Streams, Captured)> {
        let mut streams = Streams::default();
        let captured = self.source().capture(&self.scope(), &streams)?;
        streams.seal();
        assert!(streams.held().iter().all(|holds| *holds == Holds::Data));
        Ok((streams, captured))
    }

    pub fn target(&self, facts: &Value) -> Box<dyn Component> {
        let name = ComponentName::new("tree").unwrap();
        FilesKind.from_facts(&name, facts, Some(&self.overrides), &self.host).unwrap()
    }

    /// Captures, and plans on the target.
    pub fn plan(&self) -> Job<'_> {
        let (streams, captured) = self.capture();
        self.job(streams, &captured.facts).unwrap()
    }

    pub fn job(&self, streams: Streams, facts: &Value) -> Result<Job<'_>> {
        let target = self.target(facts);
        let plan = target.plan(&self.scope(), &streams)?;
        Ok(self.planned(target, streams, plan))
    }

    /// An import of which the plan is there.
    pub fn planned(&self, target: Box<dyn Component>, streams: Streams, plan: Plan) -> Job<'_> {
        Job { world: self, target, streams, plan, journal: Acts::default() }
    }

    /// The whole way; every check must pass.
    pub fn import(&self) -> Job<'_> {
        let mut job = self.plan();
        assert_eq!(job.refusals(), Vec::<String>::new());
        job.run().unwrap();
        job
    }
}

/// An import under way.
pub struct Job<'w> {
    world: &'w World,
    pub target: Box<dyn Component>,
    pub streams: Streams,
    pub plan: Plan,
    pub journal: Acts,
}

impl Job<'_> {
    pub fn stage(&self) -> Result<()> {
        self.target.stage(&self.world.scope(), &self.plan, &self.streams)?;
        for check in self.target.check_staged(&self.world.scope(), &self.plan)? {
            assert_eq!(check.failure, None, "{}", check.name);
        }
        Ok(())
    }

    pub fn commit(&mut self) -> Result<()> {
        self.target.commit(&self.world.scope(), &self.plan, &mut self.journal)
    }

    pub fn check(&self) {
        for check in self.target.check(&self.world.scope(), &self.plan).unwrap() {
            assert_eq!(check.failure, None, "{}", check.name);
        }
    }

    pub fn run(&mut self) -> Result<()> {
        self.stage()?;
        self.commit()?;
        self.check();
        self.target.finalise(&self.world.scope(), &self.journal.acts)
    }

    pub fn undo(&self, acts: &[Act]) -> Vec<Finding> {
        self.target.undo(&self.world.scope(), acts).unwrap()
    }

    pub fn refusals(&self) -> Vec<String> {
        let refused = self.plan.findings.iter().filter(|f| f.severity == Severity::Refusal);
        refused.map(|f| f.what.clone()).collect()
    }

    pub fn changes(&self) -> Vec<String> {
        self.plan.changes.iter().map(|c| format!("{:?} {}", c.kind, c.what)).collect()
    }
}

pub fn write(path: impl AsRef<Path>, text: &str) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn touch(path: impl AsRef<Path>, s: i64, ns: i64) {
    let time = Timespec { tv_sec: s, tv_nsec: ns };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn xattr(path: impl AsRef<Path>, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path.as_ref(), name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

pub fn run(command: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(command).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command} {args:?}: {}", text(&out.stderr));
    text(&out.stdout) + &text(&out.stderr)
}

/// A tree with one of everything that can travel.
pub fn rich(root: &Path) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    write(root.join("plain"), "plain text\n");
    write(root.join("empty"), "");
    write(root.join("script"), "#!/bin/sh\n");
    chmod(root.join("script"), 0o755);
    write(root.join("secret"), "token");
    chmod(root.join("secret"), 0o600);
    write(root.join("readonly"), "r");
    chmod(root.join("readonly"), 0o400);
    write(root.join("dir/one"), "1");
    write(root.join("dir-x/two"), "2");
    write(root.join("dir/deep/er/three"), "3");
    std::fs::create_dir(root.join("emptydir")).unwrap();
    write(root.join("tight/inner"), "in a directory that may not be written to");
    write(root.join("sticky/f"), "f");
    chmod(root.join("sticky"), 0o3770);
    symlink("plain", root.join("link")).unwrap();
    symlink("/nonexistent/target", root.join("dangling")).unwrap();
    symlink("dir", root.join("link-to-dir")).unwrap();
    symlink("x".repeat(300), root.join("long-target")).unwrap();
    std::fs::hard_link(root.join("dir/one"), root.join("dir-x/one-again")).unwrap();
    std::fs::hard_link(root.join("dir/one"), root.join("zz-one")).unwrap();
    write(root.join(OsStr::from_bytes(b"latin-\xe9\xff")), "not UTF-8");
    write(root.join("new\nline 100% \u{1b}[31m"), "odd");
    let long = "d".repeat(200);
    write(root.join(format!("{long}/{long}/{long}/f")), "long path");
    symlink("y".repeat(200), root.join(format!("{long}/l"))).unwrap();
    xattr(root.join("plain"), "user.colour", b"blue\0\n=\xff");
    xattr(root.join("dir"), "user.note", b"on a directory");
    run("setfacl", &["-m", "u:12345:rw,g:23456:r", root.join("secret").to_str().unwrap()]);
    run("setfacl", &["-d", "-m", "u:12345:rwx", root.join("emptydir").to_str().unwrap()]);
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    use std::os::unix::fs::FileExt;
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::fs::File::create(root.join("hole")).unwrap().set_len(1 << 20).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(root.join("dir/deep"), Some(2), Some(12345)).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(1), Some(1)).unwrap();
        std::os::unix::fs::chown(root.join("script"), Some(3_000_000), Some(3_000_001)).unwrap();
    }
    touch(root.join("plain"), 1_600_000_000, 123_456_789);
    touch(root.join("empty"), -5, 500_000_000);
    touch(root.join("script"), 0, 0);
    touch(root.join("link"), 1_500_000_000, 1);
    touch(root.join("secret"), 1_600_000_000, 0);
    touch(root.join("dir/deep"), 1_400_000_000, 7);
    touch(root.join("dir"), 1_400_000_000, 8);
    chmod(root.join("tight"), 0o500);
}

/// Makes a rich tree another one, so that an import of a rich tree does every kind of step there.
pub fn differ(root: &Path) {
    let at = |path: &str| root.join(path);
    write(at("plain"), "other");
    chmod(at("script"), 0o644);
    touch(at("link"), 5, 5);
    std::fs::remove_file(at("zz-one")).unwrap();
    std::fs::remove_file(at("link-to-dir")).unwrap();
    write(at("link-to-dir/is/a/dir"), "x");
    std::fs::remove_dir(at("emptydir")).unwrap();
    symlink("/etc", at("emptydir")).unwrap();
    write(at("extra/file"), "goes");
    chmod(at("extra"), 0o555);
    std::fs::remove_dir_all(at("dir/deep")).unwrap();
    chmod(at("tight"), 0o700);
    write(at("tight/more"), "more");
    chmod(at("tight"), 0o500);
    touch(at("dir"), 77, 77);
}
