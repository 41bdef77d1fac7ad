//! The whole kind on real homes: from one machine's to another's, and back again.

use super::model::FileEntry;
use super::shell_tests::{exported, host};
use super::*;
use crate::base::fault::Faulty;
use crate::component::{Act, ChangeKind};
use crate::components::conformance::{
    suite, tree, untimed, Acts, Break, Given, Silent, State, Streams, Subject, EDIT, RUN,
};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

const BASHRC: &str = include_str!("../../../fixtures/kage-bunshin/bashrc");

mod keep;
mod policies;

struct Home {
    dir: tempfile::TempDir,
    host: Host,
}
impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        Home { dir, host }
    }
    fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        put(self.dir.path(), path, content, mode);
    }
    fn get(&self, path: &str) -> String {
        String::from_utf8(fs::read(self.dir.path().join(path)).unwrap()).unwrap()
    }
    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.dir.path().join(path)).unwrap().permissions().mode() & 0o7777
    }
    fn scope(&self) -> Scope<'_> {
        Scope {
            host: &self.host,
            carved: &[],
            only: &[],
            run: RUN,
            threads: 1,
            progress: &Silent,
            ask: &Given,
            trusted: true,
            logins: &[],
        }
    }
    /// Everything in it.
    fn state(&self) -> Vec<String> {
        tree(self.dir.path())
    }
    fn component(&self, options: &Value) -> Result<Box<dyn Component>> {
        SecretsKind.from_options(&name(), options, &self.host)
    }
    fn arriving(&self, facts: &Value) -> Box<dyn Component> {
        SecretsKind.from_facts(&name(), facts, None, &self.host).unwrap()
    }
    fn capture(&self, options: &Value) -> (Captured, Streams) {
        capture(&*self.component(options).unwrap(), &self.scope())
    }
    /// A whole import, up to its checks.
    fn import(&self, facts: &Value, streams: &Streams) -> (Plan, Vec<Act>) {
        self.import_as(&*self.arriving(facts), streams)
    }
    fn import_as(&self, component: &dyn Component, streams: &Streams) -> (Plan, Vec<Act>) {
        let mut plan = component.plan(&self.scope(), streams).unwrap();
        component.prepare(&self.scope(), &mut plan, streams).unwrap();
        assert!(!refused(&plan), "{:?}", plan.findings);
        component.stage(&self.scope(), &plan, streams).unwrap();
        passed(&component.check_staged(&self.scope(), &plan).unwrap());
        let mut journal = Acts::default();
        component.commit(&self.scope(), &plan, &mut journal).unwrap();
        passed(&component.check(&self.scope(), &plan).unwrap());
        (plan, journal.acts)
    }
}

