//! Children: a chosen environment, bounded output, a time limit, and a process group that ends as one.
//!
//! Nothing here blocks past the limit: our ends of the pipes do not block, and every wait is a `poll`
//! that also looks at the clock and at whether the child is still there.

use crate::base::fault::{io_fault, Fault, Faulty};
use crate::base::interrupt;
use crate::base::secret::Secret;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use rustix::process::{kill_process_group, waitid, Pid, Signal, WaitId, WaitIdOptions};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Variables that any child gets where they are set: where programs are, who and where the user is, the language.
pub const PLAIN_ENV: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR"];

/// How much of a child's stderr is kept: its last bytes, where programs say why they failed.
const STDERR_TAIL: usize = 8 * 1024;
/// How often a wait looks whether the child has ended.
const SLICE: Duration = Duration::from_millis(50);

/// Why a child could not do its work. What it wrote itself is never in here.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("{program}: the program was not found")]
    NotFound {
        /// As it was called.
        program: String,
    },
    /// It did not start, or a pipe to it broke.
    #[error("{program}: {error}")]
    Io {
        /// As it was called.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// It took longer than it may; it and what it started were killed.
    #[error("{program} did not finish within {seconds} s and was stopped")]
    TimedOut {
        /// As it was called.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// It wrote more than it may; it and what it started were killed.
    #[error("{program} wrote more than {bytes} bytes and was stopped")]
    TooMuchOutput {
        /// As it was called.
        program: String,
        /// The limit.
        bytes: usize,
    },
}

impl Faulty for ProcessError {
    fn fault(&self) -> Fault {
        match self {
            ProcessError::NotFound { .. } => Fault::NotReady,
            ProcessError::Io { error, .. } => io_fault(error),
            ProcessError::TimedOut { .. } | ProcessError::TooMuchOutput { .. } => Fault::Limit,
        }
    }
    fn remedy(&self) -> Option<String> {
        match self {
            ProcessError::NotFound { program } => Some(format!("install {program}, or add it to PATH")),
            _ => None,
        }
    }
}

/// What a child left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Secret,
    /// The end of what it wrote to stderr. Escape it before anyone sees it.
    pub stderr: String,
}

/// How a conversation with a child went: what it came to, and how the child ended.
#[derive(Debug)]
pub struct Talked<T> {
    /// What the conversation returned.
    pub said: T,
    /// How the child ended.
    pub status: ExitStatus,
    /// The end of what it wrote to stderr. Escape it before anyone sees it.
    pub stderr: String,
}

/// A child to be run. It begins with an empty environment and in a process group of its own, so it
/// cannot read from the terminal.
#[derive(Debug)]
pub struct Command {
    command: std::process::Command,
    name: String,
    limit: Duration,
    interruptible: bool,
}

impl Command {
    /// `program` (a path, or a name that is looked up in the `PATH` the child is given), killed after `limit`.
    pub fn new(program: impl AsRef<OsStr>, limit: Duration) -> Self {
        let program = program.as_ref();
        let mut command = std::process::Command::new(program);
        command.env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Command { command, name: program.to_string_lossy().into_owned(), limit, interruptible: false }
    }

    /// A signal to us ends it as its limit would: see [`crate::base::interrupt`].
    pub fn until_interrupted(mut self) -> Self {
        self.interruptible = true;
        self
    }

