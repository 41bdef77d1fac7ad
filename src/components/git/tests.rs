//! The suite that every kind passes, and what a rollback keeps. What needs stock git is in `tests/e2e/git.rs`.

use super::header::Header;
use super::lfs::{Pointer, Store};
use super::{GitKind, BUNDLE, GRAPH};
use crate::base::digest::Digest;
use crate::base::name::ComponentName;
use crate::component::{Component, Host, Kind, Severity};
use crate::components::conformance::{suite, tree, Acts, Machine, State, Streams, Subject, EDIT, RUN};
use git2::{Repository, RepositoryInitOptions, Signature, Time};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};

/// A repository in a folder that may not be there.
struct Code {
    bare: bool,
    lfs: bool,
    submodule: bool,
}

/// A commit on main of the submodule `lib`, and one of the repository around it that records it.
fn go_on_in_submodule(repo: &Repository, text: &str) {
    let work = repo.workdir().unwrap();
    let mut options = RepositoryInitOptions::new();
    options.no_dotgit_dir(true).workdir_path(&work.join("lib")).initial_head("main").external_template(false);
    let inner = Repository::init_opts(repo.path().join("modules/lib"), &options).unwrap();
    let id = commit(&inner, "main", &[("inner.txt", text)]);
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = https://example.com/lib.git\n";
    commit(repo, "main", &[(".gitmodules", modules)]);
    let parent = repo.head().unwrap().peel_to_commit().unwrap();
    let mut tree = repo.treebuilder(Some(&parent.tree().unwrap())).unwrap();
    tree.insert("lib", id, 0o160000).unwrap();
    let tree = repo.find_tree(tree.write().unwrap()).unwrap();
    let who = parent.author().to_owned();
    repo.commit(Some("HEAD"), &who, &who, "lib", &tree, &[&parent]).unwrap();
    repo.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
}

/// A large file's pointer; its content goes into the store of `repo`.
fn pointer(repo: &Repository, content: &str) -> String {
    let oid = Digest::of(content.as_bytes());
    let pointer = Pointer { oid, size: content.len() as u64 };
    std::fs::write(Store::of(repo).unwrap().make_room(oid).unwrap(), content).unwrap();
    pointer.text()
}

/// What LFS's filter does at a checkout.
fn smudge(repo: &Repository) {
    let Some(work) = repo.workdir() else { return };
    for name in ["big.bin", "other.bin"] {
        let file = work.join(name);
        let Some(pointer) = std::fs::read(&file).ok().and_then(|text| Pointer::parse(&text)) else {
            continue;
        };
        std::fs::copy(Store::of(repo).unwrap().path(pointer.oid), file).unwrap();
    }
}

/// A commit of `files` on `branch`, always the same one. With a work tree, HEAD's branch is `branch` and they are in it.
fn commit(repo: &Repository, branch: &str, files: &[(&str, &str)]) -> git2::Oid {
    let name = format!("refs/heads/{branch}");
    let parent = repo.refname_to_id(&name).ok().map(|id| repo.find_commit(id).unwrap());
    let old = parent.as_ref().map(|parent| parent.tree().unwrap());
    let mut tree = repo.treebuilder(old.as_ref()).unwrap();
    for (file, text) in files {
        tree.insert(file, repo.blob(text.as_bytes()).unwrap(), 0o100644).unwrap();
    }
    let tree = repo.find_tree(tree.write().unwrap()).unwrap();
    let who = Signature::new("Ada", "ada@example.com", &Time::new(1_700_000_000, 0)).unwrap();
    let parents: Vec<_> = parent.iter().collect();
    let id = repo.commit(Some(&name), &who, &who, "message", &tree, &parents).unwrap();
    if !repo.is_bare() && repo.head().is_ok_and(|head| head.name().unwrap() == name) {
        repo.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
        smudge(repo);
    }
    id
}

/// Every repository on a machine.
fn all(host: &Host) -> Vec<Repository> {
    let folders = walkdir::WalkDir::new(&host.home).into_iter().map(|e| e.unwrap().into_path());
    let is_one = |path: &PathBuf| path.join("HEAD").is_file() && path.join("objects").is_dir();
    folders.filter(is_one).map(|path| Repository::open(path).unwrap()).collect()
}

impl Code {
    fn path(host: &Host) -> PathBuf {
        host.home.join("src/code")
    }

    fn open(&self, host: &Host) -> Repository {
        let path = Code::path(host);
        Repository::open(&path).unwrap_or_else(|_| {
            let mut options = RepositoryInitOptions::new();
            options.bare(self.bare).initial_head("main").external_template(false);
            Repository::init_opts(path, &options).unwrap()
        })
    }
}