fn put(home: &Path, path: &str, content: impl AsRef<[u8]>, mode: u32) {
    let path = home.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn name() -> ComponentName {
    ComponentName::new("keys").unwrap()
}
fn capture(component: &dyn Component, scope: &Scope<'_>) -> (Captured, Streams) {
    let mut streams = Streams::default();
    let captured = component.capture(scope, &streams).unwrap();
    streams.seal();
    assert_eq!((streams.names(), streams.held()), (vec!["values".to_owned()], vec![Holds::Secrets]));
    (captured, streams)
}
/// What an import of `streams` would touch, as it is before.
fn back_up(component: &dyn Component, scope: &Scope<'_>, streams: &Streams) -> (Captured, Streams) {
    let mut backup = Streams::default();
    let plan = component.plan(scope, streams).unwrap();
    let captured = component.back_up(scope, &plan, &backup).unwrap();
    backup.seal();
    (captured, backup)
}
fn passed(results: &[CheckResult]) {
    assert!(results.iter().all(|r| r.failure.is_none()), "{results:?}");
}
fn refused(plan: &Plan) -> bool {
    plan.findings.iter().any(|f| f.severity == Severity::Refusal)
}
fn refusal(home: &Home, facts: &Value, streams: &Streams) -> String {
    let plan = home.arriving(facts).plan(&home.scope(), streams).unwrap();
    let found = plan.findings.iter().find(|f| f.severity == Severity::Refusal).expect("a refusal");
    assert!(found.remedy.is_some());
    found.what.clone()
}

fn options() -> Value {
    json!({
        "env": { "file": "~/.bashrc", "names": ["OPENAI_API_KEY", "API_KEYS"] },
        "pgpass": ["localhost:1:claude_memory:claude_mcp"],
        "files": [{ "path": "~/.claude/.credentials.json" }],
    })
}

fn source() -> Home {
    let home = Home::new();
    home.put(".bashrc", BASHRC, 0o644);
    home.put(".pgpass", "localhost:1:claude_memory:claude_mcp:p\\:w\n", 0o600);
    home.put(".claude/.credentials.json", "{\"t\":\"sk-demo\"}\n", 0o664);
    home
}

/// For the suite that every kind passes.
struct Keys;

impl Subject for Keys {
    fn kind(&self) -> &'static dyn Kind {
        &SecretsKind
    }
    fn options(&self, _: &Host) -> Value {
        let dotenv = json!({ "file": "~/app/.env", "names": ["TOKEN"] });
        let mut options = options();
        options["env"] = json!([options["env"], dotenv]);
        options
    }
    fn furnish(&self, host: &Host, state: State) {
        let put = |path: &str, content: &str, mode| put(&host.home, path, content, mode);
        let source = state == State::Source;
        put("app/.env", if source { "TOKEN=tok-demo\n" } else { "OTHER=1\nTOKEN='another one'\n" }, 0o600);
        if source {
            put(".bashrc", BASHRC, 0o600);
            put(".pgpass", "localhost:1:claude_memory:claude_mcp:p\\:w\n", 0o600);
            put(".claude/.credentials.json", "{\"t\":\"sk-demo\"}\n", 0o600);
        } else {
            put(".bashrc", "alias l=ls\nexport API_KEYS=before\n", 0o644);
            put(".pgpass", "h:1:d:u:x\n", 0o640);
            put(".claude/.credentials.json", "old", 0o600);
            put(".config/kbpack-env/subject/env.sh", "export OLD=1\n", 0o600);
        }
    }
    fn edit(&self, host: &Host) {
        put(&host.home, ".claude/.credentials.json", EDIT, 0o600);
    }
}

#[test]
fn it_passes_the_suite() {
    suite(&Keys);
}

#[test]
fn acts_of_an_older_kbpack_are_read() {
    let home = Home::new();
    home.put("x", "new", 0o600);
    home.put(&format!(".kbpack-stage-{RUN}/keys/0.old"), "old", 0o600);
    let at = |path: &str| home.host.home.join(path);
    let side = at(&format!(".kbpack-stage-{RUN}/keys"));
    let acts = [Act(json!({
        "act": "replace",
        "path": at("x"),
        "staged": side.join("0.new"),
        "aside": side.join("0.old"),
        "old": crate::base::digest::Digest::of(b"old"),
        "new": crate::base::digest::Digest::of(b"new"),
    }))];
    let component = home.arriving(&json!({ "files": [{ "path": "~/x", "mode": "600", "policy": "copy" }] }));
    assert_eq!(component.undo(&home.scope(), &acts).unwrap(), []);
    assert_eq!(home.get("x"), "old");
    assert_eq!(component.describe(&acts[0]), format!("replace {}", at("x").display()));
}

