//! age plugins, run for real: a working one, and ones that hang, die and talk.
//!
//! kbpack runs itself to run a plugin. Here that is this program, so it has a `main` of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use kbpack::base::fault::{Fault, Faulty};
use kbpack::base::secret::Secret;
use kbpack::crypto::envelope::{open, seal};
use kbpack::crypto::identity::Identities;
use kbpack::crypto::passphrase::{PassphraseError, Prompt};
use kbpack::crypto::plugin::{helper_main, HELPER, SECONDS_VARIABLE};
use kbpack::crypto::recipient::Recipients;
use kbpack::crypto::CryptoError;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const TEXT: &[u8] = b"the content of a key file\n";
/// Bech32 of the prefix `age1fake` and no data.
const RECIPIENT: &str = "age1fake1f3suk7";

/// Answers with one PIN; keeps what it was told.
struct Person {
    pin: &'static str,
    heard: Mutex<Vec<String>>,
}

impl Prompt for Person {
    fn passphrase(&self, what: &str, _: bool) -> Result<Secret, PassphraseError> {
        self.heard.lock().unwrap().push(what.to_owned());
        Ok(Secret::from(self.pin.as_bytes().to_vec()))
    }
    fn message(&self, text: &str) {
        self.heard.lock().unwrap().push(text.to_owned());
    }
}

fn person(pin: &'static str) -> Arc<Person> {
    Arc::new(Person { pin, heard: Mutex::default() })
}

fn sealed() -> Result<Vec<Vec<u8>>, CryptoError> {
    let mut recipients = Recipients::new();
    recipients.add_str(RECIPIENT).unwrap();
    seal(&recipients, &Secret::from(TEXT.to_vec()))
}

fn opened(dir: &Path, files: &[Vec<u8>], person: &Arc<Person>) -> Result<Secret, CryptoError> {
    let mut identities = Identities::new();
    identities.add_file(&dir.join("identity"), person.clone()).unwrap();
    identities.set_passphrase_prompt(person.clone());
    open(files, &identities)
}

fn set_mode(dir: &Path, mode: &str) {
    fs::write(dir.join("mode"), mode).unwrap();
}

