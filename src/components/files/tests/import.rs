use super::world::*;
use crate::component::{Against, Contrast, Finding, Severity};
use serde_json::json;
use std::os::unix::fs::symlink;

#[test]
fn everything_arrives_as_it_was() {
    let world = World::new();
    rich(&world.src(""));
    touch(world.src(""), 1_300_000_000, 9);
    let before = snapshot(&world.src(""));
    let job = world.import();
    assert_eq!(snapshot(&world.dst("")), before);
    assert_eq!(snapshot(&world.src("")), before, "the source was touched");
    assert!(job.plan.changes.iter().all(|c| c.kind == crate::component::ChangeKind::Added));
    assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 2, "a staging area was left");
    assert_eq!(world.plan().changes(), Vec::<String>::new());
}

#[test]
fn everything_arrives_in_a_tree_that_exists() {
    let world = World::with(json!({"mode": "mirror", "symlinks": "replace"}));
    rich(&world.src(""));
    write(world.dst("plain"), "other");
    write(world.dst("dir/one"), "1");
    write(world.dst("dir/deep"), "a file where a directory comes");
    write(world.dst("extra/file"), "goes");
    write(world.dst("emptydir/file"), "goes");
    write(world.dst("tight/goes"), "goes");
    chmod(world.dst("tight"), 0o500);
    write(world.dst("link/is/a/dir"), "goes");
    symlink("elsewhere", world.dst("sticky")).unwrap();
    let job = world.import();
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
    assert!(job.changes().contains(&"Removed extra/file".to_owned()), "{:?}", job.changes());
    assert_eq!(world.plan().changes(), Vec::<String>::new());
}

#[test]
fn an_overlay_adds_and_replaces_and_leaves_the_rest() {
    let world = World::new();
    write(world.src("a"), "new");
    write(world.src("d/b"), "b");
    write(world.dst("a"), "older");
    write(world.dst("mine"), "mine");
    write(world.dst("d/mine"), "mine");
    let job = world.import();
    assert_eq!(job.changes(), ["Changed a", "Added d/b"]);
    // Where something was changed, the time is the bundle's; where nothing was, it is no change.
    let time = |path| std::fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(world.dst("d")), time(world.src("d")));
    touch(world.dst("d"), 1_500_000_000, 1);
    assert_eq!(world.plan().changes(), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(world.dst("a")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(world.dst("d/mine")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(world.dst("mine")).unwrap(), "mine");
}

#[test]
fn unchanged_files_are_not_rewritten() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    for name in ["same", "time", "mode", "content"] {
        write(world.src(name), name);
        touch(world.src(name), 1_000, 5);
    }
    world.import();
    let ino = |name| std::fs::metadata(world.dst(name)).unwrap().ino();
    let before = ["same", "time", "mode", "content"].map(ino);
    touch(world.src("time"), 2_000, 5);
    chmod(world.src("mode"), 0o700);
    std::fs::write(world.src("content"), "CONTENT").unwrap();
    let job = world.import();
    let after = ["same", "time", "mode", "content"].map(ino);
    assert_eq!(job.changes(), ["Changed content", "Changed mode", "Changed time"]);
    assert_eq!(before[..3], after[..3]);
    assert_ne!(before[3], after[3]);
    assert_eq!(job.plan.executes, ["mode (executable)"]);
    assert_eq!(snapshot(&world.src("")), snapshot(&world.dst("")));
}

#[test]
fn what_would_newly_run_is_named_and_nothing_else() {
    let world = World::with(json!({"runs": ["hooks/*", "settings.json", "!hooks/README"]}));
    for name in ["hooks/a.py", "hooks/README", "hooks/deep/b.py", "settings.json", "notes.txt", "bin/tool"] {
        write(world.src(name), name);
    }
    chmod(world.src("bin/tool"), 0o755);
    write(world.src("systemd/user/app.service"), "[Service]");
    std::fs::create_dir_all(world.src("systemd/user/default.target.wants")).unwrap();
    std::os::unix::fs::symlink("../app.service", world.src("systemd/user/default.target.wants/app.service"))
        .unwrap();
    let executes = |job: &Job| job.plan.executes.clone();
    let all = [
        // What is sure to run comes first, and is never left out.
        "systemd/user/app.service (systemd unit)",
        "systemd/user/default.target.wants/app.service (systemd unit)",
        "bin/tool (executable)",
        "hooks/a.py (programs run what stands in it)",
        "hooks/deep/b.py (programs run what stands in it)",
        "settings.json (programs run what stands in it)",
    ];
    let first = world.import();
    assert_eq!((executes(&first), first.plan.executables), (all.map(str::to_owned).to_vec(), 4));
    // What is there already is no news, whatever its time is; what is changed is.
    touch(world.src("hooks/a.py"), 2_000, 0);
    write(world.src("settings.json"), "changed");
    assert_eq!(executes(&world.import()), [all[5]]);
    assert_eq!(executes(&world.import()), [""; 0]);
    // However many there are, each is named.
    (0..300).for_each(|n| write(world.src(&format!("hooks/{n}")), "x"));
    assert_eq!(world.import().plan.executes.len(), 300);
}