#[test]
fn from_one_home_to_an_empty_one() {
    let (captured, streams) = source().capture(&options());
    let shown = captured.facts.to_string();
    assert!(!shown.contains("demo") && !shown.contains("p:w"), "{shown}");
    assert_eq!(captured.facts["files"][0]["mode"], "600");
    assert_eq!(captured.findings.len(), 2, "{:?}", captured.findings);

    let target = Home::new();
    let before = target.state();
    let (plan, acts) = target.import(&captured.facts, &streams);
    assert_eq!(plan.unchanged, 0);
    let added =
        |what: &str| plan.changes.iter().any(|c| c.kind == ChangeKind::Added && c.what.contains(what));
    assert!(
        added("$OPENAI_API_KEY") && added("claude_mcp") && added(".credentials.json"),
        "{:?}",
        plan.changes
    );
    assert!(plan.executes.iter().any(|e| e.contains(". \"$HOME/.config/kbpack-env/keys/env.sh\"")));
    for file in ["env.sh", "environment"] {
        assert_eq!(target.mode(&format!(".config/kbpack-env/keys/{file}")), 0o600);
    }
    assert_eq!(target.mode(".config/kbpack-env/keys"), 0o700);
    assert_eq!(target.get(".pgpass"), "localhost:1:claude_memory:claude_mcp:p\\:w\n");
    assert_eq!(target.get(".claude/.credentials.json"), "{\"t\":\"sk-demo\"}\n");

    // A second import changes nothing, and the target can be a source.
    let again = target.arriving(&captured.facts).plan(&target.scope(), &streams).unwrap();
    assert!(again.changes.is_empty() && again.executes.is_empty(), "{:?}", again.changes);
    assert_eq!(again.unchanged, 4);
    let onward = target.capture(&options()).0;
    assert_eq!(onward.facts["env"], captured.facts["env"]);

    let component = target.arriving(&captured.facts);
    component.undo(&target.scope(), &acts).unwrap();
    assert_eq!(target.state(), before);
}

#[test]
fn a_used_home_keeps_what_is_its_own() {
    let (captured, streams) = source().capture(&options());
    let target = Home::new();
    let line = "export OPENAI_API_KEY=\"the old\nkey\"\n";
    target.put(".bashrc", BASHRC.replace("export OPENAI_API_KEY=", "export OTHER=") + line, 0o640);
    target.put(".pgpass", "# mine\n*:*:*:claude_mcp:wild\nh:1:d:u:x\n", 0o644);
    target.put(".config/x", "x", 0o600);
    let before = target.state();
    let (plan, acts) = target.import(&captured.facts, &streams);
    let bashrc = target.get(".bashrc");
    assert!(bashrc.ends_with("# kbpack: export OPENAI_API_KEY=\"the old\n# kbpack: key\"\n"), "{bashrc}");
    assert!(bashrc.find("# >>> kbpack keys >>>").unwrap() < bashrc.find("case $- in").unwrap());
    assert_eq!(target.mode(".bashrc"), 0o640);
    assert_eq!(target.mode(".pgpass"), 0o600);
    assert_eq!(
        target.get(".pgpass"),
        "# mine\nlocalhost:1:claude_memory:claude_mcp:p\\:w\n*:*:*:claude_mcp:wild\nh:1:d:u:x\n"
    );
    assert!(plan.changes.iter().any(|c| c.what.contains("is commented out")));

    // Edited after the commit: the undo keeps that copy.
    target.put(".pgpass", "edited", 0o600);
    let component = target.arriving(&captured.facts);
    let findings = component.undo(&target.scope(), &acts).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(target.get(&format!(".pgpass.kbpack-kept-{RUN}")), "edited");
    let mut state = target.state();
    state.retain(|row| !row.contains("kbpack-kept"));
    assert_eq!(state, before);

    // The other way on: finalise leaves nothing but the new state.
    let acts = target.import(&captured.facts, &streams).1;
    component.finalise(&target.scope(), &acts).unwrap();
    assert!(!target.state().iter().any(|row| row.contains("kbpack-stage")));
    assert_eq!(target.get(".bashrc"), bashrc);
}

