//! Programs that a check runs: no shell, a clean environment, bounded output, an end in time.

use super::Site;
use crate::base::process::{Command, PLAIN_ENV};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Bytes of a program's standard output that are looked at; the rest is read and dropped.
const KEPT: u64 = 64 * 1024;
/// Lines of its output that the details show, and characters of each.
const SHOWN: (usize, usize) = (10, 200);

/// What a program did.
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    stderr: String,
}

/// Runs `run` in the home, or in `directory`.
pub(super) fn run(run: &[String], directory: Option<&str>, site: &Site) -> Result<Ran, String> {
    let [program, args @ ..] = run else { return Err("it names no program".to_owned()) };
    let home = &site.host.home;
    let directory = match directory {
        Some(text) => site.host.expand(text).ok_or_else(|| format!("{text} is not a path"))?,
        None => home.clone(),
    };
    if !directory.is_dir() {
        return Err(format!("there is no directory {}", directory.display()));
    }
    let child =
        Command::new(program, site.limit).args(args).pass_env(PLAIN_ENV).env("HOME", home).dir(&directory);
    let talked = child.until_interrupted().talk(|stdin, mut stdout| {
        drop(stdin);
        let mut kept = Vec::new();
        stdout.by_ref().take(KEPT).read_to_end(&mut kept)?;
        std::io::copy(&mut stdout, &mut std::io::sink())?;
        Ok::<_, std::io::Error>(kept)
    });
    let talked = talked.map_err(|error| error.to_string())?;
    let stdout = talked.said.map_err(|error| format!("{program}: {error}"))?;
    Ok(Ran { status: talked.status, stdout, stderr: talked.stderr })
}

impl Ran {
    /// How it ended, in words.
    pub(super) fn ending(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        }
    }

    /// All that it said, for what looks in both.
    pub(super) fn said(&self) -> [String; 2] {
        [String::from_utf8_lossy(&self.stdout).into_owned(), self.stderr.clone()]
    }

    /// How it ended and the last lines that it wrote, for the details.
    pub(super) fn details(&self) -> Vec<String> {
        let [stdout, stderr] = self.said();
        let mut details = vec![self.ending()];
        for (stream, text) in [("stdout", stdout), ("stderr", stderr)] {
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN.0)..];
            let cut = |line: &&str| line.chars().take(SHOWN.1).collect::<String>();
            details.extend(last.iter().map(|line| format!("{stream}: {}", cut(line))));
        }
        details
    }
}

/// `run` as a person would type it.
pub(in crate::engine) fn shown(run: &[String]) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&c);
    let word = |word: &String| match !word.is_empty() && word.bytes().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    run.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::component::Host;
    use std::time::{Duration, Instant};

    /// A site in a home of its own.
    pub(in crate::engine::checks) fn site(trusted: bool) -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let host = Host { home, uid, own: vec![], maps: vec![] };
        (dir, Site { host, trusted, limit: Duration::from_secs(10) })
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn its_surroundings_are_clean() {
        let (_dir, site) = site(true);
        let ran = run(&words(&["/usr/bin/env"]), None, &site).unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(text.contains(&format!("HOME={}\n", site.host.home.display())), "{text}");
        assert!(text.lines().all(|line| PLAIN_ENV.contains(&line.split('=').next().unwrap())), "{text}");
        let ran = run(&words(&["pwd"]), None, &site).unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap().trim(), site.host.home.to_str().unwrap());
        assert!(run(&words(&["pwd"]), Some("~/none"), &site).is_err());
        assert!(run(&words(&["kbpack-no-such"]), None, &site).err().unwrap().contains("not found"));
    }

    #[test]
    fn output_and_time_are_bounded() {
        let (_dir, mut site) = site(true);
        let ran = run(&words(&["head", "-c", "1000000", "/dev/zero"]), None, &site).unwrap();
        assert_eq!((ran.stdout.len() as u64, ran.status.code()), (KEPT, Some(0)));
        site.limit = Duration::from_secs(1);
        let start = Instant::now();
        assert!(run(&words(&["sleep", "60"]), None, &site).err().unwrap().contains("within 1 s"));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn commands_are_shown_as_they_would_be_typed() {
        assert_eq!(shown(&words(&["a", "-b=c", "d e", "", "it's"])), "a -b=c 'd e' '' 'it'\\''s'");
    }
}