#[test]
fn what_runs_is_what_either_side_says() {
    let mut world = World::with(json!({"runs": ["a"]}));
    world.overrides["runs"] = json!(["b"]);
    for name in ["a", "b", "c"] {
        write(world.src(name), name);
    }
    let job = world.import();
    let expected = ["a (programs run what stands in it)", "b (programs run what stands in it)"];
    assert_eq!(job.plan.executes, expected);
}

#[test]
fn a_mirror_keeps_what_is_excluded_or_anothers() {
    let mut world = World::with(json!({"mode": "mirror", "exclude": ["*.log", "cache/"]}));
    write(world.src("a"), "a");
    write(world.src("x.log"), "not captured");
    write(world.dst("gone/f"), "f");
    write(world.dst("kept/y.log"), "log");
    write(world.dst("kept/goes"), "goes");
    write(world.dst("cache/f"), "f");
    write(world.dst("other/app.db"), "another component's");
    write(world.dst("other/app.db-note"), "goes");
    write(world.dst("mine/kbpack/key"), "kbpack's own");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.dst("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    world.carved.push(world.dst("other/app.db"));
    world.host.own.push(world.dst("mine/kbpack"));
    world.import();
    for path in ["a", "kept/y.log", "cache/f", "other/app.db", "mine/kbpack/key", "fifo"] {
        assert!(world.dst(path).exists(), "{path}");
    }
    for path in ["gone", "kept/goes", "other/app.db-note", "x.log"] {
        assert!(!world.dst(path).exists(), "{path}");
    }
}

#[test]
fn what_is_carved_out_on_the_target_is_not_touched() {
    let mut world = World::new();
    write(world.src("a/secret"), "from the source");
    write(world.src("a/plain"), "from the source");
    write(world.dst("a/secret"), "of the target");
    let (streams, captured) = world.capture();
    world.carved.push(world.dst("a/secret"));
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    assert_eq!(std::fs::read_to_string(world.dst("a/secret")).unwrap(), "of the target");
    assert_eq!(std::fs::read_to_string(world.dst("a/plain")).unwrap(), "from the source");
}

#[test]
fn a_directory_in_the_way_is_refused_in_an_overlay() {
    let world = World::new();
    write(world.src("a"), "a file");
    write(world.src("b"), "a file");
    write(world.dst("a/in"), "in it");
    std::fs::create_dir_all(world.dst("b")).unwrap();
    let job = world.plan();
    assert_eq!(job.refusals().len(), 1, "{:?}", job.refusals());
    assert!(job.refusals()[0].contains("/a: a directory that is not empty"));
    assert!(job.changes().contains(&"Changed b".to_owned()));
}

#[test]
fn symlinks_of_the_target_are_kept_replaced_or_written_through() {
    let set = |how: &str| {
        let world = World::with(json!({"symlinks": how}));
        write(world.src("file"), "new");
        write(world.src("dir/f"), "new");
        write(world.dst("real/file"), "older");
        write(world.dst("real/dir/f"), "older");
        symlink("real/file", world.dst("file")).unwrap();
        symlink("real/dir", world.dst("dir")).unwrap();
        world
    };
    let read = |path| std::fs::read_to_string(path).unwrap();

    let world = set("keep");
    let job = world.import();
    assert_eq!(read(world.dst("real/dir/f")) + &read(world.dst("file")), "olderolder");
    assert_eq!(job.plan.findings.iter().filter(|f| f.what.contains("it stays")).count(), 2);

    let world = set("replace");
    world.import();
    assert_eq!(read(world.dst("real/dir/f")) + &read(world.dst("file")), "oldernew");
    assert!(!world.dst("dir").is_symlink() && !world.dst("file").is_symlink());

    let world = set("write-through");
    world.import();
    assert_eq!(read(world.dst("real/dir/f")) + &read(world.dst("real/file")), "newnew");
    assert!(world.dst("dir").is_symlink() && world.dst("file").is_symlink());
    assert_eq!(world.plan().changes(), Vec::<String>::new());
}

#[test]
fn a_link_that_leads_out_is_not_written_through() {
    let world = World::with(json!({"symlinks": "write-through"}));
    write(world.src("dir/f"), "new");
    write(world.host.home.join("outside/f"), "old");
    std::fs::create_dir(world.dst("")).unwrap();
    symlink("../outside", world.dst("dir")).unwrap();
    assert_eq!(world.plan().refusals().len(), 1);
}

#[test]
fn a_single_file_travels_alone() {
    let mut world = World::new();
    world.options = json!({"path": "~/src/.conf"});
    world.overrides = json!({"path": "~/new/place/conf"});
    write(world.src(".conf"), "x=1");
    write(world.src("other"), "not meant");
    chmod(world.src(".conf"), 0o640);
    let job = world.import();
    assert_eq!(job.changes(), ["Added conf"]);
    // Under its new name it is the same file.
    let (target, streams) = (&job.target, &job.streams);
    let held = target.holds(streams, &Against::NOTHING).unwrap();
    let against = Against { things: &held, ..Against::NOTHING };
    let present = target.present(&world.scope(), &against).unwrap().unwrap();
    assert!(Contrast::of(&held, &present).differences.is_empty(), "{present:?}");
    let made = world.host.home.join("new/place");
    assert_eq!(std::fs::read_to_string(made.join("conf")).unwrap(), "x=1");
    assert_eq!(std::fs::read_dir(&made).unwrap().count(), 1);
    write(world.src(".conf"), "x=2");
    write(made.join("neighbour"), "stays");
    let job = world.import();
    assert_eq!(job.changes(), ["Changed conf"]);
    assert_eq!(std::fs::read_to_string(made.join("conf")).unwrap(), "x=2");
    assert!(made.join("neighbour").exists());
    assert_eq!(world.plan().plan.changes.len(), 0);
}

#[test]
fn a_part_of_the_tree_is_restored_alone() {
    let mut world = World::with(json!({"mode": "mirror"}));
    write(world.src("a/b/f"), "f");
    write(world.src("a/other"), "other");
    write(world.dst("mine"), "mine");
    write(world.dst("a/b/goes"), "goes");
    write(world.dst("a/stays"), "stays");
    let (streams, captured) = world.capture();
    world.only = vec![crate::base::path::BundlePath::new("a/b").unwrap()];
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    for (path, there) in
        [("a/b/f", true), ("mine", true), ("a/stays", true), ("a/b/goes", false), ("a/other", false)]
    {
        assert_eq!(world.dst(path).exists(), there, "{path}");
    }
    // A bundle that was made of a part does not remove what is outside of it either.
    let (streams, captured) = world.capture();
    world.only = vec![];
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    assert!(world.dst("mine").exists() && world.dst("a/stays").exists());
}

#[test]
fn a_root_that_is_a_symlink_is_resolved_and_told() {
    let world = World::new();
    write(world.src("f"), "new");
    write(world.host.home.join("real/f"), "older");
    symlink("real", world.host.home.join("dst")).unwrap();
    let job = world.import();
    assert!(
        job.plan.findings.iter().any(|f| f.what.contains("a symlink, taken as")),
        "{:?}",
        job.plan.findings
    );
    assert_eq!(std::fs::read_to_string(world.host.home.join("real/f")).unwrap(), "new");
    assert_eq!(job.target.claims().unwrap().len(), 2);
}

#[test]
fn absence_is_a_state() {
    let mut world = World::with(json!({"mode": "mirror", "absent": "ok"}));
    std::fs::remove_dir(world.src("")).unwrap();
    write(world.dst("f"), "f");
    let (streams, captured) = world.capture();
    world.overrides = json!({"path": "~/dst", "absent": "remove"});
    let mut job = world.job(streams, &captured.facts).unwrap();
    let before = snapshot(&world.dst(""));
    job.stage().unwrap();
    job.commit().unwrap();
    assert!(!world.dst("").exists());
    job.undo(&job.journal.acts);
    assert_eq!(snapshot(&world.dst("")), before);
    world.overrides = json!({"path": "~/dst", "mode": "overlay"});
    assert_eq!(world.import().plan.changes.len(), 0);
    assert!(world.dst("f").exists());
}

#[test]
fn an_absent_source_never_empties_a_target_by_itself() {
    let mut world = World::with(json!({"mode": "mirror"}));
    std::fs::remove_dir(world.src("")).unwrap();
    let severe = |findings: &[Finding]| findings.iter().any(|f| f.severity == Severity::Refusal);
    let (_, captured) = world.capture();
    assert!(severe(&captured.findings) && severe(&world.source().survey(&world.scope()).unwrap().findings));

    world.options["absent"] = json!("ok");
    let (streams, captured) = world.capture();
    assert!(!severe(&captured.findings));
    assert!(!captured.facts.to_string().contains("\"ok\""), "it must not travel");
    write(world.dst("f"), "f");
    let job = world.job(streams, &captured.facts).unwrap();
    assert_eq!((job.refusals().len(), job.plan.changes.len()), (1, 0));
    drop(job);
    // What is excluded counts as well, and so does a single file.
    world.options["exclude"] = json!(["f"]);
    assert_eq!(world.plan().refusals().len(), 1);
    world.overrides = json!({"path": "~/dst/f"});
    assert_eq!(world.plan().refusals().len(), 1);
    // An empty directory is no loss.
    world.options["exclude"] = json!([]);
    world.overrides = json!({"path": "~/dst"});
    std::fs::remove_file(world.dst("f")).unwrap();
    assert_eq!(world.import().changes(), ["Removed ."]);
    assert!(!world.dst("").exists());
    // In an overlay, the word of the target alone removes.
    write(world.dst("f"), "f");
    world.overrides = json!({"path": "~/dst", "mode": "overlay", "absent": "remove"});
    world.import();
    assert!(!world.dst("").exists());
}

#[test]
fn a_backup_of_nothing_is_no_refusal() {
    let world = World::new();
    write(world.src("f"), "f");
    let job = world.plan();
    let mut sink = Streams::default();
    let backup = job.target.capture(&world.scope(), &sink).unwrap();
    sink.seal();
    assert_eq!((backup.facts["state"].as_str(), backup.findings.len()), (Some("absent"), 0));
}

#[test]
fn names_of_one_file_on_the_target_are_not_changed_together() {
    let world = World::new();
    for name in ["a", "b"] {
        write(world.src(name), "same");
        write(world.dst(name), "same");
    }
    std::fs::remove_file(world.dst("b")).unwrap();
    std::fs::hard_link(world.dst("a"), world.dst("b")).unwrap();
    chmod(world.src("b"), 0o600);
    world.import();
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
    assert_eq!(world.plan().changes(), Vec::<String>::new());
}

#[test]
fn a_deep_tree_arrives_and_goes() {
    let world = World::new();
    write(world.src(&("d/".repeat(400) + "f")), "deep");
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    job.check();
    job.undo(&job.journal.acts);
    assert!(!world.dst("").exists());
}

#[test]
fn many_shards_and_many_threads() {
    let mut world = World::new();
    world.threads = 4;
    for i in 0..20_000 {
        let dir = world.src(&format!("d{:02}", i % 50));
        if i < 50 {
            std::fs::create_dir(&dir).unwrap();
        }
        std::fs::write(dir.join(format!("f{i}")), i.to_string()).unwrap();
    }
    let job = world.import();
    assert_eq!(job.streams.names(), ["tree/000001", "tree/000002", "tree/000003", "tree/000004", "index"]);
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
}

#[test]
fn what_was_edited_since_the_plan_stops_the_commit() {
    let world = World::new();
    write(world.src("a"), "new");
    write(world.dst("a"), "older");
    let mut job = world.plan();
    job.stage().unwrap();
    write(world.dst("a"), "edited");
    let error = job.commit().unwrap_err().to_string();
    assert!(error.ends_with("/a: it was edited since the plan"), "{error}");
    job.undo(&job.journal.acts);
    assert_eq!(std::fs::read_to_string(world.dst("a")).unwrap(), "edited");
    assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 2);
}