/// What the new shell has: the block is reached by a shell that is not interactive, and gives the values.
#[test]
fn a_shell_that_reads_the_file_has_the_values() {
    let hostile = "'\"$(touch pwned)`touch pwned`\\ -n !\n\té$HOME\n\n";
    let mut quoted = SecretBuf::default();
    quote::shell(hostile.as_bytes(), &mut quoted);
    let origin = source();
    origin.put(
        ".bashrc",
        [b"export API_KEYS=", quoted.bytes(), b"\nexport OPENAI_API_KEY=sk\n"].concat(),
        0o600,
    );
    let (captured, streams) = origin.capture(&options());
    let target = Home::new();
    target.put(".bashrc", BASHRC, 0o644);
    target.import(&captured.facts, &streams);
    let script = format!("HOME='{}'; . \"$HOME/.bashrc\"", target.host.home.display());
    for shell in ["bash", "dash"] {
        let env = exported(shell, script.as_bytes());
        assert_eq!(env.get("API_KEYS").map(Vec::as_slice), Some(hostile.as_bytes()), "{shell}");
        assert_eq!(env.get("OPENAI_API_KEY").map(Vec::as_slice), Some(&b"sk"[..]), "{shell}");
    }
    assert!(!target.get(".config/kbpack-env/keys/environment").contains("left out"));
}

#[test]
fn an_undo_from_every_half_done_position() {
    let (captured, streams) = source().capture(&options());
    for used in [false, true] {
        for limit in 0..12 {
            let target = Home::new();
            if used {
                target.put(".bashrc", BASHRC, 0o644);
                target.put(".pgpass", "h:1:d:u:x\n", 0o640);
                target.put(".claude/.credentials.json", "old", 0o600);
                target.put(".config/kbpack-env/keys/env.sh", "export OLD=1\n", 0o600);
            }
            let before = target.state();
            let component = target.arriving(&captured.facts);
            let plan = component.plan(&target.scope(), &streams).unwrap();
            component.stage(&target.scope(), &plan, &streams).unwrap();
            let mut journal = Acts::breaking(Break::After(limit));
            let failed = component.commit(&target.scope(), &plan, &mut journal).is_err();
            let acts = journal.acts;
            assert_eq!(failed, acts.len() > limit);
            // Half of a replacement: the old file has its second name, and the new one is not there yet.
            if let Some(aside) = acts.last().filter(|_| failed).and_then(|a| a.0["aside"].as_str()) {
                let path = acts.last().unwrap().0["path"].as_str().unwrap();
                match limit % 3 {
                    0 => drop(fs::hard_link(path, aside)),
                    1 => drop(fs::rename(path, aside)),
                    _ => {}
                }
            }
            component.undo(&target.scope(), &acts).unwrap();
            assert_eq!(target.state(), before, "used {used}, after {limit} acts");
        }
    }
}

#[test]
fn a_file_edited_since_the_plan_stops_the_commit() {
    let (captured, streams) = source().capture(&options());
    let target = Home::new();
    target.put(".pgpass", "h:1:d:u:x\n", 0o600);
    let component = target.arriving(&captured.facts);
    let plan = component.plan(&target.scope(), &streams).unwrap();
    component.stage(&target.scope(), &plan, &streams).unwrap();
    target.put(".pgpass", "h:1:d:u:y\n", 0o600);
    let mut journal = Acts::default();
    let error = component.commit(&target.scope(), &plan, &mut journal).unwrap_err();
    assert!(error.to_string().ends_with(".pgpass was edited since the plan"));
    assert!(journal.acts.is_empty());
    assert!(component.check(&target.scope(), &plan).unwrap().iter().any(|r| r.failure.is_some()));
}

