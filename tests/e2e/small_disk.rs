//! An import onto a file system that is too small for it, by one page or by many, in bytes or in inodes: all of it, or
//! exactly what was there before.
//!
//! The home with the state in it, or the state alone, lies on a tmpfs of its own. Only where this process may mount. The
//! suite looks for the smallest size that fits and at those around it; `KBPACK_CAMPAIGN=1` takes every page.

use crate::crash::{content, copy, leftovers, lived_in};
use crate::git::{git, PROFILE};
use crate::support::{furnish, snapshot_but_state, snapshot_but_times_of_folders, Home, World};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, until the value goes.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount.
    fn at(path: &Path, options: &str) -> Option<Mount> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("mode=755,{options}"), "none"]).arg(path);
        mount.output().is_ok_and(|out| out.status.success()).then(|| Mount(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).output().unwrap();
    }
}

/// An import that is tried on one small file system after the other.
struct Trial {
    world: World,
    /// What is on it, in the home.
    folder: &'static str,
    bundle: PathBuf,
    pristine: PathBuf,
    before: Vec<String>,
    after: Vec<String>,
    /// What was said when it did not fit.
    told: RefCell<String>,
    seen: fn(&Home) -> Vec<String>,
}

impl Trial {
    fn new(folder: &'static str) -> Option<Self> {
        let world = World::new();
        furnish(&world.source);
        lived_in(&world.target);
        Self::of(world, folder, snapshot_but_state)
    }

    fn of(world: World, folder: &'static str, seen: fn(&Home) -> Vec<String>) -> Option<Self> {
        let bundle = world.export("b.kbp");
        let pristine = world.path("pristine");
        copy(&world.target.path, &pristine);
        let (before, after, told) = Default::default();
        let mut trial = Trial { world, folder, bundle, pristine, before, after, told, seen };
        let _mount = trial.mount("size=64m")?;
        trial.before = seen(&trial.world.target);
        trial.world.import(&trial.bundle, &["-q"]).ok();
        trial.after = seen(&trial.world.target);
        Some(trial)
    }

    /// The pristine target, its folder on a file system of its own. What does not fit there is a mistake of the test.
    fn mount(&self, options: &str) -> Option<Mount> {
        let target = &self.world.target;
        copy(&self.pristine, &target.path);
        let mount = Mount::at(&target.join(self.folder), options)?;
        let everything = format!("{}/.", self.pristine.join(self.folder).display());
        let copied = Command::new("cp").args(["-a", &everything]).arg(&mount.0).status().unwrap();
        assert!(copied.success(), "{options}");
        Some(mount)
    }

