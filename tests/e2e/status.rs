//! `kbpack status`: what changed since the last export, and since the last import.

use crate::diff::{change, differences, furnish, of, silent};
use crate::support::{snapshot, Home, World};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn status(home: &Home) -> Value {
    silent(home.kbpack(&["status", "--json"])).ok().json()
}

/// What is said of the secrets, of which no value is kept.
#[track_caller]
fn only_names(components: &Value) {
    let keys = of(components, "keys");
    assert_eq!(
        (&keys["state"], &keys["counts"]["values_not_compared"]),
        (&"same".into(), &keys["counts"]["same"])
    );
}

#[test]
fn drift_of_a_source_and_of_a_target() {
    let world = World::new();
    let run = world.target.kbpack(&["status", "--exit-code", "--max-age", "1s"]).ok();
    assert!(run.text().contains("nothing was exported here yet"), "{}", run.text());

    // The source, as it was exported.
    furnish(&world.source);
    let one = world.export("one.kbp");
    let (before, document) = (snapshot(&world.source.path), status(&world.source));
    assert_eq!(snapshot(&world.source.path), before);
    let export = &document["exports"][0];
    assert_eq!(
        (&export["profile"], &export["state"], &export["there"]),
        (&"four".into(), &"same".into(), &true.into())
    );
    assert_eq!(document["imports"], Value::Array(vec![]));
    only_names(&export["components"]);
    world.source.kbpack(&["status", "--exit-code", "--max-age", "1h"]).ok();

    // Neither a value nor a digest of one is kept.
    let kept = fs::read_dir(world.source.join(".local/state/kbpack/held")).unwrap().next().unwrap().unwrap();
    let kept = String::from_utf8(zstd::decode_all(fs::File::open(kept.path()).unwrap()).unwrap()).unwrap();
    let names: Vec<Value> = kept.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let secrets: Vec<_> = names.iter().filter(|thing| thing["is_secret"] == true).collect();
    assert_eq!(secrets.len(), 3, "{kept}");
    for secret in secrets {
        let keys: Vec<&String> = secret.as_object().unwrap().keys().collect();
        assert!(
            keys.iter().all(|key| ["name", "what", "mode", "is_secret"].contains(&key.as_str())),
            "{secret}"
        );
    }

    // Changed; the file is gone; somebody waits for the next export.
    change(&world.source, ".bashrc");
    fs::rename(&one, world.path("moved.kbp")).unwrap();
    let document = status(&world.source);
    let export = &document["exports"][0];
    assert_eq!((&export["state"], &export["there"]), (&"different".into(), &false.into()));
    let components = &export["components"];
    assert_eq!(
        differences(components, "app"),
        ["~a.txt: size content time", "-b.txt", "~c.txt: mode", "+e.txt"]
    );
    assert_eq!(differences(components, "repo"), ["~refs/heads/main: value", "-refs/heads/other"]);
    assert_eq!(of(components, "repo")["differences"][0]["ahead"], 2);
    assert_eq!(
        differences(components, "db"),
        ["~PRAGMA user_version: value", "+new", "-old", "~sqlite_schema: content", "~t: rows content"]
    );
    only_names(components);
    assert_eq!(world.source.kbpack(&["status", "--exit-code"]).code, 8);
    let quick = world.source.kbpack(&["status", "--quick", "--exit-code", "--json"]).ok().json();
    assert_eq!(quick["exports"][0]["state"], "not-compared");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let stale = world.source.kbpack(&["status", "--quick", "--max-age", "1s", "--json"]);
    assert_eq!((stale.code, &stale.json()["exports"][0]["stale"]), (8, &true.into()));
    fs::remove_file(world.source.join(".token")).unwrap();
    assert_eq!(differences(&status(&world.source)["exports"][0]["components"], "keys"), ["-~/.token"]);

    // The target.
    let moved = world.path("moved.kbp");
    world.target.write(".env", "LATER=asked-for-99\n");
    world.import(&moved, &[]).ok();
    let document = status(&world.target);
    let import = &document["imports"][0];
    assert_eq!((&import["profile"], &import["state"]), (&"four".into(), &"same".into()));
    only_names(&import["components"]);
    change(&world.target, ".config/kbpack-env/keys/env.sh");
    let document = status(&world.target);
    let components = &document["imports"][0]["components"];
    assert_eq!(differences(components, "app").len(), 4);
    assert_eq!(of(components, "repo")["differences"][0]["ahead"], 2);
    let said = silent(world.target.kbpack(&["status"])).ok().text();
    assert!(said.contains("changed since:") && said.contains("2 rows -> 3 rows"), "{said}");

    // Taken back, the import before counts again: there is none.
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(status(&world.target)["imports"], Value::Array(vec![]));
}

/// What an older kbpack did is known, and not what it held; a damaged list costs itself alone.
#[test]
fn what_was_not_kept_is_not_compared() {
    let world = World::new();
    furnish(&world.source);
    let one = world.export("one.kbp");
    world.target.write(".env", "LATER=asked-for-99\n");
    world.import(&one, &["--only", "app:sub", "--map", "~/app=~/elsewhere"]).ok();
    world.target.write("elsewhere/other.txt", "beside it");
    // Only what was imported counts, and only where it was put.
    let document = status(&world.target);
    let import = &document["imports"][0];
    assert_eq!((import["components"].as_array().unwrap().len(), &import["state"]), (1, &"same".into()));
    world.target.write("elsewhere/sub/d.txt", "edited");
    let document = status(&world.target);
    assert_eq!(differences(&document["imports"][0]["components"], "app"), ["~sub/d.txt: size content time"]);
    let held = |home: &Home| home.join(".local/state/kbpack/held");
    let file = fs::read_dir(held(&world.target)).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "no list").unwrap();
    let import = &status(&world.target)["imports"][0];
    assert_eq!(import["state"], "not-compared");
    assert!(import["why"].as_str().unwrap().contains("cannot be read"), "{import}");
    fs::remove_dir_all(held(&world.source)).unwrap();
    let export = &status(&world.source)["exports"][0];
    assert!(export["why"].as_str().unwrap().contains("was not kept"), "{export}");
    assert!(Path::new(&one).exists() && export["there"] == true);
}