#[test]
fn a_backup_brings_back_what_was_there_and_what_was_not() {
    let (captured, streams) = source().capture(&options());
    let target = Home::new();
    target.put("dotfiles/bashrc", BASHRC, 0o644);
    symlink("dotfiles/bashrc", target.dir.path().join(".bashrc")).unwrap();
    let before = target.state();
    let component = target.arriving(&captured.facts);
    let (backup, backed_up) = back_up(&*component, &target.scope(), &streams);
    let acts = target.import(&captured.facts, &streams).1;
    component.finalise(&target.scope(), &acts).unwrap();
    assert!(target.get("dotfiles/bashrc").contains(">>> kbpack"));
    assert!(fs::symlink_metadata(target.dir.path().join(".bashrc")).unwrap().is_symlink());

    // No bundle may say of itself that it is a backup.
    assert!(SecretsKind.from_facts(&name(), &backup.facts, None, &target.host).is_err());
    target.put(".claude/.credentials.json", "edited since", 0o600);
    let component = SecretsKind.from_backup(&name(), &backup.facts, None, &target.host).unwrap();
    let (plan, acts) = target.import_as(&*component, &backed_up);
    assert!(plan.changes.iter().any(|c| c.kind == ChangeKind::Removed && c.what == "~/.pgpass"));
    assert_eq!(target.get("dotfiles/bashrc"), BASHRC);
    assert_eq!(target.mode("dotfiles/bashrc"), 0o644);
    for gone in [".pgpass", ".claude/.credentials.json", ".config/kbpack-env/keys/env.sh"] {
        assert!(!target.dir.path().join(gone).exists(), "{gone}");
    }
    component.undo(&target.scope(), &acts).unwrap();
    assert!(target.dir.path().join(".pgpass").exists());
    assert_eq!(target.get(".claude/.credentials.json"), "edited since");

    // What was edited stays, everything else is as it was.
    let (_, acts) = target.import_as(&*component, &backed_up);
    component.finalise(&target.scope(), &acts).unwrap();
    component.finalise(&target.scope(), &acts).unwrap();
    let kept = format!(".claude/.credentials.json.kbpack-kept-{RUN}");
    assert_eq!(target.get(&kept), "edited since");
    fs::remove_dir_all(target.dir.path().join(".claude")).unwrap();
    assert_eq!(untimed(&target.state()), untimed(&before));
}

#[test]
fn a_dotenv_file_is_merged() {
    let options = json!({ "env": { "file": "~/app/.env", "names": ["A", "B"] } });
    let origin = Home::new();
    origin.put("app/.env", "A='x y'\nB=\"it's\nme\"\nC=3\n", 0o600);
    let (captured, streams) = origin.capture(&options);
    let target = Home::new();
    target.put("app/.env", "C=9\nA=1 # odd\n", 0o644);
    target.import(&captured.facts, &streams);
    assert_eq!(target.get("app/.env"), "C=9\nA='x y'\nB=\"it's\nme\"\n");
    assert_eq!(target.mode("app/.env"), 0o640);
    assert!(!target.dir.path().join(".config").exists());
}