    /// What to call it in errors, instead of the program's path.
    pub fn called(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds arguments. They are visible to every user of the machine: never a secret.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Hands on our own value of each of these variables that is set.
    pub fn pass_env(mut self, names: &[&str]) -> Self {
        let set = names.iter().filter_map(|&name| Some((name, std::env::var_os(name)?)));
        self.command.envs(set.collect::<Vec<(&str, OsString)>>());
        self
    }

    /// Sets one variable. Never a secret: an environment is readable while the child lives.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in this directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives it `file` as its stdin, for a child that must seek in what it reads (as `/dev/stdin`). What
    /// [`run`](Self::run) and [`talk`](Self::talk) would write goes nowhere then.
    pub fn stdin_file(mut self, file: std::fs::File) -> Self {
        self.command.stdin(Stdio::from(file));
        self
    }

    /// Gives the child `stdin` and takes up to `max_stdout` bytes. How it ended is the caller's to judge.
    pub fn run(self, stdin: &[u8], max_stdout: usize) -> Result<Output, ProcessError> {
        let name = self.name.clone();
        let talked = self.talk(|mut to, mut from| {
            thread::scope(|scope| {
                // Another thread writes, for a child may answer before it has heard everything. One
                // that does not listen is not an error: how it ended says what that means.
                scope.spawn(move || to.write_all(stdin));
                let mut out = Zeroizing::new(Vec::with_capacity(max_stdout.min(64 * 1024)));
                let limit = max_stdout as u64 + 1;
                (&mut from).take(limit).read_to_end(&mut out)?;
                if out.len() > max_stdout {
                    return Err(io::Error::from(ErrorKind::FileTooLarge));
                }
                Ok(Secret::from(std::mem::take(&mut *out)))
            })
        })?;
        let stdout = talked.said.map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => {
                ProcessError::TooMuchOutput { program: name.clone(), bytes: max_stdout }
            }
            _ => ProcessError::Io { program: name.clone(), error },
        })?;
        Ok(Output { status: talked.status, stdout, stderr: talked.stderr })
    }

    /// Runs the child while `conversation` writes to it and reads from it. Both ends give
    /// [`ErrorKind::TimedOut`] once the limit has passed.
    ///
    /// An error from `conversation`, like the limit, kills the child's process group. What a child
    /// leaves running after it has ended by itself is left alone.
    pub fn talk<T, E>(
        mut self,
        conversation: impl FnOnce(Stdin, Stdout) -> Result<T, E>,
    ) -> Result<Talked<Result<T, E>>, ProcessError> {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => ProcessError::NotFound { program: self.name.clone() },
            _ => ProcessError::Io { program: self.name.clone(), error },
        };
        let mut child = self.command.spawn().map_err(failed)?;
        let pid = Pid::from_child(&child);
        let watch =
            Arc::new(Watch { pid, deadline: Instant::now() + self.limit, interruptible: self.interruptible });
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(io::Error::from(ErrorKind::BrokenPipe)));
        };
        let pipes = child.stdin.take().map_or_else(to_nobody, Ok).and_then(|stdin| {
            let stdin = Stdin::new(stdin, &watch)?;
            Ok((stdin, Pipe::new(stdout, &watch)?, Pipe::<ChildStderr>::new(stderr, &watch)?))
        });
        let (said, in_time, stderr) = match pipes {
            Ok((stdin, stdout, stderr)) => thread::scope(|scope| {
                let tail = scope.spawn(|| read_tail(stderr));
                let said = conversation(stdin, stdout);
                let in_time = said.is_ok() && watch.wait_for_end();
                if !in_time {
                    // The child is not reaped yet, so its id still names its group and no other.
                    let _ = kill_process_group(pid, Signal::KILL);
                }
                (Ok(said), in_time, tail.join().unwrap_or_default())
            }),
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                (Err(error), false, String::new())
            }
        };
        let status = child.wait().map_err(failed)?;
        let said = said.map_err(failed)?;
        if !in_time && watch.left().is_zero() {
            return Err(ProcessError::TimedOut { program: self.name, seconds: self.limit.as_secs() });
        }
        Ok(Talked { said, status, stderr })
    }
}

/// A child and its time.
struct Watch {
    pid: Pid,
    deadline: Instant,
    interruptible: bool,
}

impl Watch {
    /// The time that the child has left.
    fn left(&self) -> Duration {
        match self.interruptible && interrupt::check().is_err() {
            true => Duration::ZERO,
            false => self.deadline.saturating_duration_since(Instant::now()),
        }
    }

    /// Whether the child has ended. It is left unreaped: its id stays taken until the very end.
    fn ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// True when the child has ended, false when its time is over.
    fn wait_for_end(&self) -> bool {
        let mut nap = Duration::from_millis(1);
        while !self.ended() {
            let left = self.left();
            if left.is_zero() {
                return false;
            }
            thread::sleep(nap.min(left));
            nap = (nap * 2).min(SLICE);
        }
        true
    }