fn plugin_is_gone(dir: &Path) -> bool {
    let pid = fs::read_to_string(dir.join("pid")).unwrap();
    for _ in 0..60 {
        // A zombie is gone too: nobody here may be there to reap it.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

fn a_working_plugin_seals_and_opens(dir: &Path) {
    let files = sealed().unwrap();
    assert_eq!(files.len(), 1);
    let person = person("1234");
    assert_eq!(opened(dir, &files, &person).unwrap().expose(), TEXT);
    assert_eq!(
        *person.heard.lock().unwrap(),
        ["age-plugin-fake: touch \u{1b}[2J it", "age-plugin-fake (PIN)"]
    );

    // What the stock age makes with it, we open.
    let theirs = Command::new("age")
        .args(["-r", RECIPIENT])
        .stdin(fs::File::open(dir.join("text")).unwrap())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(theirs.status.success());
    assert_eq!(opened(dir, &[theirs.stdout], &person).unwrap().expose(), TEXT);
}

fn its_environment_is_scrubbed(dir: &Path) {
    sealed().unwrap();
    let names = fs::read_to_string(dir.join("environment")).unwrap();
    assert!(names.lines().any(|name| name == "PATH"), "{names}");
    for name in ["AGEDEBUG", "DATABASE_PASSWORD", SECONDS_VARIABLE] {
        assert!(!names.lines().any(|set| set == name), "{name}");
    }
}

fn a_wrong_pin_is_told_in_the_plugins_words(dir: &Path) {
    let error = opened(dir, &sealed().unwrap(), &person("0000")).unwrap_err();
    assert!(matches!(error, CryptoError::PluginFailed { .. }));
    assert!(error.to_string().contains("wrong PIN"), "{error}");
    assert_eq!(error.fault(), Fault::CannotDecrypt);
}

fn a_file_for_others_is_no_match(dir: &Path) {
    let mut recipients = Recipients::new();
    recipients.add_str(&age::x25519::Identity::generate().to_public().to_string()).unwrap();
    let files = seal(&recipients, &Secret::from(TEXT.to_vec())).unwrap();
    let error = opened(dir, &files, &person("1234")).unwrap_err();
    assert!(matches!(error, CryptoError::NoMatch { .. }), "{error}");
}

fn one_that_hangs_is_stopped_and_named(dir: &Path) {
    set_mode(dir, "hang");
    env::set_var(SECONDS_VARIABLE, "1");
    let start = Instant::now();
    let error = sealed().unwrap_err();
    assert!(matches!(&error, CryptoError::PluginTimedOut { name, seconds: 1 } if name == "fake"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(plugin_is_gone(dir));
    env::remove_var(SECONDS_VARIABLE);
}

fn one_that_dies_or_fails_is_named(dir: &Path) {
    set_mode(dir, "die");
    assert_eq!(sealed().unwrap_err().to_string(), "age-plugin-fake: it broke off");
    set_mode(dir, "error");
    let error = sealed().unwrap_err().to_string();
    assert!(error.contains("no \\u{1b}[2J device"), "{error}");
}

fn a_missing_one_is_named(dir: &Path) {
    let path = env::var_os("PATH").unwrap();
    env::set_var("PATH", "/nonexistent");
    let error = sealed().unwrap_err();
    env::set_var("PATH", path);
    assert!(matches!(&error, CryptoError::PluginMissing { name } if name == "fake"), "{error}");
    let _ = dir;
}

/// A child of kbpack's that loses kbpack ends, and its plugin with it.
fn nothing_outlives_kbpack(dir: &Path) {
    set_mode(dir, "hang");
    let _ = fs::remove_file(dir.join("pid"));
    let mut middle = Command::new("/proc/self/exe").arg("seal-for-ever").spawn().unwrap();
    while fs::read_to_string(dir.join("pid")).unwrap_or_default().is_empty() {
        thread::sleep(Duration::from_millis(20));
    }
    middle.kill().unwrap();
    middle.wait().unwrap();
    assert!(plugin_is_gone(dir));
}

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(HELPER) => return helper_main(&args[2]).unwrap(),
        Some("seal-for-ever") => return drop(sealed()),
        _ => {}
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugin");
    fs::copy(fixtures.join("age-plugin-fake"), dir.join("age-plugin-fake")).unwrap();
    let identity = age::plugin::Identity::default_for_plugin("fake").unwrap();
    fs::write(dir.join("identity"), format!("{identity}\n")).unwrap();
    fs::write(dir.join("text"), TEXT).unwrap();
    env::set_var("PATH", format!("{}:{}", dir.display(), env::var("PATH").unwrap()));
    env::set_var("AGEDEBUG", "plugin");
    env::set_var("DATABASE_PASSWORD", "hunter2");

    type Test = (&'static str, fn(&Path));
    let tests: [Test; 8] = [
        ("a_working_plugin_seals_and_opens", a_working_plugin_seals_and_opens),
        ("its_environment_is_scrubbed", its_environment_is_scrubbed),
        ("a_wrong_pin_is_told_in_the_plugins_words", a_wrong_pin_is_told_in_the_plugins_words),
        ("a_file_for_others_is_no_match", a_file_for_others_is_no_match),
        ("one_that_hangs_is_stopped_and_named", one_that_hangs_is_stopped_and_named),
        ("one_that_dies_or_fails_is_named", one_that_dies_or_fails_is_named),
        ("a_missing_one_is_named", a_missing_one_is_named),
        ("nothing_outlives_kbpack", nothing_outlives_kbpack),
    ];
    for (name, test) in tests {
        set_mode(dir, "");
        test(dir);
        println!("test {name} ... ok");
    }
}