#[test]
fn what_a_target_refuses() {
    let (captured, streams) = source().capture(&options());
    let facts = &captured.facts;

    let target = Home::new();
    target.put(".bashrc", "if true; then\nexport API_KEYS=1\nfi\n", 0o644);
    assert!(refusal(&target, facts, &streams).starts_with("~/.bashrc, line 2: $API_KEYS is set in a way"));

    let target = Home::new();
    symlink("/etc/passwd", target.dir.path().join(".pgpass")).unwrap();
    assert!(refusal(&target, facts, &streams).contains("outside the home"));

    let target = Home::new();
    fs::create_dir(target.dir.path().join(".pgpass")).unwrap();
    assert!(refusal(&target, facts, &streams).contains("not a regular file"));

    let target = Home::new();
    fs::create_dir(target.dir.path().join(".claude")).unwrap();
    fs::set_permissions(target.dir.path().join(".claude"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refusal(&target, facts, &streams).contains("only you can write to"));

    let target = Home::new();
    target.put("one", "", 0o600);
    for link in [".pgpass", ".bashrc"] {
        symlink("one", target.dir.path().join(link)).unwrap();
    }
    assert!(refusal(&target, facts, &streams).contains("same file as another"));

    let mut target = Home::new();
    target.host.own = vec![target.host.home.join(".claude")];
    assert!(refusal(&target, facts, &streams).contains("kbpack's own"));

    let mut target = Home::new();
    target.put(".pgpass", "x", 0o600);
    target.host.uid += 1;
    assert!(refused(&target.arriving(facts).plan(&target.scope(), &streams).unwrap()));
}

#[test]
fn what_a_source_refuses() {
    let home = source();
    for (options, fault, part) in [
        (json!({ "env": { "file": "~/.bashrc", "names": ["NONE"] } }), Fault::NotReady, "$NONE is not set"),
        (json!({ "env": { "file": "~/.bashrc", "names": ["PATH"] } }), Fault::NotReady, "has no fixed value"),
        (json!({ "pgpass": ["other:5432:a:b"] }), Fault::NotReady, "no line other:5432:a:b"),
        (json!({ "files": [{ "path": "~/none" }] }), Fault::NotReady, "~/none does not exist"),
        (json!({ "files": [{ "path": "~/link" }] }), Fault::NotReady, "is a symlink"),
        (json!({ "files": [{ "path": "~/large" }] }), Fault::Limit, "is larger than"),
    ] {
        if !home.dir.path().join("large").exists() {
            home.put(".bashrc", BASHRC.to_owned() + "\nexport PATH=\"$HOME/bin:$PATH\"\n", 0o600);
            home.put("large", vec![0; 1024 * 1024 + 1], 0o600);
            symlink(".bashrc", home.dir.path().join("link")).unwrap();
        }
        let component = home.component(&options).unwrap();
        let error = component.capture(&home.scope(), &Streams::default()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.fault(), fault, "{error}");
    }
    for (options, part) in [
        (
            json!({ "files": [{ "path": "~/x", "policy": "command" }] }),
            "the policy command names what to run",
        ),
        (json!({ "files": [{ "path": "relative" }] }), "'relative' is not a path"),
        (json!({ "files": [{ "path": "~/../x" }] }), "is not a path"),
        (json!({ "files": [{ "path": "~" }], "shell-file": "/" }), "is not a path"),
        (json!({ "nonsense": 1 }), "unknown field"),
    ] {
        let error = home.component(&options).err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.fault(), Fault::Usage);
    }
}

#[test]
fn the_demo_home_can_be_packed() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kage-bunshin");
    let fixture = |name: &str| fs::read_to_string(fixtures.join(name)).unwrap();
    let home = Home::new();
    home.put(".bashrc", fixture("bashrc"), 0o600);
    home.put(".pgpass", fixture("pgpass"), 0o600);
    home.put(".claude/.credentials.json", fixture("credentials.json"), 0o600);
    let profile: toml::Table = fixture("kbpack.toml").parse().unwrap();
    let mut options = serde_json::to_value(&profile["component"]["keys"]).unwrap();
    assert_eq!(options.as_object_mut().unwrap().remove("kind"), Some(json!("secrets")));
    let (captured, streams) = home.capture(&options);
    assert!(captured.findings.is_empty(), "{:?}", captured.findings);
    // Back into the home that it came from: the values move from the shell file to env.sh.
    let (plan, _) = home.import(&captured.facts, &streams);
    assert_eq!(plan.unchanged, 7);
    let script = format!("HOME='{}'; . \"$HOME/.bashrc\"", home.host.home.display());
    assert_eq!(exported("bash", script.as_bytes())["BASE_BRANCH"], b"main");
    assert_eq!(home.capture(&options).0.facts, captured.facts);
}