    /// Whether the import fits into a file system with these options. Fails if it is neither the one nor the other.
    fn fits(&self, options: &str) -> bool {
        let mount = self.mount(options).unwrap();
        let target = &self.world.target;
        let run = self.world.import(&self.bundle, &["-q"]);
        let at = format!("{options}: exit {}, {}", run.code, run.stderr);
        let now = (self.seen)(target);
        self.told.borrow_mut().push_str(&run.stderr);
        match run.code {
            0 => assert_eq!(content(&now), content(&self.after), "{at}"),
            7 | 9 => assert_eq!(now, self.before, "{at}"),
            _ => panic!("{at}"),
        }
        assert_eq!(leftovers(&now), Vec::<&String>::new(), "{at}");
        // Nothing is left to be done, or nothing but to put the journal away, which takes room.
        if target.kbpack(&["recover"]).code != 0 {
            target.kbpack(&["recover"]).fails(7, "No space left on device");
            let remount =
                Command::new("mount").args(["-o", "remount,size=64m,nr_inodes=10k"]).arg(&mount.0).status();
            assert!(remount.unwrap().success());
            target.kbpack(&["recover"]).ok();
        }
        assert_eq!(target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n", "{at}");
        assert_eq!((self.seen)(target), now, "{at}");
        run.code == 0
    }

    /// What the pristine target takes: pages of 4 KiB, and inodes.
    fn used(&self) -> (u64, u64) {
        let mount = self.mount("size=64m").unwrap();
        let df = |column: &str| -> u64 {
            let output = format!("--output={column}");
            let out = Command::new("df").args(["-B4096", &output]).arg(&mount.0).output();
            String::from_utf8(out.unwrap().stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
        };
        (df("used"), df("iused"))
    }

    /// Tries sizes from `used` on: all of them, or a search for the smallest that fits, and those around it. Says what came
    /// of it.
    fn try_sizes(&self, used: u64, around: u64, options: impl Fn(u64) -> String) -> String {
        let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
        let (mut too_small, mut enough) = (used, used + 400);
        assert!(!self.fits(&options(too_small)) && self.fits(&options(enough)));
        while enough - too_small > 1 {
            let middle = too_small + (enough - too_small) / 2;
            match self.fits(&options(middle)) {
                true => enough = middle,
                false => too_small = middle,
            }
        }
        let from = if all { used } else { too_small.saturating_sub(around).max(used) };
        let fitting = (from..enough + around).filter(|size| self.fits(&options(*size))).count();
        let tried = enough + around - from;
        format!("smallest that fits: {} more; {fitting} of {tried} sizes fit", enough - used)
    }
}

const STATE: &str = ".local/state/kbpack";

#[test]
fn too_few_pages() {
    for folder in ["", STATE] {
        let Some(trial) = Trial::new(folder) else { return };
        let (pages, _) = trial.used();
        println!("{}", trial.try_sizes(pages, 12, |pages| format!("size={}k", pages * 4)));
    }
}

#[test]
fn too_few_inodes() {
    for folder in ["", STATE] {
        let Some(trial) = Trial::new(folder) else { return };
        let (_, inodes) = trial.used();
        println!("{}", trial.try_sizes(inodes, 12, |inodes| format!("size=64m,nr_inodes={inodes}")));
    }
}

/// Stock git indexes the pack, and libgit2 does the rest: neither takes a full disk for a pack that breaks a rule.
#[test]
fn too_few_pages_for_a_repository() {
    let world = World::new();
    let code = world.source.join("room/code");
    world.source.write("room/code/noise", noise(300_000));
    for n in 0..200 {
        world.source.write(&format!("room/code/small/{n}"), noise(n));
    }
    git(&code, "init -q -b main");
    git(&code, "add -A");
    git(&code, "commit -q -m first");
    world.source.profile(&PROFILE.replace("~/code", "~/room/code"));
    std::fs::create_dir(world.target.join("room")).unwrap();
    let Some(trial) = Trial::of(world, "room", but_git) else { return };
    let (pages, _) = trial.used();
    let size = |pages| format!("size={}k", pages * 4);
    // The pack fits, as the plan has seen; what comes with it does not.
    let need = 300_000 / 4096;
    let fitting = (need..need + 60).step_by(5).filter(|more| trial.fits(&size(pages + more))).count();
    assert_eq!(fitting, 0);
    // Such a size is one at which git has no room for the index of the pack.
    let told = trial.told.borrow();
    assert!(told.contains("/repository/.git/: No space left on device"), "{told}");
    drop(told);
    println!("{}", trial.try_sizes(pages, 3, size));
}

/// Without the times of folders, and without the files of git's own that have times in them.
fn but_git(home: &Home) -> Vec<String> {
    let rows = snapshot_but_times_of_folders(home).into_iter();
    rows.filter(|row| !row.contains("/.git/index ") && !row.contains("/.git/logs/")).collect()
}

/// Bytes that no packer makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64 + len as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// As a kernel leaves it that found an error on the disk.
#[test]
fn a_file_system_that_is_mounted_read_only_is_called_so() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.write("app/old.txt", "old");
    let app = world.target.join("app");
    let Some(_mount) = Mount::at(&app, "ro,size=1m") else { return };
    let run = world.import(&bundle, &["--only", "app"]).fails(8, "app: its file system is mounted read-only");
    assert_eq!(run.stderr.matches("mounted read-only").count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("mount it for writing").count(), 1, "{}", run.stderr);
}
