//! age plugins that hang, flood, or talk to the terminal.

use crate::forge::with_stanzas;
use crate::kit::{Kit, Trial};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a script does before it answers: hears all that it is told.
const LISTEN: &str = "while read -r line; do [ \"$line\" = '-> done' ] && break; done; read -r line\n";

/// A bundle whose key file only the plugin `fake` could open, and an identity of that plugin.
struct Bait {
    kit: Kit,
    bundle: PathBuf,
    identity: PathBuf,
}

impl Bait {
    fn new() -> Self {
        let kit = Kit::new();
        let mut inside = kit.inside.clone();
        inside.key_files = vec![with_stanzas(&inside.key_files[0], "-> fake abc\nQUJD\n")];
        let (bundle, identity) = (kit.world.path("bait.kbp"), kit.world.path("fake.txt"));
        fs::write(&bundle, inside.sealed(&kit.source)).unwrap();
        let line = age::plugin::Identity::default_for_plugin("fake").unwrap().to_string();
        fs::write(&identity, format!("{line}\n")).unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        Bait { kit, bundle, identity }
    }

    /// The folder of the plugin, which has written its process id to `pid` there when it begins.
    fn plugin(&self, script: &str) -> PathBuf {
        let bin = self.kit.world.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let path = bin.join("age-plugin-fake");
        fs::write(&path, format!("#!/bin/sh\necho $$ > {}/pid\n{script}", bin.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        bin
    }

    fn taken(&self, bin: &Path) -> Trial {
        let identity = self.identity.to_str().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Trial::of(&self.kit, &self.bundle, &["import", "--yes", "-i", identity], |command| {
            command.env("PATH", path).env("KBPACK_PLUGIN_SECONDS", "2").env("AGEDEBUG", "plugin");
        })
    }

    #[track_caller]
    fn refused(&self, script: &str, code: i32, words: &str) {
        let bin = self.plugin(script);
        let trial = self.taken(&bin);
        trial.refused(code, words).unwrap_or_else(|e| panic!("{script}: {e}"));
        let pid = fs::read_to_string(bin.join("pid")).unwrap();
        // It was told to end, and has a moment for it.
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            has_ended(pid.trim())
        });
        assert!(gone, "{script}: the plugin still runs");
    }
}

/// Whether a process has ended. One that is nobody's child may stay as a zombie where there is no init.
fn has_ended(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.map_or(true, |status| status.contains("\nState:\tZ"))
}

#[test]
fn plugins_that_do_not_end() {
    let bait = Bait::new();
    bait.refused("exec sleep 300\n", 5, "did not finish within 2 s");
    bait.refused("trap '' TERM INT HUP\nwhile :; do sleep 1; done\n", 5, "did not finish within 2 s");
    bait.refused(&format!("{LISTEN}exec sleep 300\n"), 5, "did not finish within 2 s");
    bait.refused("exec yes\n", 5, "age-plugin-fake");
    bait.refused("exec yes >&2\n", 5, "age-plugin-fake");
}

#[test]
fn plugins_that_talk_to_the_terminal() {
    let bait = Bait::new();
    // The body is the base64 of more such sequences.
    let said = |stanza: &str| {
        let answer = format!("-> {stanza}\\nG1syShtdMDtvd25lZAcbWzMxbQ\\n-> done\\n\\n");
        format!("{LISTEN}printf '%b' '{answer}'\nread -r line; read -r line\n")
    };
    bait.refused("printf '\\033[2J\\033]0;owned\\007' >&2\nexit 1\n", 5, "age-plugin-fake");
    bait.refused("printf '\\033[2J\\033]0;owned\\007'\nexit 0\n", 5, "age-plugin-fake");
    bait.refused(&said("error internal"), 5, "age-plugin-fake");
    bait.refused(&said("error identity 0"), 5, "age-plugin-fake");
    bait.refused(&said("error stanza 0 0"), 5, "age-plugin-fake");
    bait.refused(&said("msg"), 5, "no key opens it");
    bait.refused(&said("request-secret"), 5, "");
    bait.refused(&said("\\0033[2J"), 5, "");
    // A key that is none: the file does not open with it.
    bait.refused(
        &format!(
            "{LISTEN}printf '%b' '-> file-key 0\\nQUFBQUFBQUFBQUFBQUFBQQ\\n-> done\\n\\n'\nread -r line; read -r line\n"
        ),
        3,
        "age",
    );
}

#[test]
fn plugins_get_a_bare_environment() {
    let bait = Bait::new();
    let bin = bait.plugin("env > \"$(dirname \"$0\")/env\"\ntr '\\0' ' ' < /proc/$PPID/cmdline > \"$(dirname \"$0\")/parent\"\nexit 1\n");
    bait.taken(&bin).refused(5, "age-plugin-fake").unwrap();
    let environment = fs::read_to_string(bin.join("env")).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("AGEDEBUG"), "{environment}");
    let parent = fs::read_to_string(bin.join("parent")).unwrap();
    assert!(!parent.contains("AGE-"), "{parent}");
    fs::remove_file(bin.join("age-plugin-fake")).unwrap();
    bait.taken(&bin).refused(8, "age-plugin-fake: the program was not found").unwrap();
}