/// A shell file that others read as well must not look into their homes.
#[test]
fn a_shell_file_outside_the_home_names_the_whole_path() {
    let (captured, streams) = source().capture(&options());
    let (target, elsewhere) = (Home::new(), Home::new());
    let file = elsewhere.host.home.join("profile.sh");
    let own = json!({ "shell-file": file });
    let component = SecretsKind.from_facts(&name(), &captured.facts, Some(&own), &target.host).unwrap();
    let plan = component.plan(&target.scope(), &streams).unwrap();
    let line = plan.executes.iter().find(|e| e.contains("profile.sh")).unwrap();
    assert!(line.contains(&format!(". '{}/.config/", target.host.home.display())), "{line}");
}

#[test]
fn what_is_declared_can_be_searched_for() {
    let home = source();
    let secrets = home.component(&options()).unwrap().secrets().unwrap();
    let names: Vec<&str> = secrets.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names[0], "$OPENAI_API_KEY in ~/.bashrc");
    assert_eq!(names.len(), 4);
    assert_eq!(secrets[2].value.expose(), b"p:w");
    home.put(".claude/.credentials.json", "{\"accessToken\":\"inside\"}", 0o600);
    let secrets = home.component(&options()).unwrap().secrets().unwrap();
    assert_eq!(secrets[3].name, "accessToken in ~/.claude/.credentials.json");
    assert_eq!(secrets[3].value.expose(), b"inside");
    // What does not travel need not exist.
    let mut model = options::read(&options()).unwrap();
    model.files[0] = FileEntry { path: "~/none".to_owned(), policy: Policy::Reissue, ..FileEntry::default() };
    assert_eq!(source::declared(&home.host, &model).unwrap().len(), 3);
}

#[test]
fn what_may_be_absent_and_is_stays_out() {
    let home = source();
    let optional = json!({
        "env": { "file": "~/.bashrc", "names": ["OPENAI_API_KEY", "NEVER_SET"], "absent": "ok" },
        "pgpass": { "lines": ["localhost:1:claude_memory:claude_mcp", "no:1:such:line"], "absent": "ok" },
        "files": [{ "path": "~/none/.env", "absent": "ok" }],
    });
    let (captured, streams) = home.capture(&optional);
    let notes = captured.findings.iter().filter(|finding| finding.severity == Severity::Note);
    let noted: Vec<&str> = notes.map(|finding| finding.what.as_str()).collect();
    assert_eq!(noted.len(), 3, "{noted:?}");
    for (note, part) in noted.iter().zip(["$NEVER_SET", "no:1:such:line", "~/none/.env"]) {
        assert!(note.contains(part) && note.ends_with("is not there, and left out"), "{note}");
    }
    assert_eq!(home.component(&optional).unwrap().secrets().unwrap().len(), 2);
    let target = Home::new();
    target.import(&captured.facts, &streams);
    assert!(!target.dir.path().join("none").exists());

    let nothing = json!({ "files": [{ "path": "~/none/.env", "absent": "ok" }] });
    let error = home.component(&nothing).unwrap().survey(&home.scope()).unwrap_err();
    assert!(error.to_string().contains("none of its secrets is there: ~/none/.env"), "{error}");
}

#[test]
fn claims_are_where_things_really_are() {
    let home = Home::new();
    fs::create_dir(home.dir.path().join("real")).unwrap();
    symlink("real", home.dir.path().join(".claude")).unwrap();
    let claims = home.component(&options()).unwrap().claims().unwrap();
    let at = |path: &str| Claim::Path(home.host.home.join(path));
    for path in [".bashrc", ".pgpass", "real/.credentials.json", ".config/kbpack-env/keys"] {
        assert!(claims.contains(&at(path)), "{path}: {claims:?}");
    }
    assert_eq!(claims.len(), 4);
}

