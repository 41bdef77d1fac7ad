//! An export that nobody watches.

use crate::support::{furnish, Home, World, PROFILE};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

/// The source's profile, with a folder for its bundles that keeps one, and whoever is told of a failure.
fn scene(notify: &str) -> World {
    let world = World::new();
    furnish(&world.source);
    fs::create_dir(world.source.join("bundles")).unwrap();
    profile(&world, notify, "");
    world
}

fn profile(world: &World, notify: &str, more: &str) {
    world.source.profile(&format!(
        "{PROFILE}{more}\n[recipients]\nto = [\"{}\"]\n[retention]\nfolder = \"~/bundles\"\nkeep-last = 1\n\
         [unattended]\nnotify = {notify}\nmetrics = \"~/kbpack.prom\"\n",
        world.recipient
    ));
}

fn bundles(home: &Home) -> usize {
    fs::read_dir(home.join("bundles")).unwrap().count()
}

fn metric(home: &Home, name: &str) -> Option<String> {
    let text = String::from_utf8(home.read("kbpack.prom")).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(&format!("kbpack_export_{name}{{profile=\"small\"}}")))?;
    Some(line.rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn it_exports_prunes_and_tells_the_monitor() {
    let world = scene("[\"/bin/false\"]");
    let source = &world.source;
    for _ in 0..2 {
        source.kbpack(&["export", "--unattended"]).ok();
        // Bundles of this machine's own that it cannot open go by the time of their file, in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_eq!(bundles(source), 1);
    assert_eq!(metric(source, "last_run_exit_code").unwrap(), "0");
    assert!(metric(source, "last_success_bytes").unwrap().parse::<u64>().unwrap() > 1000);
    assert_eq!(source.mode("kbpack.prom"), 0o644);
    let logs: Vec<_> = fs::read_dir(source.join(".local/state/kbpack/logs")).unwrap().collect();
    assert_eq!(logs.len(), 2);
    let log = fs::read_to_string(logs[0].as_ref().unwrap().path()).unwrap();
    assert!(log.contains(" outcome exported as ") && log.contains(" step packing app"), "{log}");
    for secret in ["sk-demo-0123456789", "tok-abcdef-012345"] {
        assert!(!log.contains(secret), "{log}");
    }

    let status =
        || source.kbpack(&["status", "--quick", "--json"]).ok().json()["exports"][0]["too_many"].clone();
    assert_eq!(status(), 0);
    for name in ["bundles/a.kbp", "bundles/b.kbp", "elsewhere.kbp"] {
        source.kbpack(&["export", "-o", name]).ok();
    }
    assert_eq!(status(), 2);
    let said = source.kbpack(&["status", "--quick"]).ok().text();
    assert!(
        said.contains("  [retention] would remove 2 of its bundles\n    todo: kbpack prune --retention\n")
    );
    fs::remove_file(source.join("bundles/a.kbp")).unwrap();
    assert_eq!(status(), 1);

    let shown = source.kbpack(&["prune", "--retention", "--dry-run"]).ok().text();
    assert!(shown.contains("keep"), "{shown}");
    source.kbpack(&["prune", "--retention", "--keep-last", "1"]).fails(2, "cannot be used with");
}

#[test]
fn a_failure_is_told_to_a_command() {
    let world = scene("[\"/bin/sh\", \"-c\", \"cat >told\"]");
    let source = &world.source;
    source.kbpack(&["export", "--unattended"]).ok();
    assert!(!source.join("told").exists());
    let success = metric(source, "last_success_timestamp_seconds");

    fs::remove_file(source.join("app/credentials.json")).unwrap();
    source.kbpack(&["export", "--unattended"]).fails(8, "credentials.json");
    let told: serde_json::Value = serde_json::from_slice(&source.read("told")).unwrap();
    assert_eq!((told["exit_code"].as_u64(), told["profile"].as_str()), (Some(8), Some("small")));
    assert!(
        told["what"].as_str().unwrap().contains("credentials.json") && told["todo"].is_string(),
        "{told}"
    );
    assert_eq!(metric(source, "last_run_exit_code").unwrap(), "8");
    assert_eq!(metric(source, "last_success_timestamp_seconds"), success);
    assert_eq!(bundles(source), 1);

    // A profile that cannot be read names nobody: the command line does.
    fs::remove_file(source.join("told")).unwrap();
    let program = source.write("tell.sh", "#!/bin/sh\ncat >told\n");
    source.chmod("tell.sh", 0o755);
    source.profile("[nonsense]\n");
    let args = ["export", "--unattended", "--notify", program.to_str().unwrap()];
    source.kbpack(&args).fails(2, "unknown field");
    assert!(source.join("told").exists());
}

#[test]
fn a_failure_is_told_to_a_url_and_a_deaf_one_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook/t0ken", listener.local_addr().unwrap());
    let world = scene(&format!("\"{url}\""));
    let source = &world.source;
    fs::remove_dir_all(source.join("app")).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        while !seen.ends_with(b"}") {
            let n = peer.read(&mut piece).unwrap();
            assert!(n > 0, "cut off: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..n]);
        }
        peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(seen).unwrap()
    });
    let run = source.kbpack(&["export", "--unattended"]);
    assert_ne!(run.code, 0);
    assert!(!run.stderr.contains("nobody was told"), "{}", run.stderr);
    let seen = answering.join().unwrap();
    assert!(seen.starts_with("POST /hook/t0ken HTTP/1.1\r\n") && seen.contains("\"exit_code\":"), "{seen}");

    // Nobody listens there any more.
    let again = source.kbpack(&["export", "--unattended"]);
    assert_eq!(again.code, run.code);
    assert!(again.stderr.contains("nobody was told") && !again.stderr.contains("t0ken"), "{}", again.stderr);
    assert!(Path::new(&source.join("kbpack.prom")).exists());
}
