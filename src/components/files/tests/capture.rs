use super::world::*;
use crate::base::fault::{Fault, Faulty};
use crate::base::name::StreamName;
use crate::component::{Holds, Kind, Result, Severity, StreamSink, StreamWrite};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

fn index(streams: &Streams) -> Vec<serde_json::Value> {
    let text = String::from_utf8(streams.get("index")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn rows_say_all_there_is_to_know() {
    let world = World::new();
    write(world.src("a"), "abc");
    chmod(world.src("a"), 0o640);
    touch(world.src("a"), 12, 34);
    xattr(world.src("a"), "user.k", b"\x00v");
    let (streams, captured) = world.capture();
    let row = &index(&streams)[0];
    assert_eq!(row["path"], "a");
    assert_eq!(row["type"], "file");
    assert_eq!(row["size"], 3);
    assert_eq!(row["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(row["meta"]["mode"], "0640");
    assert_eq!(row["meta"]["mtime"], "12.000000034");
    assert_eq!(row["meta"]["xattrs"], json!({"user.k": "0076"}));
    assert_eq!(captured.facts["root"], "~/src");
    assert_eq!(captured.facts["state"], "directory");
    assert_eq!(captured.facts["entries"], 1);
}

#[test]
fn what_cannot_travel_is_told() {
    let world = World::new();
    for (name, mode) in [("su", 0o4755), ("sg", 0o2755)] {
        write(world.src(name), name);
        chmod(world.src(name), mode);
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.src("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.src("socket")).unwrap();
    std::fs::create_dir(world.src(".kbpack-stage-1234")).unwrap();
    let (streams, captured) = world.capture();
    assert_eq!(index(&streams).len(), 2);
    let told = |what: &str, severity| {
        let fits = |f: &&crate::component::Finding| f.what.contains(what) && f.severity == severity;
        captured.findings.iter().filter(fits).count()
    };
    assert_eq!(told("setuid, setgid or sticky bit does not travel", Severity::Warning), 2);
    assert_eq!(told("a socket, FIFO or device; left out", Severity::Note), 2);
    assert_eq!(told("a staging area of kbpack; left out", Severity::Note), 1);
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    assert_eq!(std::fs::metadata(world.dst("su")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn what_is_carved_out_or_outside_is_not_captured() {
    let mut world = World::with(json!({"exclude": ["cache/"]}));
    for path in ["a/b/f", "a/c", "cache/f", "own/state", "other/db", "z"] {
        write(world.src(path), path);
    }
    world.carved.push(world.src("other/db"));
    world.host.own.push(world.src("own"));
    let paths = |world: &World| -> Vec<String> {
        index(&world.capture().0).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&world), ["a", "a/b", "a/b/f", "a/c", "other", "z"]);
    world.only = vec![crate::base::path::BundlePath::new("a/b").unwrap()];
    assert_eq!(paths(&world), ["a", "a/b", "a/b/f"]);
}

#[test]
fn kbpacks_own_directories_are_no_component() {
    let mut world = World::new();
    world.host.own.push(world.host.home.clone());
    assert_eq!(world.try_capture().err().unwrap().fault(), Fault::Usage);
}

#[test]
fn survey_counts_what_capture_would_take() {
    let world = World::new();
    write(world.src("d/a"), "four");
    let survey = world.source().survey(&world.scope()).unwrap();
    assert_eq!((survey.items, survey.bytes), (2, 4));
}

/// A sink that changes files while they are captured.
struct Meddler {
    inner: Streams,
    src: std::path::PathBuf,
}

struct MeddlingWriter {
    inner: Box<dyn StreamWrite>,
    src: std::path::PathBuf,
}

impl Write for MeddlingWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.inner.write(buf)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StreamWrite for MeddlingWriter {
    fn label(&mut self, label: &str) {
        self.inner.label(label);
        match label {
            "grows" => {
                let mut file = std::fs::OpenOptions::new().append(true).open(self.src.join("grows")).unwrap();
                file.write_all(b"more").unwrap();
            }
            "shrinks" => write(self.src.join("shrinks"), ""),
            "a" => {
                std::fs::remove_file(self.src.join("linked-1")).unwrap();
                std::fs::remove_file(self.src.join("vanishes")).unwrap();
                write(self.src.join("late"), "as it is when its turn comes");
            }
            _ => {}
        }
    }
    fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish()
    }
}

impl StreamSink for Meddler {
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>> {
        if name.as_str() == "index" {
            return self.inner.create(name, holds);
        }
        Ok(Box::new(MeddlingWriter { inner: self.inner.create(name, holds)?, src: self.src.clone() }))
    }
}

#[test]
fn files_that_do_not_hold_still_are_told_and_the_bundle_stays_valid() {
    let world = World::new();
    for name in ["a", "late", "vanishes", "steady"] {
        write(world.src(name), &format!("content of {name}"));
    }
    // Small files are read whole before anything of them is written.
    for name in ["grows", "shrinks"] {
        write(world.src(name), &"x".repeat(300_000));
    }
    write(world.src("linked-1"), "linked");
    std::fs::hard_link(world.src("linked-1"), world.src("linked-2")).unwrap();
    std::fs::hard_link(world.src("linked-1"), world.src("linked-3")).unwrap();
    let mut sink = Meddler { inner: Streams::default(), src: world.src("") };
    let captured = world.source().capture(&world.scope(), &sink).unwrap();
    sink.inner.seal();
    let told: Vec<_> =
        captured.findings.iter().map(|f| f.what.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(
        told,
        [
            "grows: it changed while it was read; the bundle has what was read",
            "linked-1: it vanished while the tree was read; left out",
            "shrinks: it changed while it was read; the bundle has what was read",
            "vanishes: it vanished while the tree was read; left out",
        ]
    );
    world.job(sink.inner, &captured.facts).unwrap().run().unwrap();
    assert_eq!(std::fs::read(world.dst("shrinks")).unwrap(), [0; 300_000]);
    assert_eq!(std::fs::read(world.dst("grows")).unwrap(), [b'x'; 300_000]);
    assert_eq!(std::fs::read_to_string(world.dst("late")).unwrap(), "as it is when its turn comes");
    assert!(!world.dst("vanishes").exists() && !world.dst("linked-1").exists());
    use std::os::unix::fs::MetadataExt;
    let ino = |name| std::fs::metadata(world.dst(name)).unwrap().ino();
    assert_eq!(ino("linked-2"), ino("linked-3"));
}

#[test]
fn options_are_strict() {
    let world = World::new();
    let name = crate::base::name::ComponentName::new("c").unwrap();
    for bad in [
        json!({}),
        json!({"path": "relative"}),
        json!({"path": "~/../etc"}),
        json!({"path": "~/x", "unknown": 1}),
        json!({"path": "~/x", "mode": "merge"}),
        json!({"path": "~/x", "exclude": "not a list"}),
        json!({"path": "~/x", "exclude": ["a\nb"]}),
        json!({"path": "~/x", "exclude": ["["]}),
        json!({"path": "~/x", "exclude": ["[z-a]"]}),
        json!({"path": "~/x", "exclude": ["{a,b"]}),
        json!({"path": "~/x", "exclude": ["a\\"]}),
        json!({"path": "~/x", "absent": "maybe"}),
    ] {
        let error = super::super::FilesKind.from_options(&name, &bad, &world.host).err();
        assert_eq!(error.unwrap().fault(), Fault::Usage, "{bad}");
    }
    for bad in [
        json!({"root": "~/x"}),
        json!({"root": "x", "state": "file", "options": {}, "entries": 0, "bytes": 0}),
    ] {
        let error = super::super::FilesKind.from_facts(&name, &bad, None, &world.host).err();
        assert_eq!(error.unwrap().fault(), Fault::Rule, "{bad}");
    }
}

#[test]
fn a_broken_pattern_is_named() {
    let name = crate::base::name::ComponentName::new("c").unwrap();
    let options = json!({"path": "~/x", "exclude": ["*.log", "a[b"]});
    let error = super::super::FilesKind.from_options(&name, &options, &World::new().host).err().unwrap();
    assert_eq!(error.to_string(), "exclude pattern \"a[b\": unclosed character class; missing ']'");
    let options = json!({"path": "~/x", "runs": ["{a"]});
    let error = super::super::FilesKind.from_options(&name, &options, &World::new().host).err().unwrap();
    assert!(error.to_string().starts_with("runs pattern \"{a\": "), "{error}");
}

#[test]
fn paths_under_which_there_is_nothing_are_refused() {
    let mut world = World::new();
    write(world.src("a/f"), "f");
    write(world.src("b/f"), "f");
    write(world.src("c"), "c");
    let only = |paths: &[&str]| -> Vec<_> {
        paths.iter().map(|p| crate::base::path::BundlePath::new(*p).unwrap()).collect()
    };
    world.only = only(&["a", "c"]);
    let (streams, captured) = world.capture();
    let paths: Vec<_> = index(&streams).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, ["a", "a/f", "c"]);
    world.only = only(&["a", "nope"]);
    for error in [
        world.source().survey(&world.scope()).err().unwrap(),
        world.try_capture().err().unwrap(),
        world.job(streams, &captured.facts).err().unwrap(),
    ] {
        assert_eq!(error.to_string(), "there is no 'nope' in component tree");
        assert_eq!(error.fault(), Fault::Usage);
    }
    // A backup says that there was nothing: to bring that back is no mistake.
    world.only = vec![];
    let (_, captured) = world.capture();
    let target = world.target(&captured.facts);
    world.only = only(&["a"]);
    let mut sink = Streams::default();
    let backup = target.capture(&world.scope(), &sink).unwrap();
    sink.seal();
    assert_eq!(world.job(sink, &backup.facts).unwrap().plan.changes.len(), 0);
}

#[test]
fn the_index_is_labelled_row_by_row_and_listed() {
    let world = World::new();
    rich(&world.src(""));
    let (streams, captured) = world.capture();
    let mut listed = Vec::new();
    world.target(&captured.facts).list(&streams, &mut |row| listed.push(row)).unwrap();
    assert_eq!(listed.len(), index(&streams).len());
    let row = |name: &str| listed.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row("new%0Aline 100%25 %1B[31m").what, "file");
    assert_eq!((row("script").mode, row("script").size), (Some(0o755), Some(10)));
    assert_eq!(
        (row("dir").what, row("link").what, row("zz-one").what),
        ("directory", "symlink", "hard link")
    );
}

#[test]
fn a_file_that_may_not_be_read_fails_the_export() {
    let world = World::new();
    write(world.src("closed"), "x");
    chmod(world.src("closed"), 0o000);
    let error = match world.try_capture() {
        Err(error) => error,
        // Root may read everything.
        Ok(_) => super::super::site::io_at(&world.src("closed"), std::io::ErrorKind::PermissionDenied.into()),
    };
    assert_eq!(error.fault(), Fault::NotReady);
    assert!(error.to_string().ends_with("/src/closed: this user may not read it"), "{error}");
    assert_eq!(error.remedy().as_deref(), Some("run kbpack as a user who may, or exclude it"));
}

#[test]
fn a_tree_that_is_too_deep_fails_the_export() {
    let world = World::new();
    std::fs::create_dir_all(world.src(&"d/".repeat(513))).unwrap();
    assert_eq!(world.try_capture().err().unwrap().fault(), Fault::NotReady);
}

#[test]
fn an_attribute_whose_name_is_not_text_is_left_out_and_said() {
    let world = World::new();
    write(world.src("f"), "x");
    xattr(world.src("f"), "user.plain", b"1");
    for name in [&b"user.a\xff"[..], b"user.a\xfe"] {
        rustix::fs::lsetxattr(world.src("f"), name, b"2", rustix::fs::XattrFlags::empty()).unwrap();
    }
    let (streams, captured) = world.capture();
    let row = index(&streams).remove(0);
    let kept: Vec<&String> = row["meta"]["xattrs"].as_object().unwrap().keys().collect();
    assert_eq!(kept, ["user.plain"]);
    assert!(captured.findings.iter().any(|f| f.what.contains("user.a\u{fffd}")), "{:?}", captured.findings);
    world.job(streams, &captured.facts).unwrap().run().unwrap();
}