    /// True when `fd` is ready; false when the child has ended and nothing more is there (a pipe may be
    /// held open by what the child left behind).
    fn ready(&self, fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
        loop {
            let ended = self.ended();
            let left = self.left();
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let slice = if ended { Duration::ZERO } else { left.min(SLICE) };
            let slice = Timespec::try_from(slice).map_err(io::Error::other)?;
            match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&slice)) {
                Ok(0) if ended => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Our end of one of a child's pipes.
pub struct Pipe<P> {
    pipe: P,
    watch: Arc<Watch>,
}

/// Where a child's input is written. Dropping it is the end of the input.
pub type Stdin = Pipe<ChildStdin>;
/// Where a child's output is read.
pub type Stdout = Pipe<ChildStdout>;

impl<P: AsFd> Pipe<P> {
    fn new(pipe: P, watch: &Arc<Watch>) -> io::Result<Self> {
        // Ours alone: the two ends of a pipe have flags of their own.
        let flags = fcntl_getfl(&pipe)?;
        fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Pipe { pipe, watch: Arc::clone(watch) })
    }
}

/// A pipe whose other end is closed, for a child that reads a file instead.
fn to_nobody() -> io::Result<ChildStdin> {
    let (_, writer) = io::pipe()?;
    Ok(ChildStdin::from(OwnedFd::from(writer)))
}

fn try_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl<P: AsFd + Read> Read for Pipe<P> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.watch.ready(self.pipe.as_fd(), PollFlags::IN)? {
                return Ok(0);
            }
            match self.pipe.read(buf) {
                Err(error) if try_again(&error) => {}
                done => return done,
            }
        }
    }
}

impl<P: AsFd + Write> Write for Pipe<P> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            if !self.watch.ready(self.pipe.as_fd(), PollFlags::OUT)? {
                return Err(ErrorKind::BrokenPipe.into());
            }
            match self.pipe.write(buf) {
                Err(error) if try_again(&error) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

/// Reads to the end and keeps the last [`STDERR_TAIL`] bytes.
fn read_tail(mut from: impl Read) -> String {
    let mut tail = Vec::new();
    let mut buf = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buf) {
        tail.extend_from_slice(&buf[..n]);
        tail.drain(..tail.len().saturating_sub(STDERR_TAIL));
    }
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, seconds: u64) -> Command {
        Command::new("/bin/sh", Duration::from_secs(seconds)).args(["-c", script]).pass_env(PLAIN_ENV)
    }

    #[test]
    fn input_and_output_pass_whatever_their_size() {
        let big = vec![7; 1 << 20];
        let out = sh("cat; echo why >&2; exit 3", 20).run(&big, 2 << 20).unwrap();
        assert_eq!(out.stdout.expose(), big);
        assert_eq!((out.status.code(), out.stderr.as_str()), (Some(3), "why\n"));
    }

    #[test]
    fn a_file_as_input() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        let out =
            sh("tail -c 3 /dev/stdin; head -c 3 /dev/stdin", 20).stdin_file(file).run(b"", 100).unwrap();
        assert_eq!(out.stdout.expose(), b"defabc");
    }

    #[test]
    fn a_child_that_does_not_listen_is_no_error() {
        let out = sh("echo done", 20).run(&vec![7; 1 << 20], 100).unwrap();
        assert_eq!(out.stdout.expose(), b"done\n");
    }

    #[test]
    fn the_environment_is_empty_but_for_what_is_passed() {
        let out = Command::new("/usr/bin/env", Duration::from_secs(20)).env("A", "b").run(b"", 1000).unwrap();
        assert_eq!(out.stdout.expose(), b"A=b\n");
    }

    #[test]
    fn output_is_capped() {
        assert!(matches!(sh("yes", 20).run(b"", 1000), Err(ProcessError::TooMuchOutput { bytes: 1000, .. })));
        assert_eq!(sh("printf 12345", 20).run(b"", 5).unwrap().stdout.expose(), b"12345");
        let noisy = sh("yes noise | head -c 1000000 >&2; echo last >&2", 20).run(b"", 5).unwrap();
        assert!(noisy.stderr.len() <= STDERR_TAIL && noisy.stderr.ends_with("last\n"));
    }

    #[test]
    fn the_limit_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("late");
        let script = format!("(sleep 2; touch {}) & sleep 100", file.display());
        let start = Instant::now();
        let result = sh(&script, 1).run(b"", 100);
        assert!(matches!(result, Err(ProcessError::TimedOut { seconds: 1, .. })), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(3));
        thread::sleep(Duration::from_millis(2500));
        assert!(!file.exists());
    }

    #[test]
    fn a_leftover_that_holds_the_pipes_does_not_hold_us() {
        let start = Instant::now();
        let out = sh("echo x; sleep 20 & exit 0", 15).run(b"", 100).unwrap();
        assert_eq!(out.stdout.expose(), b"x\n");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Command::new("kbpack-no-such", Duration::from_secs(1)).run(b"", 1).unwrap_err();
        assert_eq!(error.to_string(), "kbpack-no-such: the program was not found");
        assert_eq!(error.fault(), Fault::NotReady);
    }
}