#[test]
fn bundles_that_break_a_rule() {
    let (captured, streams) = source().capture(&options());
    let home = Home::new();
    for (facts, rule) in [
        (json!({ "env": [], "more": 1 }), "X1"),
        (json!({}), "X2"),
        (json!({ "files": [{ "path": "/../x", "mode": "600", "policy": "copy" }] }), "X1"),
        (json!({ "files": [{ "path": "~/x", "policy": "copy" }] }), "X1"),
        (json!({ "files": [{ "path": "~/x", "mode": "7777", "policy": "copy" }] }), "X1"),
        (json!({ "env": [{ "file": "~/x", "format": "shell", "names": ["A;B"], "policy": "copy" }] }), "X1"),
    ] {
        let error = SecretsKind.from_facts(&name(), &facts, None, &home.host).err().unwrap();
        assert!(error.fault() == Fault::Rule && error.to_string().contains(rule), "{error}");
    }
    let component = home.arriving(&captured.facts);
    let text = String::from_utf8(streams.get("values")).unwrap();
    for bad in [
        text.replace("API_KEYS", "OTHER"),
        text.replace("\"value\":\"", "\"value\":\"*"),
        text.replace("{\"env\"", "{\"x\":\"sk-demo\",\"env\""),
        text.replace("\"pgpass\":[{", "\"pgpass\":[{},{"),
        text.clone() + "x",
    ] {
        let mut streams = Streams::default();
        streams.set("values", bad.into_bytes());
        let error = component.plan(&home.scope(), &streams).err().unwrap();
        assert!(error.fault() == Fault::Rule && !error.to_string().contains("demo"), "{error}");
    }
    let none = Streams::default();
    assert!(component.plan(&home.scope(), &none).is_err());
}

#[test]
fn variables_that_make_programs_run_something_are_announced() {
    let options = json!({
        "env": [
            { "file": "~/.bashrc", "names": ["LD_PRELOAD"] },
            { "file": "~/.config/environment.d/app.conf", "names": ["A"], "format": "dotenv" },
        ],
        "files": [{ "path": "~/.profile" }, { "path": "~/bin/x", "mode": "700" }],
    });
    let origin = Home::new();
    origin.put(".bashrc", "export LD_PRELOAD=/tmp/x.so\n", 0o600);
    origin.put(".config/environment.d/app.conf", "A=1\n", 0o600);
    origin.put(".profile", "true\n", 0o600);
    origin.put("bin/x", "#!/bin/sh\n", 0o755);
    let (captured, streams) = origin.capture(&options);
    let target = Home::new();
    let (plan, _) = target.import(&captured.facts, &streams);
    let ends = [
        ". \"$HOME/.config/kbpack-env/keys/env.sh\"; fi",
        "LD_PRELOAD is set in every new shell, and programs act on it",
        "environment.d/app.conf (variables of each session)",
        "~/.profile (shells read it)",
        "~/bin/x (executable)",
    ];
    assert!(
        plan.executes.len() == 5 && plan.executes.iter().zip(ends).all(|(e, end)| e.ends_with(end)),
        "{:?}",
        plan.executes
    );
    let again = target.arriving(&captured.facts).plan(&target.scope(), &streams).unwrap();
    assert_eq!(again.executes, [""; 0]);
    origin.put(".bashrc", "export LD_PRELOAD=/tmp/y.so\n", 0o600);
    let (captured, streams) = origin.capture(&options);
    let again = target.arriving(&captured.facts).plan(&target.scope(), &streams).unwrap();
    assert_eq!(again.executes, ["$LD_PRELOAD is set in every new shell, and programs act on it"]);
}

#[test]
fn the_targets_profile_decides_where() {
    let (captured, streams) = source().capture(&options());
    let target = Home::new();
    let own = json!({ "shell-file": "~/.profile", "pgpass": { "file": "~/pg", "lines": [] } });
    let component = SecretsKind.from_facts(&name(), &captured.facts, Some(&own), &target.host).unwrap();
    let plan = component.plan(&target.scope(), &streams).unwrap();
    let written = plan.destinations.iter().map(String::as_str).collect::<Vec<_>>();
    assert!(written.contains(&"~/.profile") && written.contains(&"~/pg"), "{written:?}");
    assert!(!written.contains(&"~/.bashrc") && !written.contains(&"~/.pgpass"));
}
