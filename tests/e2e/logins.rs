//! A line of `.pgpass` that an import deploys must log in.

use crate::postgres_server::Server;
use crate::support::{Run, World};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

const PASSWORD: &str = "s3cret:pass\\word";

/// A bundle with one line, and its password.
fn bundle(line: &str, password: &str) -> (World, PathBuf) {
    let world = World::new();
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    world.source.write(".pgpass", format!("{line}:{escaped}\n"));
    world.source.chmod(".pgpass", 0o600);
    world.source.profile(&format!(
        "[bundle]\nname = \"x\"\n\n[component.keys]\nkind = \"secrets\"\npgpass = ['{line}']\n"
    ));
    world.target.write(".pgpass", "mine:1:d:u:old\n");
    world.target.chmod(".pgpass", 0o600);
    let bundle = world.export("b.kbp");
    (world, bundle)
}

fn import(line: &str, password: &str) -> (World, Run) {
    let (world, bundle) = bundle(line, password);
    let run = world.import(&bundle, &[]);
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &run.stderr;
    assert!(!said.contains("s3cret"), "{said}");
    (world, run)
}

#[test]
fn a_password_that_the_server_takes() {
    let server = Server::start();
    server.sql("CREATE ROLE kb LOGIN PASSWORD 's3cret:pass\\word'");
    let port = server.port;
    let (world, run) = import(&format!("localhost:{port}:postgres:kb"), PASSWORD);
    let said = run.ok().stderr;
    assert!(said.contains(&format!("kb logs in (database postgres on localhost:{port})")), "{said}");
    let kept = String::from_utf8(world.target.read(".pgpass")).unwrap();
    assert!(kept.starts_with("mine:1:d:u:old\n") && kept.contains(":s3cret\\:pass\\\\word\n"), "{kept}");
    // A line for any database, where the first that is tried is closed, and there is none of the role's name.
    server.sql("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    let said = import(&format!("localhost:{port}:*:kb"), PASSWORD).1.ok().stderr;
    assert!(said.contains("kb logs in (the server takes it; database kb on"), "{said}");
    // For one that is not there yet.
    let said = import(&format!("127.0.0.1:{port}:later:kb"), PASSWORD).1.ok().stderr;
    assert!(said.contains("skipped: the server takes it, but:") && said.contains("3D000"), "{said}");
    // On its socket, this server takes everybody at their word.
    let line = format!("{}:{port}:template1:kb", server.path().display());
    let said = import(&line, "anything").1.ok().stderr;
    assert!(said.contains("proves nothing, for no password is asked for: database template1"), "{said}");
}

#[test]
fn one_that_it_refuses_undoes_the_import() {
    let server = Server::start();
    server.sql("CREATE ROLE kb LOGIN PASSWORD 'another'");
    server.sql("CREATE ROLE nobody PASSWORD 's3cret:pass\\word'");
    let port = server.port;
    for (role, why) in [("kb", "28P01"), ("missing", "28P01"), ("nobody", "28000")] {
        let (world, run) = import(&format!("localhost:{port}:postgres:{role}"), PASSWORD);
        let run = run.fails(9, &format!("{role} logs in"));
        assert!(run.stderr.contains(why), "{}", run.stderr);
        assert_eq!(world.target.read(".pgpass"), b"mine:1:d:u:old\n");
    }
    // A line for any host may mean another server than this one.
    let said = import(&format!("*:{port}:postgres:kb"), PASSWORD).1.ok().stderr;
    assert!(said.contains("! the password of *:") && said.contains("28P01"), "{said}");
}

#[test]
fn a_server_that_does_not_answer_is_told_and_no_more() {
    let said = import("localhost:1:d:u", PASSWORD).1.ok().stderr;
    assert!(said.contains("! the password of localhost:1:d:u logs in") && said.contains("refused"), "{said}");
    // What was skipped keeps nobody from a receipt.
    assert!(said.contains("wrote the receipt "), "{said}");
    // One that listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    let said = import(&format!("127.0.0.1:{port}:d:u"), PASSWORD).1.ok().stderr;
    assert!(said.contains("no answer within 5 s") && start.elapsed().as_secs() < 60, "{said}");
    // Another machine is contacted only for a signer who may have commands run here.
    let (world, bundle) = bundle("no-such-host.invalid:5432:d:u", PASSWORD);
    let said = world.import(&bundle, &[]).ok().stderr;
    assert!(said.contains("it is for another machine"), "{said}");
    crate::checks::with_hooks(&world);
    let said = world.import(&bundle, &[]).ok().stderr;
    assert!(said.contains("on no-such-host.invalid:5432: failed to lookup"), "{said}");
}
