//! Signals in the middle of an import: the first undoes it, and a second one that means it stops that.

use crate::crash::lived_in;
use crate::support::{furnish, snapshot_but_times_of_folders, World, KBPACK};
use crate::terminal::Terminal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A world in which an import has begun, and what the target was before.
struct Begun {
    world: World,
    bundle: PathBuf,
    before: Vec<String>,
}

impl Begun {
    fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        lived_in(&world.target);
        let bundle = world.export("b.kbp");
        let before = snapshot_but_times_of_folders(&world.target);
        Begun { world, bundle, before }
    }

    /// Starts the import. At the first rename of its commit it gets the signal, and then it undoes, but waits for some
    /// seconds before it removes the staging area.
    fn start(&self, signal: &str, more: &[&str], stderr: Stdio) -> Child {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2,unlinkat"]);
        command.args(["-e", &format!("inject=renameat2:signal={signal}:when=1")]);
        command.args(["-e", "inject=unlinkat:delay_enter=4000000:when=1"]);
        // Its stderr is another one than that of strace, which would wait for it as well.
        command.args(["sh", "-c", "exec \"$0\" \"$@\" 2>&1", KBPACK]);
        command.args(["import", self.bundle.to_str().unwrap(), "--yes"]).args(more);
        command.env_clear().env("HOME", &self.world.target.path);
        command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        let child = command.stdout(stderr).stderr(Stdio::null()).spawn().unwrap();
        let logs = self.world.target.join(".local/state/kbpack/logs");
        wait_until("it undoes", || {
            fs::read_dir(&logs).into_iter().flatten().any(|log| {
                fs::read_to_string(log.unwrap().path()).is_ok_and(|text| text.contains("step undoing"))
            })
        });
        child
    }

    /// Everything is as it was, at once or after `recover`.
    fn is_undone(&self) {
        assert_eq!(snapshot_but_times_of_folders(&self.world.target), self.before);
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to the process that strace follows.
fn send(strace: &Child, signal: &str) {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let pid = fs::read_to_string(children).unwrap();
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
}

#[test]
fn a_second_one_stops_the_undo_and_says_what_to_do() {
    for (first, second) in [("SIGINT", "-INT"), ("SIGTERM", "-INT"), ("SIGHUP", "-TERM")] {
        let begun = Begun::new();
        let mut child = begun.start(first, &[], Stdio::piped());
        send(&child, second);
        let lines: Vec<String> =
            BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(10), "{lines:?}");
        let at = lines.iter().position(|line| line.starts_with("error: stopped by a second signal"));
        let at = at.unwrap_or_else(|| panic!("no last words in {lines:?}"));
        assert!(lines[at + 1].starts_with(" todo: run `kbpack recover`"), "{lines:?}");
        assert_ne!(snapshot_but_times_of_folders(&begun.world.target), begun.before);
        begun.world.target.kbpack(&["recover"]).ok();
        begun.is_undone();
    }
}

#[test]
fn nor_does_a_full_pipe_keep_it() {
    let begun = Begun::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe takes. Nobody reads.
    writer.write_all(&[b'x'; 65_536]).unwrap();
    let mut child = begun.start("SIGINT", &["-q"], writer.into());
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(10));
    drop(reader);
    begun.world.target.kbpack(&["recover"]).ok();
    begun.is_undone();
}

#[test]
fn nor_do_last_words_that_nobody_can_hear() {
    let begun = Begun::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = begun.start("SIGINT", &["-q"], writer.into());
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(10));
    begun.world.target.kbpack(&["recover"]).ok();
    begun.is_undone();
}

/// The kernel sends one, the shell another.
#[test]
fn a_terminal_that_is_closed_undoes_however_often_it_says_so() {
    let begun = Begun::new();
    let mut child = begun.start("SIGHUP", &[], Stdio::null());
    send(&child, "-HUP");
    send(&child, "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    begun.is_undone();
    assert_eq!(begun.world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
}

#[test]
fn closing_the_terminal_in_earnest_undoes() {
    let begun = Begun::new();
    let line = format!(
        "strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:delay_enter=8000000:when=1 \
         \"$KBPACK\" import {} --yes -v; true",
        begun.bundle.display()
    );
    let mut terminal = Terminal::start(&begun.world.target, &line, |_| ());
    terminal.wait_for("putting in place");
    drop(terminal);
    let journals = begun.world.target.join(".local/state/kbpack/journals");
    wait_until("it ends", || fs::read_dir(&journals).unwrap().next().is_none());
    begun.is_undone();
    let history = begun.world.target.kbpack(&["history", "--json"]).ok().json();
    assert_eq!(history["imports"][0]["outcome"], "undone", "{history}");
}
