//! An import, and a rollback, that is killed at any system call by which it speaks to the server, to a child or to the disk, and
//! then recovered: the database has the old or the new content under its own name, and nothing lies about.
//!
//! The suite takes some of the calls; `KBPACK_CAMPAIGN=1` takes all.

use crate::safety::{content, half_way, state, OLD};
use crate::server::Server;
use crate::support::{Home, Run, KBPACK};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What goes to the server, to the journal, to a child or a backup.
const CALLS: &str = "sendto,write,fsync,fdatasync,renameat,renameat2,linkat,unlink";

/// kbpack under strace, killed at the `nth` of `call` in any of its threads.
pub fn killed(home: &Home, args: &[&str], call: &str, nth: u32) -> Run {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={nth}")]).arg(KBPACK).args(args);
    command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
    Run::of(&mut command)
}

/// How often the busiest thread of an undisturbed run makes each of `calls`.
pub fn count(home: &Home, args: &[&str], calls: &str, log: &Path) -> BTreeMap<String, u32> {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", log.to_str().unwrap(), "-e", &format!("trace={calls}")]);
    command.arg(KBPACK).args(args);
    command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
    Run::of(&mut command).ok();
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        *counts.entry((thread.to_owned(), name.to_owned())).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in counts {
        let entry = most.entry(name).or_insert(0);
        *entry = count.max(*entry);
    }
    most
}

/// What a run is killed in.
struct Campaign<'a> {
    home: &'a Home,
    args: &'a [&'a str],
    /// Puts the server back as it was before the run.
    reset: &'a dyn Fn(),
    server: &'a Server,
    /// Of the database, after a recovery: `old` or `new`; and nothing lies about.
    state: &'a dyn Fn() -> String,
    /// The state that the run leads to.
    to: &'a str,
}

impl Campaign<'_> {
    #[allow(clippy::print_stdout)] // for who runs a campaign
    fn run(&self, log: &Path) {
        let pristine = log.with_extension("home");
        copy(&self.home.path, &pristine);
        let counts = count(self.home, self.args, CALLS, log);
        assert_eq!((self.state)(), self.to);
        let (mut olds, mut news, mut runs) = (0, 0, 0);
        let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
        for (call, count) in counts {
            // More of the last, where the swap and the late backup are.
            let some = |n: &u32| {
                all || n.is_multiple_of((count / 2).max(1)) || *n + 16 > count && n.is_multiple_of(7)
            };
            for nth in (1..=count).filter(some) {
                runs += 1;
                (self.reset)();
                copy(&pristine, &self.home.path);
                let run = killed(self.home, self.args, &call, nth);
                // Also before anybody recovers, whoever uses it finds the one or the other, whole.
                content(self.server);
                // And killed again in the middle of the recovery, every other time.
                if runs % 2 == 0 {
                    killed(self.home, &["recover", "-q"], "sendto", 10 + runs % 30);
                }
                self.home.kbpack(&["recover"]).ok();
                let point = format!("killed at {call} number {nth} (exit {})", run.code);
                match (self.state)() {
                    now if now == self.to => news += 1,
                    _ => olds += 1,
                }
                assert_eq!(backups(self.home), journaled_backups(self.home), "{point}");
            }
        }
        println!("{}: {runs} kills: {olds} times the old database, {news} times the new one", self.args[0]);
        assert!(olds > 1 && news > 0);
    }
}

/// How many files lie in the folder of backups.
fn backups(home: &Home) -> usize {
    let folder = fs::read_dir(home.join(".local/state/kbpack/backups"));
    folder.into_iter().flatten().count()
}

/// How many backups the history knows of.
fn journaled_backups(home: &Home) -> usize {
    let history = home.kbpack(&["history", "--json"]).ok().json();
    let kept = |import: &&serde_json::Value| import["backup"] == "kept" && import["outcome"] == "imported";
    history["imports"].as_array().unwrap().iter().filter(kept).count()
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn killed_anywhere_it_is_the_old_or_the_new_database() {
    let (pair, bundle) = half_way();
    let reset = || {
        pair.target.sql("postgres", "DROP DATABASE IF EXISTS app WITH (FORCE)");
        pair.target.sql("postgres", "CREATE DATABASE app");
        pair.target.sql("app", OLD);
    };
    let campaign = Campaign {
        home: &pair.world.target,
        server: &pair.target,
        args: &["import", bundle.to_str().unwrap(), "--yes", "-q"],
        reset: &reset,
        state: &|| state(&pair.target),
        to: "new",
    };
    campaign.run(&pair.world.path("calls"));
}

#[test]
fn a_rollback_killed_anywhere_is_the_old_or_the_new_database() {
    let (pair, bundle) = half_way();
    pair.import(&bundle).ok();
    pair.target.sql("postgres", "CREATE DATABASE template_of_new TEMPLATE app");
    let reset = || {
        pair.target.sql("postgres", "DROP DATABASE IF EXISTS app WITH (FORCE)");
        pair.target.sql("postgres", "ALTER DATABASE template_of_new RENAME TO app");
        pair.target.sql("postgres", "CREATE DATABASE template_of_new TEMPLATE app");
    };
    let state = || {
        assert_eq!(pair.target.databases(), ["app", "template_of_new"]);
        content(&pair.target)
    };
    let campaign = Campaign {
        home: &pair.world.target,
        server: &pair.target,
        args: &["rollback", "--yes", "-q"],
        reset: &reset,
        state: &state,
        to: "old",
    };
    campaign.run(&pair.world.path("calls"));
}
