//! What a plan, and an export, see before anything is done.

use crate::server::{is_root, profile, Pair, Server, OTHER_USER};
use crate::support::Run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A pair with a database `app` of one table on the source.
fn pair() -> Pair {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    pair.profiles("postgres", "", "");
    pair
}

#[test]
fn a_locale_that_the_target_lacks() {
    let pair = Pair::new();
    // Of the source's server only: a copy of one that every machine has, under another name.
    let folder = PathBuf::from(pair.source.folder()).join("locales");
    fs::create_dir(&folder).unwrap();
    for name in ["C.utf8", "kb_KB.utf8"] {
        Run::of(Command::new("cp").args(["-r", "/usr/lib/locale/C.utf8"]).arg(folder.join(name))).ok();
    }
    pair.source.crash();
    pair.source.up_with(&[("LOCPATH", folder.to_str().unwrap())]);
    pair.source.sql("postgres", "CREATE DATABASE app TEMPLATE template0 LOCALE 'kb_KB.UTF-8'");
    pair.profiles("postgres", "", "");
    let bundle = pair.export("1.kbp");
    let run = pair.import(&bundle).fails(8, "the server's machine has no locale kb_KB.UTF-8");
    assert!(run.stderr.contains("locale-gen kb_KB.UTF-8"), "{}", run.stderr);
    assert_eq!(pair.target.databases(), [""; 0]);
    // Where it is there, all is well.
    pair.target.crash();
    Run::of(Command::new("chmod").args(["-R", "a+rX"]).arg(pair.source.folder())).ok();
    pair.target.up_with(&[("LOCPATH", folder.to_str().unwrap())]);
    pair.import(&bundle).ok();
    let locale = "SELECT datcollate FROM pg_database WHERE datname = 'app'";
    assert_eq!(pair.target.sql("postgres", locale), "kb_KB.UTF-8");
}