impl Subject for Code {
    fn kind(&self) -> &'static dyn Kind {
        &GitKind
    }

    fn options(&self, _: &Host) -> Value {
        json!({ "path": "~/src/code", "submodules": self.submodule })
    }

    fn furnish(&self, host: &Host, state: State) {
        let repo = self.open(host);
        let first = commit(&repo, "main", &[("a.txt", "one\n"), ("b.txt", "one\n")]);
        if self.lfs {
            let same = pointer(&repo, "the same in both");
            let files = [
                (".gitattributes", "*.bin filter=lfs -text\n"),
                ("big.bin", &pointer(&repo, "a large file")),
                ("other.bin", &same),
            ];
            commit(&repo, "main", &files);
        }
        repo.reference("refs/tags/first", first, false, "").unwrap();
        if self.submodule {
            go_on_in_submodule(&repo, "first\n");
        }
        if state == State::Source {
            if self.submodule {
                go_on_in_submodule(&repo, "second\n");
            }
            commit(&repo, "main", &[("a.txt", "two\n"), ("c.txt", "two\n")]);
            if self.lfs {
                commit(&repo, "main", &[("big.bin", &pointer(&repo, "another large file"))]);
            }
            repo.reference("refs/heads/side", first, false, "").unwrap();
            let side = commit(&repo, "side", &[("side.txt", "side\n")]);
            repo.tag(
                "v1",
                repo.find_commit(side).unwrap().as_object(),
                &repo.find_commit(side).unwrap().author(),
                "v1",
                false,
            )
            .unwrap();
        }
    }

    /// A commit, on a branch that an import brings or moves.
    fn edit(&self, host: &Host) {
        commit(&self.open(host), "main", &[("a.txt", EDIT)]);
    }

    /// In a file, or in a commit that a ref leads to.
    fn edit_survives(&self, host: &Host) -> bool {
        all(host).iter().any(|repo| {
            let mut walk = repo.revwalk().unwrap();
            walk.push_glob("*").unwrap();
            walk.any(|id| {
                let tree = repo.find_commit(id.unwrap()).unwrap().tree().unwrap();
                let blob = tree.get_name("a.txt").map(|entry| repo.find_blob(entry.id()).unwrap());
                blob.is_some_and(|blob| blob.content() == EDIT.as_bytes())
            })
        })
    }

    /// Files without their times, and of a repository what its refs, HEAD and index say: objects stay after an undo.
    fn world(&self, host: &Host) -> Vec<String> {
        let inside = |row: &String| {
            let path = row.split(' ').nth(1).unwrap().trim_matches('"');
            let within = |part: &Path| part.join("HEAD").is_file() && part.join("objects").is_dir();
            Path::new(path).ancestors().any(|part| within(&host.home.join(part)))
        };
        let untimed = |row: &String| {
            let mut fields: Vec<&str> = row.split(' ').collect();
            fields.remove(3);
            fields.join(" ")
        };
        // The first row is the home itself.
        let mut rows: Vec<String> =
            tree(&host.home).iter().skip(1).filter(|row| !inside(row)).map(untimed).collect();
        for repo in all(host) {
            let place = repo.path().strip_prefix(&host.home).unwrap();
            for reference in repo.references().unwrap() {
                let reference = reference.unwrap();
                rows.push(format!("{place:?} {} {:?}", reference.name().unwrap(), reference.target()));
            }
            let head = repo.find_reference("HEAD").unwrap();
            rows.push(format!("{place:?} HEAD {:?} {:?}", head.symbolic_target().unwrap(), head.target()));
            for entry in repo.index().into_iter().flat_map(|index| index.iter().collect::<Vec<_>>()) {
                rows.push(format!("{place:?} index {:?} {}", String::from_utf8_lossy(&entry.path), entry.id));
            }
        }
        rows
    }

    /// Not the pack: its bytes depend on how the objects lay.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let graph = String::from_utf8(streams.get(GRAPH)).unwrap();
        let mut commits: Vec<_> = graph.lines().collect();
        commits.sort_unstable();
        let header = Header::read(&mut &streams.get(BUNDLE)[..]).unwrap();
        [facts.to_string(), commits.join("\n"), format!("{header:?}")]
            .map(|text| (String::new(), text.into_bytes()))
            .to_vec()
    }
}

#[test]
fn a_work_tree_passes() {
    suite(&Code { bare: false, lfs: false, submodule: false });
}

#[test]
fn a_bare_repository_passes() {
    suite(&Code { bare: true, lfs: false, submodule: false });
}

#[test]
fn large_files_pass() {
    suite(&Code { bare: false, lfs: true, submodule: false });
}

#[test]
fn submodules_pass() {
    suite(&Code { bare: false, lfs: false, submodule: true });
}

fn name() -> ComponentName {
    ComponentName::new("code").unwrap()
}

