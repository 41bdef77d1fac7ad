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

#[test]
fn modes() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    let dir = pair.world.dir.path();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=authority"));
    let server =
        format!("req -x509 {key} -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE");
    openssl(
        dir,
        &format!("{server} -keyout right.key -out right.crt -subj /CN=x -addext subjectAltName=IP:{HOST}"),
    );
    openssl(
        dir,
        &format!("{server} -keyout wrong.key -out wrong.crt -subj /CN=x -addext subjectAltName=DNS:other"),
    );
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
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=other"));
    trust();
    export("verify-ca").fails(8, "certificate");
    export("require").fails(8, "certificate");
}