/// A small file system, until the value goes.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount.
    fn at(path: PathBuf, size: &str) -> Option<Mount> {
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("mode=700,size={size}"), "none"]).arg(&path);
        mount.output().is_ok_and(|out| out.status.success()).then(|| Mount(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_tablespace_that_is_too_small() {
    let pair = Pair::new();
    let tablespace = |server: &Server, folder: &Path| {
        if is_root() {
            Run::of(Command::new("chown").arg(OTHER_USER).arg(folder)).ok();
        }
        server.sql("postgres", &format!("CREATE TABLESPACE other LOCATION '{}'", folder.display()));
    };
    let Some(mount) = Mount::at(PathBuf::from(pair.target.folder()).join("small"), "4m") else {
        return println!("skipped: this process may not mount");
    };
    let wide = PathBuf::from(pair.source.folder()).join("wide");
    fs::create_dir(&wide).unwrap();
    tablespace(&pair.source, &wide);
    tablespace(&pair.target, &mount.0);
    pair.source.sql("postgres", "CREATE DATABASE app TABLESPACE other");
    pair.profiles("postgres", "", "");
    let run = pair.import(&pair.export("1.kbp")).fails(7, "small");
    assert!(run.stderr.contains("free"), "{}", run.stderr);
    assert_eq!(pair.target.databases(), [""; 0]);
    pair.target.sql("postgres", "DROP TABLESPACE other");
}

/// The catalogs take labels of anybody; only a provider that is loaded takes them by SQL.
#[test]
fn security_labels_of_a_provider_that_the_target_lacks() {
    let pair = pair();
    pair.source.sql(
        "app",
        "INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'guard', 'secret' FROM pg_database \
         WHERE datname = 'app'; \
         INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'warden', 'high')",
    );
    let run = pair.import(&pair.export("1.kbp")).ok();
    let what = "security labels stay behind";
    assert!(
        run.stderr.contains(what) && run.stderr.contains("has no provider guard, warden"),
        "{}",
        run.stderr
    );
    assert_eq!(pair.target.sql("app", "SELECT x FROM t"), "1");
    assert_eq!(pair.target.sql("app", "SELECT count(*) FROM pg_seclabels"), "0");
}

#[test]
fn subscriptions_are_told_of_and_do_not_hinder_an_undo() {
    let pair = pair();
    pair.source.sql(
        "app",
        "CREATE SUBSCRIPTION feed CONNECTION 'host=/nowhere dbname=x' PUBLICATION p WITH (connect = false)",
    );
    let told = "subscriptions come disabled, and with the source's replication slots: feed";
    let export = ["export", "-r", &pair.world.recipient, "--dry-run"];
    let run = pair.world.source.kbpack(&export).ok();
    assert!((run.stderr.clone() + &String::from_utf8_lossy(&run.stdout)).contains(told), "{}", run.stderr);
    // A check that fails after the swap: the new database goes, with the subscription in it.
    profile(
        &pair.world.source,
        &pair.source.url("postgres", "app"),
        "[[check]]\nname = \"no\"\nfile = { path = \"~/nothing\" }",
    );
    pair.import(&pair.export("1.kbp")).fails(9, "the check 'no' failed");
    assert_eq!(pair.target.databases(), [""; 0]);
    profile(&pair.world.source, &pair.source.url("postgres", "app"), "");
    pair.import(&pair.export("2.kbp")).ok();
    let there = "SELECT subname, subenabled, subslotname FROM pg_subscription";
    assert_eq!(pair.target.sql("app", there), "feed|f|feed");
    // From here on it would be lost with its database.
    let bundle = pair.export("3.kbp");
    pair.import(&bundle).fails(8, "has subscriptions, which would be lost with it: feed");
}

/// An extension by that name, in the catalogs at least.
#[test]
fn databases_of_extensions_that_need_their_own_tools() {
    for name in ["timescaledb", "pg_cron"] {
        let pair = pair();
        let bundle = pair.export("1.kbp");
        let fake = format!(
            "CREATE EXTENSION pg_trgm; UPDATE pg_extension SET extname = '{name}' WHERE extname = 'pg_trgm'"
        );
        pair.source.sql("app", &fake);
        let export = ["export", "-r", &pair.world.recipient, "-o", "x.kbp"];
        let run =
            pair.world.source.kbpack(&export).fails(8, &format!("the extension {name} is not supported"));
        assert!(run.stderr.contains("with the extension's own tools"), "{}", run.stderr);
        // Nor is one of the target replaced.
        pair.target.sql("postgres", "CREATE DATABASE app");
        pair.target.sql("app", &fake);
        pair.import(&bundle).fails(8, &format!("the extension {name} is not supported"));
        assert_eq!(pair.target.databases(), ["app"]);
    }
}

#[test]
fn a_standby() {
    let pair = pair();
    pair.source.stand_by();
    let number: u32 = pair.source.sql("postgres", "SHOW server_version_num").parse().unwrap();
    let (major, minor) = (number / 10_000, number % 10_000);
    let shares = match major {
        14 => minor >= 25,
        15 => minor >= 20,
        16 => minor >= 16,
        17 => minor >= 12,
        18 => minor >= 7,
        _ => major > 18,
    };
    let export = |more: &[&str]| {
        let to = pair.world.path("1.kbp");
        let recipient = &pair.world.recipient;
        let args = [&["export", "-r", recipient, "-o", to.to_str().unwrap()], more].concat();
        pair.world.source.kbpack(&args)
    };
    if !shares {
        for more in [&["--dry-run"][..], &[]] {
            let run = export(more).fails(8, "the server is a standby of version");
            assert!(
                run.stderr.contains("export from the primary, or update the standby to"),
                "{}",
                run.stderr
            );
        }
        assert!(!pair.world.path("1.kbp").exists());
    } else {
        export(&[]).ok();
    }
}

#[test]
fn a_standby_is_no_target() {
    let pair = pair();
    let bundle = pair.export("1.kbp");
    pair.target.sql("postgres", "CREATE DATABASE app");
    pair.target.stand_by();
    for mode in ["swap", "in-place"] {
        pair.profiles("postgres", "", &format!("mode = \"{mode}\""));
        let run = pair.import(&bundle).fails(8, "the server is a standby");
        assert!(run.stderr.contains("name the primary in this machine's profile"), "{}", run.stderr);
    }
    assert_eq!(pair.target.databases(), ["app"]);
}
