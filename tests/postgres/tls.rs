//! TLS: what `sslmode` asks for, and not less.

use crate::server::{profile, Pair};
use crate::support::Run;
use std::path::Path;
use std::process::Command;

/// An address of this machine's own that no other server listens at.
const HOST: &str = "127.0.0.77";

fn openssl(dir: &Path, args: &str) {
    Run::of(Command::new("openssl").args(args.split(' ')).current_dir(dir)).ok();
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";

/// An authority (`ca.crt`), and two certificates that it signed: `right.crt` for [`HOST`], `wrong.crt` for another.
fn certificates(dir: &Path) {
    openssl(dir, &format!("req -x509 {KEY} -keyout ca.key -out ca.crt -subj /CN=authority"));
    let server =
        format!("req -x509 {KEY} -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE");
    for (name, of) in [("right", format!("IP:{HOST}")), ("wrong", "DNS:other".to_owned())] {
        let files = format!("-keyout {name}.key -out {name}.crt");
        openssl(dir, &format!("{server} {files} -subj /CN=x -addext subjectAltName={of}"));
    }
}

#[test]
fn modes() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    let dir = pair.world.dir.path();
    certificates(dir);
    let export = |mode: &str| {
        let url = format!("postgresql://postgres@{HOST}/app?sslmode={mode}");
        profile(&pair.world.source, &url, "");
        let out = dir.join(format!("{mode}.kbp"));
        let _ = std::fs::remove_file(&out);
        pair.world.source.kbpack(&["export", "-r", &pair.world.recipient, "-o", out.to_str().unwrap()])
    };
    let trust =
        || pair.world.source.write(".postgresql/root.crt", std::fs::read(dir.join("ca.crt")).unwrap());

    // A server without TLS.
    pair.source.listen(HOST, "host", None);
    export("prefer").ok();
    export("require").fails(8, "server does not support TLS");

    // One that takes nothing else, and whose authority nobody knows.
    pair.source.listen(HOST, "hostssl", Some((&dir.join("right.crt"), &dir.join("right.key"))));
    export("disable").fails(8, "no pg_hba.conf entry");
    export("prefer").ok();
    export("require").ok();
    export("verify-full").fails(8, "root.crt");
    trust();
    export("verify-full").ok();

    // One that is another host.
    pair.source.listen(HOST, "hostssl", Some((&dir.join("wrong.crt"), &dir.join("wrong.key"))));
    export("verify-ca").ok();
    export("verify-full").fails(8, "not valid for name");

    // And one that another authority signed.
    openssl(dir, &format!("req -x509 {KEY} -keyout ca.key -out ca.crt -subj /CN=other"));
    trust();
    export("verify-ca").fails(8, "certificate");
    export("require").fails(8, "certificate");
}

/// A check asks for as much as the kind does.
#[test]
fn a_query_of_a_check() {
    let pair = Pair::new();
    let dir = pair.world.dir.path();
    certificates(dir);
    let export = |mode: &str| {
        let url = format!("postgresql://postgres@{HOST}/postgres?sslmode={mode}");
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        pair.world.source.profile(&format!(
            "[bundle]\nname = \"x\"\n\n[component.f]\nkind = \"files\"\npath = \"~/f\"\n\n[[check]]\nname = \"tls\"\n\
             sql = {{ url = \"{url}\", query = \"{ssl}\", recorded = true }}\n"
        ));
        let out = dir.join(format!("{mode}.kbp"));
        let _ = std::fs::remove_file(&out);
        let args = ["export", "-r", &pair.world.recipient, "-o", out.to_str().unwrap()];
        let run = pair.world.source.kbpack(&args);
        (run, out)
    };
    let value = |out: &Path| {
        let shown = pair.world.target.kbpack(&["inspect", out.to_str().unwrap()]).ok().text();
        shown.contains("expects t, as the source has")
    };
    pair.world.source.write("f/x", "x");
    pair.source.listen(HOST, "host", None);
    let (run, out) = export("prefer");
    run.ok();
    assert!(!value(&out));
    export("require").0.fails(8, "server does not support TLS");
    pair.source.listen(HOST, "hostssl", Some((&dir.join("wrong.crt"), &dir.join("wrong.key"))));
    export("disable").0.fails(8, "no pg_hba.conf entry");
    let (run, out) = export("prefer");
    run.ok();
    assert!(value(&out));
    export("verify-full").0.fails(8, "root.crt");
    pair.world.source.write(".postgresql/root.crt", std::fs::read(dir.join("ca.crt")).unwrap());
    export("verify-full").0.fails(8, "not valid for name");
    let (run, out) = export("verify-ca");
    run.ok();
    assert!(value(&out));
}
