//! Checks, from the profile of the source to `kbpack check` on the target.

use crate::postgres_server::{Server, SUPERUSER};
use crate::support::{furnish, snapshot_but_times_of_folders, Run, World, PROFILE};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// An HTTP server that answers as it is told: `answer` gets the number of the request, from 0.
struct Http {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Http {
    fn new(answer: impl Fn(usize) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                told.lock().unwrap().push(request(&mut stream));
                let _ = stream.write_all(answer(n).as_bytes());
            }
        });
        Http { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // Until nothing more comes: requests are small.
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A port where nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A furnished source whose profile has `checks`.
fn world(checks: &str) -> World {
    let world = World::new();
    furnish(&world.source);
    world.source.profile(&format!("{PROFILE}\n{checks}"));
    world
}

pub fn with_hooks(world: &World) {
    world.target.kbpack(&["trust", "add", "source", &world.signer, "--hooks"]).ok();
}

/// The outcomes in a document, as `name: verdict: why`.
fn outcomes(document: &Value) -> Vec<String> {
    let rows = document["declared_checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    rows.iter()
        .map(|row| format!("{}: {}: {}", text(&row["name"]), text(&row["verdict"]), text(&row["why"])))
        .collect()
}

#[test]
fn every_kind_travels_passes_and_is_run_again() {
    let http = Http::new(|_| answer("200 OK", r#"{"status": "healthy", "deep": {"n": [1, 2]}}"#));
    let port = http.port;
    let digest = kbpack::base::digest::Digest::of(b"{\"a\": 1}\n");
    let world = world(&format!(
        r#"
[[check]]
name = "the file"
file = {{ path = "~/app/settings.json", type = "file", mode = "0644", min-size = 3, sha256 = "{digest}" }}
[[check]]
name = "no trace"
file = {{ path = "~/app/debug", exists = false }}
[[check]]
name = "the port"
tcp = {{ address = "127.0.0.1:{port}" }}
[[check]]
name = "the answer"
http = {{ url = "http://localhost:{port}/health", json = {{ status = "healthy", "deep.n.1" = 2 }} }}
[[check]]
name = "the command"
command = {{ run = ["cat", "settings.json"], directory = "~/app", stdout-matches = '"a": \d' }}
[[check]]
name = "the tool"
version = {{ run = ["git", "--version"], at-least = "2.0" }}
[[check]]
name = "the same tool"
version = {{ run = ["git", "--version"], equal-to-source = true }}
[[check]]
name = "the variable"
env = {{ name = "API_KEY" }}
"#
    ));
    world.source.chmod("app/settings.json", 0o644);
    world.target.write(".profile", ". ~/.bashrc\n");
    with_hooks(&world);
    let bundle = world.export("b.kbp");
    let names = [
        "the file",
        "no trace",
        "the port",
        "the answer",
        "the command",
        "the tool",
        "the same tool",
        "the variable",
    ];

    // What it is going to run is shown before anything is done.
    let shown = world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok().text();
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run"]).ok().text();
    for text in [&shown, &plan] {
        assert!(text.contains("runs cat settings.json"), "{text}");
        assert!(text.contains(&format!("requests GET http://localhost:{port}/health")), "{text}");
    }
    assert!(http.heard().is_empty());

    let report = world.import(&bundle, &["--json"]).ok().json();
    assert_eq!(outcomes(&report), names.map(|name| format!("{name}: passed: ")), "{report}");
    let saved = String::from_utf8(world.target.read(".local/state/kbpack/checks.json")).unwrap();
    assert!(!saved.contains("sk-demo"));

    // Later: without the bundle, with it, and once it is not so any more.
    let table = world.target.kbpack(&["check"]).ok().text();
    assert_eq!(table.matches("✓ ").count(), names.len(), "{table}");
    assert!(table.contains("compared with a bundle"), "{table}");
    let with_bundle = world.target.kbpack(&["check", bundle.to_str().unwrap(), "-v"]).ok().text();
    assert!(with_bundle.contains("✓ app: "), "{with_bundle}");
    assert!(
        with_bundle.contains("✓ the command\n    runs cat settings.json\n    exit status 0\n"),
        "{with_bundle}"
    );
    world.target.write("app/settings.json", "{\"a\": 2}\n");
    let run = world.target.kbpack(&["check", bundle.to_str().unwrap()]);
    let text = run.text();
    assert!(text.contains("✗ app: ") && text.contains("✗ the file "), "{text}");
    run.fails(8, "checks failed");
    let run = world.target.kbpack(&["check", "--json"]);
    assert_eq!(run.code, 8);
    assert!(outcomes(&run.json())[0].starts_with("the file: failed: its SHA-256 is "));
}

#[test]
fn each_kind_fails_and_undoes_the_import() {
    let world = world("");
    let bundle = world.export("b.kbp");
    let ill = Http::new(|_| answer("503 Service Unavailable", ""));
    let (port, closed) = (ill.port, closed_port());
    world.target.write("app/settings.json", "before\n");
    world.target.write(".bashrc", "# before\n");
    let before = snapshot_but_times_of_folders(&world.target);
    for (check, why) in [
        (r#"file = { path = "~/app/none" }"#.to_owned(), "it is not there"),
        (r#"file = { path = "~/app/settings.json", mode = "0600" }"#.to_owned(), "its mode is"),
        (r#"env = { name = "KBPACK_NONE" }"#.to_owned(), "it is not set"),
        (format!(r#"tcp = {{ address = "localhost:{closed}" }}"#), "refused"),
        (format!(r#"http = {{ url = "http://localhost:{port}/" }}"#), "status 503, not 200"),
        (r#"command = { run = ["sh", "-c", "exit 7"] }"#.to_owned(), "exit status 7, not 0"),
        (r#"version = { run = ["git", "--version"], at-least = "99.1" }"#.to_owned(), "is older than 99.1"),
        (r#"command = { run = ["no-such-program"] }"#.to_owned(), "was not found"),
    ] {
        // Outside of the home, which must be as it was.
        let profile = world.path("own.toml");
        fs::write(&profile, format!("[[check]]\nname = \"broken\"\n{check}\n")).unwrap();
        let own = ["--profile", profile.to_str().unwrap()];
        let run = world.import(&bundle, &own).fails(9, "the check 'broken' failed: ");
        assert!(run.stderr.contains(why), "{check}: {}", run.stderr);
        assert_eq!(snapshot_but_times_of_folders(&world.target), before, "{check}");
    }
}

#[test]
fn a_warning_is_shown_and_the_import_holds() {
    let closed = closed_port();
    let world = world(&format!(
        "[[check]]\nname = \"up\"\nseverity = \"warn\"\ntcp = {{ address = \"localhost:{closed}\" }}\n"
    ));
    let run = world.import(&world.export("b.kbp"), &[]).ok();
    assert!(run.stderr.contains("  ! up "), "{}", run.stderr);
    assert!(world.target.join("app/settings.json").is_file());
    let run = world.target.kbpack(&["check"]).ok();
    assert!(run.text().starts_with("! up "), "{}", run.text());
}

#[test]
fn a_check_is_tried_again_until_it_passes() {
    let http = Http::new(|n| match n {
        0 | 1 => answer("503 Service Unavailable", ""),
        _ => answer("204 No Content", ""),
    });
    let port = http.port;
    let world = world(&format!(
        "[[check]]\nname = \"up\"\nretry-for = 60\nhttp = {{ url = \"http://127.0.0.1:{port}/\", status = 204 }}\n"
    ));
    let report = world.import(&world.export("b.kbp"), &["--json"]).ok().json();
    assert_eq!(outcomes(&report), ["up: passed: "]);
    assert_eq!(http.heard().len(), 3);
    let details = report["declared_checks"][0]["details"].to_string();
    assert!(details.contains("attempts: 3"), "{details}");
}

#[test]
fn a_bundle_may_run_only_what_its_signer_may() {
    let http = Http::new(|_| answer("200 OK", ""));
    let port = http.port;
    let world = world(&format!(
        r#"
[[check]]
name = "loopback"
http = {{ url = "http://localhost:{port}/" }}
[[check]]
name = "command"
command = {{ run = ["touch", "ran"] }}
[[check]]
name = "secret"
http = {{ url = "http://localhost:{port}/secret", header = {{ X-API-Key = "$API_KEY" }} }}
[[check]]
name = "elsewhere"
tcp = {{ address = "192.0.2.1:80" }}
[[check]]
name = "variable"
env = {{ name = "API_KEY" }}
[[check]]
name = "foreign"
env = {{ name = "FOREIGN" }}
"#
    ));
    // A bundle may bring such a file, and a login shell would run it.
    world.target.write(".profile", "touch ~/ran\nexport FOREIGN=x\n");
    let bundle = world.export("b.kbp");
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run"]).ok().text();
    assert!(plan.contains("it will be skipped: it runs a command"), "{plan}");
    assert!(plan.contains(" --hooks; or "), "{plan}");
    let report = world.import(&bundle, &["--json"]).ok().json();
    let expected = [
        "loopback: passed: ",
        "command: skipped: it runs a command",
        "secret: skipped: it sends the value of $API_KEY",
        "elsewhere: skipped: it connects to 192.0.2.1:80",
        "variable: passed: ",
        "foreign: skipped: no import has put it here",
    ];
    for (outcome, expected) in outcomes(&report).iter().zip(expected) {
        assert!(outcome.starts_with(expected), "{outcome}");
    }
    assert!(!world.target.join("ran").exists());
    let heard = http.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let table = world.target.kbpack(&["check"]).ok().text();
    assert!(table.contains("- command ") && table.contains("skipped: it runs a command"), "{table}");

    // This machine's own profile may ask for anything, also in the place of the bundle's check.
    world.target.profile("[[check]]\nname = \"command\"\ncommand = { run = [\"touch\", \"own\"] }\n");
    world.import(&bundle, &[]).ok();
    assert!(world.target.join("own").exists());
    fs::remove_file(world.target.join(".config/kbpack/profile.toml")).unwrap();

    // So may a signer that is allowed to.
    with_hooks(&world);
    let warn = world.import(&bundle, &["--json"]).fails(9, "the check 'elsewhere' failed");
    assert!(world.target.join("ran").exists(), "{}", warn.stderr);
    assert!(http.heard().iter().any(|request| request.starts_with("GET /secret")));
    // And no longer, once it is trusted no more.
    world.import(&bundle, &["--skip", "keys"]).fails(9, "elsewhere");
    world.target.kbpack(&["trust", "remove", "source"]).ok();
    fs::remove_file(world.target.join("ran")).unwrap();
    world.target.kbpack(&["check"]).ok();
    assert!(!world.target.join("ran").exists());
}

#[test]
fn a_redirect_is_not_followed_and_a_proxy_not_used() {
    let other = Http::new(|_| answer("200 OK", ""));
    let location = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\n", other.port);
    let http = Http::new(move |_| format!("{location}Content-Length: 0\r\nConnection: close\r\n\r\n"));
    let port = http.port;
    let world =
        world(&format!("[[check]]\nname = \"up\"\nhttp = {{ url = \"http://127.0.0.1:{port}/\" }}\n"));
    let bundle = world.export("b.kbp");
    let mut command = world.target.command(&["import", bundle.to_str().unwrap(), "--yes"]);
    let proxy = format!("http://127.0.0.1:{}", other.port);
    command.env("http_proxy", &proxy).env("HTTP_PROXY", &proxy).env("ALL_PROXY", &proxy);
    Run::of(&mut command).fails(9, "status 302, not 200 (redirects are not followed)");
    assert_eq!(http.heard().len(), 1);
    assert!(other.heard().is_empty());
}

/// A stock server with a certificate for `localhost` that the authority in `ca.crt` signed.
struct Https {
    child: std::process::Child,
    port: String,
}

impl Https {
    fn new(dir: &std::path::Path) -> Self {
        let openssl = |args: &str| {
            Run::of(Command::new("openssl").args(args.split(' ')).current_dir(dir)).ok();
        };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x";
        openssl(&format!("{new} -keyout ca.key -out ca.crt"));
        openssl(&format!(
            "{new} -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -keyout s.key -out s.crt \
             -addext subjectAltName=DNS:localhost"
        ));
        let server = r#"
import http.server, json, ssl
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "healthy", "host": self.headers["Host"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("s.crt", "s.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;
        let mut command = Command::new("python3");
        command.args(["-c", server]).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Https { child, port: port.trim().to_owned() }
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn https_is_believed_as_the_system_believes() {
    let world = World::new();
    let https = Https::new(world.dir.path());
    let port = &https.port;
    world.source.write("app/x", "x");
    world.source.profile(&format!(
        r#"
[bundle]
name = "small"
[component.app]
kind = "files"
path = "~/app"
[[check]]
name = "by name"
severity = "warn"
http = {{ url = "https://localhost:{port}/health", json = {{ status = "healthy", host = "localhost:{port}" }} }}
[[check]]
name = "by number"
severity = "warn"
http = {{ url = "https://127.0.0.1:{port}/" }}
[[check]]
name = "without"
severity = "warn"
http = {{ url = "http://localhost:{port}/" }}
"#
    ));
    let bundle = world.export("b.kbp");
    let import = |authorities: &str| {
        let mut command = world.target.command(&["import", bundle.to_str().unwrap(), "--yes", "--json"]);
        outcomes(&Run::of(command.env("SSL_CERT_FILE", world.path(authorities))).ok().json())
    };
    let known = import("ca.crt");
    assert_eq!(known[0], "by name: passed: ");
    assert!(
        known[1].starts_with("by number: failed: ") && known[1].contains("not valid for name"),
        "{known:?}"
    );
    assert!(known[2].starts_with("without: failed: "), "{known:?}");
    // Of an authority that nobody knows.
    Run::of(Command::new("openssl").current_dir(world.dir.path()).args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=y -keyout o.key -out o.crt".split(' '),
    ))
    .ok();
    let unknown = import("o.crt");
    assert!(unknown[0].starts_with("by name: failed: ") && unknown[0].contains("certificate"), "{unknown:?}");
}

#[test]
fn a_secret_is_sent_but_never_said() {
    let http = Http::new(|_| answer("200 OK", r#"{"echo": "sk-demo-0123456789"}"#));
    let port = http.port;
    let world = world(&format!(
        r#"
[[check]]
name = "echo"
severity = "warn"
http = {{ url = "http://localhost:{port}/", header = {{ Authorization = "Bearer $API_KEY" }}, json = {{ echo = "x" }} }}
[[check]]
name = "leak"
severity = "warn"
command = {{ run = ["sh", "-c", "cat ~/.config/kbpack-env/*/env.sh; cat ~/.bashrc >&2; exit 1"] }}
"#
    ));
    with_hooks(&world);
    let bundle = world.export("b.kbp");
    let path = bundle.to_str().unwrap();
    // The variable is not in the environment of kbpack: it is the one that this very import brings.
    let mut runs = vec![world.import(&bundle, &["-v"]).ok()];
    for args in
        [&["check", "-v"][..], &["check", "--json"], &["check", path, "-v"], &["inspect", path, "--json"]]
    {
        runs.push(world.target.kbpack(args).ok());
    }
    for run in &runs {
        let said = format!("{}{}", run.stderr, run.text());
        assert!(!said.contains("sk-demo"), "{said}");
    }
    assert!(runs[0].stderr.contains("! echo "), "{}", runs[0].stderr);
    assert!(runs[1].text().contains("[$API_KEY]"), "{}", runs[1].text());
    let heard = http.heard();
    assert!(heard[0].to_lowercase().contains("authorization: bearer sk-demo-0123456789\r\n"), "{heard:?}");
    for file in ["checks.json", "history"] {
        let state = world.target.join(".local/state/kbpack").join(file);
        let found = Run::of(Command::new("grep").args(["-r", "sk-demo"]).arg(state));
        assert_eq!(found.code, 1, "{}", found.text());
    }
}

#[test]
fn a_signal_during_a_retry_undoes_at_once() {
    let closed = closed_port();
    for check in [
        format!("retry-for = 600\ntcp = {{ address = \"127.0.0.1:{closed}\" }}"),
        "timeout = 600\ncommand = { run = [\"sleep\", \"600\"] }".to_owned(),
    ] {
        let world = world("");
        let bundle = world.export("b.kbp");
        world.target.write("app/settings.json", "before\n");
        world.target.profile(&format!("[[check]]\nname = \"never\"\n{check}\n"));
        let before = snapshot_but_times_of_folders(&world.target);
        let mut import = world.target.command(&["import", bundle.to_str().unwrap(), "--yes", "-v"]);
        let mut import = import.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(import.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "checking: never"));
        thread::sleep(Duration::from_millis(500));
        assert_ne!(snapshot_but_times_of_folders(&world.target), before);
        let start = Instant::now();
        Command::new("kill").args(["-INT", &import.id().to_string()]).status().unwrap();
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert_eq!(import.wait().unwrap().code(), Some(9), "{rest:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert_eq!(snapshot_but_times_of_folders(&world.target), before);
    }
}

#[test]
fn what_the_source_had_must_be_there_to_be_recorded() {
    let world =
        world("[[check]]\nname = \"tool\"\nversion = { run = [\"false\"], equal-to-source = true }\n");
    let out = world.path("b.kbp");
    let export = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
    world.source.kbpack(&export).fails(8, "the check 'tool' cannot be recorded: false: exit status 1");
    assert!(!out.exists());
}

/// A check of the target's own profile against the server, and what becomes of it.
fn ask(world: &World, bundle: &std::path::Path, url: &str, query: &str, equals: &str) -> Run {
    let profile = world.path("sql.toml");
    let text = format!(
        "[[check]]\nname = \"q\"\nsql = {{ url = \"{url}\", query = '''{query}''', equals = '''{equals}''' }}\n"
    );
    fs::write(&profile, text).unwrap();
    world.import(bundle, &["--profile", profile.to_str().unwrap()])
}

#[test]
fn sql_reads_and_compares() {
    let server = Server::start();
    server.sql("CREATE ROLE kb LOGIN PASSWORD 'pass:word'");
    server.sql("CREATE TABLE t (n int, f float8, at timestamptz, b bool)");
    server.sql("INSERT INTO t VALUES (1, 0.1, '2026-11-24T08:00:00+01', true)");
    server.sql("GRANT ALL ON t TO kb");
    let url = server.on_socket("kb", "postgres");
    let world = world(&format!(
        r#"
[[check]]
name = "rows"
sql = {{ url = "{url}", query = "SELECT count(*) FROM t -- all of them", recorded = true }}
[[check]]
name = "text"
sql = {{ url = "{url}", query = "SELECT f || ' ' || at || ' ' || b FROM t;", recorded = true }}
"#
    ));
    let bundle: PathBuf = world.export("b.kbp");
    let shown = world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok().text();
    assert!(shown.contains("expects 1, as the source has"), "{shown}");
    assert!(shown.contains("expects 0.1 2026-11-24 07:00:00+00 true, as the source has"), "{shown}");
    // In a read-only transaction on this machine, every signer may ask.
    let report = world.import(&bundle, &["--json"]).ok().json();
    assert_eq!(outcomes(&report), ["rows: passed: ", "text: passed: "]);
    server.sql("INSERT INTO t VALUES (2)");
    world.import(&bundle, &[]).fails(9, "the check 'rows' failed: the value is 2, not 1");
    server.sql("DELETE FROM t WHERE n = 2");

    let ask = |query: &str, equals: &str| ask(&world, &bundle, &url, query, equals);
    ask("SELECT b FROM t", "t").ok();
    ask("VALUES (NULL::int)", "").fails(9, "the value is NULL");
    ask("SELECT 1 WHERE false", "1").fails(9, "the query gives no row");
    ask("SELECT generate_series(1, 2)", "1").fails(9, "the query gives more than one row");
    ask("SELECT pg_sleep(60)", "").fails(9, "statement timeout");
    ask("SELECT nothing FROM t", "1").fails(9, "column \"nothing\" does not exist");
    // Whatever the text says, it is one query that reads.
    for writes in [
        "INSERT INTO t VALUES (3) RETURNING n",
        "SELECT 1) AS q(v); COMMIT; INSERT INTO t VALUES (3); SELECT 1, false FROM (SELECT 1",
        "WITH w AS (INSERT INTO t VALUES (3) RETURNING n) SELECT n FROM w",
        "COPY t TO PROGRAM 'touch /tmp/kbpack-pwned'",
        "SELECT nextval('s')",
        "SELECT set_config('transaction_read_only', 'off', true)",
    ] {
        assert_eq!(ask(writes, "3").code, 9, "{writes}");
    }
    assert_eq!(server.sql("SELECT count(*) FROM t"), "1");
}

#[test]
fn sql_finds_its_password_and_knows_its_limits() {
    let server = Server::start();
    server.sql("CREATE ROLE kb LOGIN PASSWORD 'pass:word'");
    let port = server.port;
    // One that may become a superuser, and one for whom a database has other operators than the server's own.
    server.sql("CREATE ROLE member LOGIN IN ROLE super");
    server.sql("CREATE ROLE files LOGIN IN ROLE pg_execute_server_program");
    server.sql("CREATE FUNCTION never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false'");
    server.sql("CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = never)");
    server.sql("ALTER DATABASE postgres SET search_path = public, pg_catalog");
    let (as_member, as_files) =
        (server.on_socket("member", "postgres"), server.on_socket("files", "postgres"));
    let (on_port, as_super) = (server.on_port("kb", "postgres"), server.on_socket(SUPERUSER, "postgres"));
    let world = world(&format!(
        r#"
[[check]]
name = "by password"
sql = {{ url = "{on_port}", query = "SELECT current_user", equals = "kb" }}
[[check]]
name = "as superuser"
sql = {{ url = "{as_super}", query = "SELECT pg_read_file('/etc/passwd') IS NOT NULL", equals = "t" }}
[[check]]
name = "as member"
sql = {{ url = "{as_member}", query = "SELECT set_config('role', 'super', true)", equals = "super" }}
[[check]]
name = "as files"
sql = {{ url = "{as_files}", query = "SELECT 1", equals = "1" }}
"#
    ));
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).fails(9, "the check 'by password' failed: ");
    let pgpass = |line: String| {
        world.target.write(".pgpass", line);
        world.target.chmod(".pgpass", 0o600);
    };
    pgpass(format!("# mine\nlocalhost:{port}:*:kb:pass\\:word\n"));
    let report = world.import(&bundle, &["--json"]).ok().json();
    let found = outcomes(&report);
    assert_eq!(found[0], "by password: passed: ");
    for (found, who) in found[1..].iter().zip(["superuser", "member", "files"]) {
        assert!(found.starts_with(&format!("as {who}: skipped: the role is a superuser")), "{found}");
    }
    // A password for anywhere is not sent anywhere because a bundle says so.
    pgpass("*:*:*:kb:pass\\:word\n".to_owned());
    let found = outcomes(&world.import(&bundle, &["--json"]).ok().json());
    assert!(found[0].starts_with("by password: skipped: its password is one for any host"), "{found:?}");
    with_hooks(&world);
    let found = outcomes(&world.import(&bundle, &["--json"]).ok().json());
    let all =
        ["by password", "as superuser", "as member", "as files"].map(|name| format!("{name}: passed: "));
    assert_eq!(found, all);
    // As libpq does, a file that others can read is passed over.
    world.target.chmod(".pgpass", 0o644);
    let run = world.import(&bundle, &[]).fails(9, "by password");
    assert!(!run.stderr.contains("pass:word"), "{}", run.stderr);
}