/// Stages, commits and finalises an import, and returns the warnings of its plan.
fn import(component: &dyn Component, machine: &Machine, streams: &Streams) -> Vec<String> {
    let scope = machine.scope();
    let plan = component.plan(&scope, streams).unwrap();
    assert!(plan.findings.iter().all(|f| f.severity != Severity::Refusal), "{:?}", plan.findings);
    component.stage(&scope, &plan, streams).unwrap();
    let mut journal = Acts::default();
    component.commit(&scope, &plan, &mut journal).unwrap();
    component.finalise(&scope, &journal.acts).unwrap();
    component.finalise(&scope, &journal.acts).unwrap();
    let warnings = plan.findings.iter().filter(|f| f.severity == Severity::Warning);
    warnings.map(|f| f.what.clone()).collect()
}

/// A machine in `start` on which the source was imported; `since` does something there; then the rollback. Returns
/// its warnings.
fn roll_back(start: State, since: impl FnOnce(&Repository)) -> (Machine, Vec<String>) {
    let code = Code { bare: false, lfs: false, submodule: false };
    let (source, machine) = (Machine::new(), Machine::new());
    code.furnish(&source.host, State::Source);
    if start != State::Absent {
        code.furnish(&machine.host, start);
    }
    let mut streams = Streams::default();
    let from = GitKind.from_options(&name(), &code.options(&source.host), &source.host).unwrap();
    let facts = from.capture(&source.scope(), &streams).unwrap().facts;
    streams.seal();
    let component = GitKind.from_facts(&name(), &facts, None, &machine.host).unwrap();
    let plan = component.plan(&machine.scope(), &streams).unwrap();
    let mut backup = Streams::default();
    let old = component.back_up(&machine.scope(), &plan, &backup).unwrap().facts;
    backup.seal();
    assert!(GitKind.from_facts(&name(), &old, None, &machine.host).is_err(), "a bundle like a backup");
    assert!(GitKind.from_backup(&name(), &facts, None, &machine.host).is_err(), "a backup like a bundle");
    import(&*component, &machine, &streams);
    since(&code.open(&machine.host));
    let back = GitKind.from_backup(&name(), &old, None, &machine.host).unwrap();
    let warnings = import(&*back, &machine, &backup);
    (machine, warnings)
}

#[test]
fn a_branch_made_since_and_commits_on_a_detached_head_are_kept_by_a_rollback() {
    let (machine, warnings) = roll_back(State::Other, |repo| {
        commit(repo, "since", &[("a.txt", "since\n")]);
        let detached = commit(repo, "for-a-moment", &[("a.txt", "detached\n")]);
        repo.set_head_detached(detached).unwrap();
        repo.find_reference("refs/heads/for-a-moment").unwrap().delete().unwrap();
        repo.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
    });
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let repo = Repository::open(Code::path(&machine.host)).unwrap();
    let text = |kept: &str| {
        let commit = repo.find_reference(&format!("refs/kbpack/backup/{RUN}/{kept}")).unwrap();
        let tree = commit.peel_to_tree().unwrap();
        let blob = repo.find_blob(tree.get_name("a.txt").unwrap().id()).unwrap();
        String::from_utf8(blob.content().to_vec()).unwrap()
    };
    assert_eq!((text("heads/since").as_str(), text("HEAD").as_str()), ("since\n", "detached\n"));
    assert!(repo.find_reference("refs/heads/since").is_err());
    assert_eq!(repo.head().unwrap().name().unwrap(), "refs/heads/main");
    // Branches that the import brought and that are as it left them go without more.
    assert!(repo.references_glob("refs/kbpack/*").unwrap().count() == 2);
}

#[test]
fn a_clone_goes_unless_something_is_in_it_that_the_import_did_not_bring() {
    let (machine, warnings) = roll_back(State::Absent, |_| {});
    assert!(warnings.is_empty() && !machine.host.home.join("src").exists(), "{warnings:?}");
    let (machine, warnings) = roll_back(State::Absent, |repo| {
        let work = repo.workdir().unwrap();
        std::fs::write(work.join(".git/info/exclude"), "secret.env\n").unwrap();
        std::fs::write(work.join("secret.env"), "A=1\n").unwrap();
    });
    assert!(warnings.len() == 1 && warnings[0].contains("will be kept as code.kbpack-kept-"), "{warnings:?}");
    let kept = machine.host.home.join(format!("src/code.kbpack-kept-{RUN}"));
    assert_eq!(std::fs::read_to_string(kept.join("secret.env")).unwrap(), "A=1\n");
    assert!(!Code::path(&machine.host).exists());
}

