//! Bundles made by someone who can sign but means no good: all are refused as a whole, and nothing changes.

use super::world::*;
use crate::base::fault::{Fault, Faulty};
use serde_json::{json, Value};

type Spoil<T> = dyn Fn(&mut T);

/// A good bundle of a small tree, to be spoilt.
struct Bundle {
    world: World,
    streams: Streams,
    facts: Value,
    rows: Vec<Value>,
}

impl Bundle {
    fn new() -> Bundle {
        let world = World::new();
        write(world.src("a"), "a");
        write(world.src("d/f"), "f");
        std::os::unix::fs::symlink("/etc", world.src("l")).unwrap();
        std::fs::hard_link(world.src("a"), world.src("m")).unwrap();
        let (streams, captured) = world.capture();
        let text = String::from_utf8(streams.get("index")).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Bundle { world, streams, facts: captured.facts, rows }
    }

    /// Puts the rows back into the index.
    fn reindex(&mut self) {
        let lines: Vec<String> = self.rows.iter().map(|row| row.to_string() + "\n").collect();
        self.streams.set("index", lines.concat().into_bytes());
        self.facts["entries"] = json!(self.rows.len());
    }

    fn row(&mut self, path: &str) -> &mut Value {
        self.rows.iter_mut().find(|row| row["path"] == path).unwrap()
    }

    fn refused(self, what: &str) {
        let scope = self.world.scope();
        let target = self.world.target(&self.facts);
        let outcome =
            target.plan(&scope, &self.streams).and_then(|plan| target.stage(&scope, &plan, &self.streams));
        let error = outcome.expect_err(what);
        assert_eq!(error.fault(), Fault::Rule, "{what}: {error}");
        target.undo(&scope, &[]).unwrap();
        assert_eq!(
            std::fs::read_dir(&self.world.host.home).unwrap().count(),
            1,
            "{what}: something was left"
        );
    }
}

#[test]
fn the_untouched_bundle_is_good() {
    let mut bundle = Bundle::new();
    bundle.reindex();
    bundle.world.job(bundle.streams, &bundle.facts).unwrap().run().unwrap();
}

#[test]
fn names_that_climb_or_are_absolute() {
    for path in
        ["../x", "/etc/passwd", ".", "", "d/../../x", "d//f", "d/", "a%00", "%61", ".kbpack-stage-1/x"]
    {
        let mut bundle = Bundle::new();
        bundle.row("d/f")["path"] = json!(path);
        bundle.reindex();
        bundle.refused(path);
    }
}

#[test]
fn rows_that_cannot_be() {
    let spoil: &[(&str, &Spoil<Bundle>)] = &[
        ("a file below a symlink", &|b| b.row("d/f")["path"] = json!("l/f")),
        ("a file below a file", &|b| b.row("d/f")["path"] = json!("a/f")),
        ("a file in no directory", &|b| b.row("d/f")["path"] = json!("e/f")),
        ("a hard link out of the tree", &|b| b.row("m")["first"] = json!("../../etc/shadow")),
        ("a hard link to an absolute path", &|b| b.row("m")["first"] = json!("/etc/shadow")),
        ("a hard link to a symlink", &|b| b.row("m")["first"] = json!("l")),
        ("a hard link to a directory", &|b| b.row("m")["first"] = json!("d")),
        ("a hard link to itself", &|b| b.row("m")["first"] = json!("m")),
        ("a hard link to what comes later", &|b| {
            b.row("m")["first"] = json!("zz");
        }),
        ("a device", &|b| b.row("a")["type"] = json!("device")),
        ("a setuid file", &|b| b.row("a")["meta"]["mode"] = json!("4755")),
        ("a setuid directory", &|b| b.row("d")["meta"]["mode"] = json!("4755")),
        ("a capability", &|b| b.row("a")["meta"]["xattrs"] = json!({"security.capability": "00"})),
        ("an unknown key", &|b| b.row("a")["extra"] = json!(1)),
        ("an empty symlink", &|b| b.row("l")["target"] = json!("")),
        ("a symlink with a size", &|b| b.row("l")["size"] = json!(1)),
        ("no such shard", &|b| b.row("a")["shard"] = json!(9)),
        ("shard 0", &|b| b.row("a")["shard"] = json!(0)),
        ("an entry said to be in another shard", &|b| b.row("a")["shard"] = json!(2)),
        ("a path twice", &|b| {
            let twice = b.row("a").clone();
            b.rows.insert(0, twice);
        }),
        ("out of order", &|b| b.rows.swap(0, 1)),
        ("another target than in the tar", &|b| b.row("l")["target"] = json!("/root")),
        ("another mode than in the tar", &|b| b.row("a")["meta"]["mode"] = json!("0777")),
        ("another size than in the tar", &|b| b.row("a")["size"] = json!(2)),
        ("another content than in the tar", &|b| b.row("a")["sha256"] = json!("0".repeat(64))),
        ("a sparse file that is none", &|b| b.row("a")["stored"] = json!(512)),
        ("an entry of the tar that is not in the index", &|b| {
            b.rows.retain(|row| row["path"] != "l");
        }),
        ("an entry of the index that is not in the tar", &|b| {
            let mut more = b.row("a").clone();
            more["path"] = json!("b");
            b.rows.insert(1, more);
        }),
    ];
    for (what, spoil) in spoil {
        let mut bundle = Bundle::new();
        spoil(&mut bundle);
        bundle.reindex();
        bundle.refused(what);
    }
}

#[test]
fn tars_that_are_not_what_the_index_says() {
    let spoil: &[(&str, &Spoil<Vec<u8>>)] = &[
        ("another name", &|tar| tar[0] = b'b'),
        ("a device", &|tar| tar[156] = b'3'),
        ("a GNU long name", &|tar| tar[156] = b'L'),
        ("trailing garbage", &|tar| tar.push(1)),
        ("cut short", &|tar| tar.truncate(tar.len() - 512)),
        ("cut in an entry", &|tar| tar.truncate(700)),
        ("empty", &|tar| tar.clear()),
        ("no end", &|tar| {
            let n = tar.len();
            tar[n - 600] = 1;
        }),
    ];
    for (what, spoil) in spoil {
        let mut bundle = Bundle::new();
        let mut tar = bundle.streams.get("tree/000001");
        spoil(&mut tar);
        bundle.streams.set("tree/000001", tar);
        bundle.refused(what);
    }
    // Every single byte counts, padding too.
    let tar = Bundle::new().streams.get("tree/000001");
    for at in (0..tar.len()).step_by(97) {
        let mut bundle = Bundle::new();
        let mut spoilt = bundle.streams.get("tree/000001");
        spoilt[at] ^= 0x20;
        bundle.streams.set("tree/000001", spoilt);
        bundle.refused(&format!("byte {at}"));
    }
}

#[test]
fn streams_and_facts_that_do_not_fit() {
    let mut bundle = Bundle::new();
    bundle.streams.set("another", vec![]);
    bundle.refused("a stream of no known name");
    let mut bundle = Bundle::new();
    bundle.facts["entries"] = json!(1);
    bundle.refused("another number of rows");
    let mut bundle = Bundle::new();
    bundle.facts["state"] = json!("file");
    bundle.facts.as_object_mut().unwrap().remove("top");
    bundle.refused("a tree that says it is a file");
}
