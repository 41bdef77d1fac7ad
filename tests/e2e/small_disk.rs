//! An import onto a file system that is too small for it, by one page or by many, in bytes or in inodes: all of it, or
//! exactly what was there before.
//!
//! The home with the state in it, or the state alone, lies on a tmpfs of its own. Only where this process may mount. The
//! suite looks for the smallest size that fits and at those around it; `KBPACK_CAMPAIGN=1` takes every page.

use crate::crash::{content, copy, leftovers, lived_in};
use crate::support::{furnish, snapshot_but_state, World};
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
}

impl Trial {
    fn new(folder: &'static str) -> Option<Self> {
        let world = World::new();
        furnish(&world.source);
        lived_in(&world.target);
        let bundle = world.export("b.kbp");
        let pristine = world.path("pristine");
        copy(&world.target.path, &pristine);
        let mut trial = Trial { world, folder, bundle, pristine, before: Vec::new(), after: Vec::new() };
        let _mount = trial.mount("size=64m")?;
        trial.before = snapshot_but_state(&trial.world.target);
        trial.world.import(&trial.bundle, &["-q"]).ok();
        trial.after = snapshot_but_state(&trial.world.target);
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
        let now = snapshot_but_state(target);
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
        assert_eq!(snapshot_but_state(target), now, "{at}");
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