#[test]
fn all_stashes_made_since_are_kept_by_a_rollback() {
    let (machine, warnings) = roll_back(State::Other, |repo| {
        let mut repo = Repository::open(repo.path()).unwrap();
        let who = Signature::new("Ada", "ada@example.com", &Time::new(1_700_000_000, 0)).unwrap();
        for text in ["first\n", "second\n"] {
            std::fs::write(repo.workdir().unwrap().join("a.txt"), text).unwrap();
            repo.stash_save(&who, text.trim(), None).unwrap();
        }
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let repo = Repository::open(Code::path(&machine.host)).unwrap();
    for (kept, text) in [("stash", "second\n"), ("stash-1", "first\n")] {
        let tree =
            repo.find_reference(&format!("refs/kbpack/backup/{RUN}/{kept}")).unwrap().peel_to_tree().unwrap();
        let blob = repo.find_blob(tree.get_name("a.txt").unwrap().id()).unwrap();
        assert_eq!(String::from_utf8_lossy(blob.content()), text);
    }
}

/// A source that has gone on with `more` on main since the target's only commit, and what it packs for that target.
fn upon(more: impl Fn(&Repository, git2::Oid)) -> (Machine, Machine, Value, Streams) {
    let code = Code { bare: false, lfs: false, submodule: false };
    let (source, target) = (Machine::new(), Machine::new());
    code.furnish(&source.host, State::Other);
    code.furnish(&target.host, State::Other);
    let repo = code.open(&source.host);
    let first = repo.refname_to_id("refs/heads/main").unwrap();
    more(&repo, first);
    let has = |component: &dyn Kind| component.has(&target.host, "~/src/code").unwrap();
    let there = json!({ "has": { "~/src/code": has(&GitKind) } });
    assert_eq!(there["has"]["~/src/code"], json!([first.to_string()]));
    let from = GitKind.from_options(&name(), &code.options(&source.host), &source.host).unwrap();
    let mut streams = Streams::default();
    let facts = from.capture_upon(&source.scope(), &[&there], &streams).unwrap().facts;
    streams.seal();
    assert_eq!(facts["needs"], 1);
    (source, target, facts, streams)
}

/// Stages it, and gives the error.
fn stage_error(target: &Machine, facts: &Value, streams: &Streams) -> String {
    let component = GitKind.from_facts(&name(), facts, None, &target.host).unwrap();
    let plan = component.plan(&target.scope(), streams).unwrap();
    assert!(plan.findings.iter().all(|f| f.severity != Severity::Refusal), "{:?}", plan.findings);
    component.stage(&target.scope(), &plan, streams).unwrap_err().to_string()
}

#[test]
fn a_pack_that_leaves_out_more_than_the_prerequisites_lead_to_is_refused() {
    let (source, target, facts, mut streams) =
        upon(|repo, _| _ = commit(repo, "main", &[("a.txt", "two\n"), ("new.txt", "new\n")]));
    let component = GitKind.from_facts(&name(), &facts, None, &target.host).unwrap();
    assert!(component.not_packed()[0].name.contains("1 commits"), "{:?}", component.not_packed());
    let (repo, whole) =
        (Code { bare: false, lfs: false, submodule: false }.open(&source.host), streams.get(BUNDLE));
    let head = repo.head().unwrap().peel_to_commit().unwrap();
    let mut builder = repo.packbuilder().unwrap();
    builder.insert_object(head.id(), None).unwrap();
    builder.insert_object(head.tree_id(), None).unwrap();
    let mut pack = git2::Buf::new();
    builder.write_buf(&mut pack).unwrap();
    let end = whole.windows(6).position(|w| w == b"\n\nPACK").unwrap() + 2;
    streams.set(BUNDLE, [&whole[..end], &pack].concat());
    let error = stage_error(&target, &facts, &streams);
    assert!(error.contains("is not there") && error.contains("rule G6"), "{error}");
    streams.set(BUNDLE, whole);
    import(&*component, &target, &streams);
    let there = Code { bare: false, lfs: false, submodule: false }.open(&target.host);
    assert_eq!(there.head().unwrap().peel_to_commit().unwrap().id(), head.id());
    assert_eq!(there.workdir().map(|work| std::fs::read(work.join("new.txt")).unwrap()).unwrap(), b"new\n");
}

#[test]
fn trees_upon_those_of_the_target_are_held_to_the_rules() {
    let (_source, target, facts, streams) = upon(|repo, first| {
        let blob = repo.blob(b"[core]\n").unwrap();
        let tree = [b"100644 .GIT\0", blob.as_bytes()].concat();
        let tree = repo.odb().unwrap().write(git2::ObjectType::Tree, &tree).unwrap();
        let tree = repo.find_tree(tree).unwrap();
        let parent = repo.find_commit(first).unwrap();
        let who = parent.author();
        let id = repo.commit(None, &who, &who, "evil", &tree, &[&parent]).unwrap();
        repo.reference("refs/heads/evil", id, true, "").unwrap();
    });
    let error = stage_error(&target, &facts, &streams);
    assert!(error.contains("would be taken for .git") && error.contains("rule G7"), "{error}");
}
