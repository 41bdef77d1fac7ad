//! `http`: what a server answers. No redirect is followed, no proxy is used, and the name is resolved once, by us.

use super::address::Address;
use super::{values, Site, Trial, Tried};
use crate::engine::authorities;
use crate::format::{HttpProbe, Method};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::{HeaderName, HeaderValue, Request, Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};
use zeroize::Zeroizing;

/// Bytes of a response's body that are read.
const MAX_BODY: u64 = 1024 * 1024;
/// Characters of a value in a response that are shown.
const MAX_SHOWN: usize = 200;

/// A request, and what its answer must be.
pub(super) struct Http {
    probe: HttpProbe,
    uri: Uri,
    address: Address,
}

impl Http {
    pub(super) fn new(probe: &HttpProbe) -> Result<Self, String> {
        let bad = || format!("'{}' is not http://HOST[:PORT]/... or https://HOST[:PORT]/...", probe.url);
        let uri: Uri = probe.url.parse().map_err(|_| bad())?;
        let standard = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        // A port that is none must not become the standard one.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => standard,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(bad)?,
            None => return Err(bad()),
        };
        let address = Address::new(authority.host(), port).ok_or_else(bad)?;
        Ok(Http { probe: probe.clone(), uri, address })
    }
}

impl Trial for Http {
    fn what(&self) -> String {
        let secrets: Vec<String> = self.probe.variables().iter().map(|name| format!("${name}")).collect();
        let secrets = match secrets.is_empty() {
            true => String::new(),
            false => format!(", with {}", secrets.join(", ")),
        };
        format!("requests {} {}{secrets}", self.probe.method.as_str(), self.probe.url)
    }

    fn needs_trust(&self) -> Option<String> {
        if !self.address.is_loopback() {
            return Some(format!("it sends a request to {}", self.address));
        }
        if let Some(name) = self.probe.variables().first() {
            return Some(format!("it sends the value of ${name}"));
        }
        // Those that are safe by RFC 9110 ask and do nothing; others could have a service on this machine do something.
        let safe = matches!(self.probe.method, Method::Get | Method::Head | Method::Options);
        (!safe).then(|| format!("it sends a {}", self.probe.method.as_str()))
    }

    fn attempt(&self, site: &Site) -> Tried {
        let until = Instant::now() + site.limit;
        let addresses = match self.address.resolve(site.trusted) {
            Ok(addresses) => addresses,
            Err(tried) => return tried,
        };
        let mut why = String::new();
        for address in addresses {
            let left = until.saturating_duration_since(Instant::now());
            match self.send(site, address, left) {
                Ok(response) => return self.judge(response).with([format!("answered by {address}")]),
                Err(Failure::Other(why)) => return Tried::failed(why),
                Err(Failure::Unreachable(error)) => why = format!("{address}: {error}"),
            }
        }
        Tried::failed(why)
    }
}

/// The one address that a request goes to, whatever its host is called: that name was resolved before.
#[derive(Debug)]
struct Pinned(SocketAddr);

impl Resolver for Pinned {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut only = self.empty();
        only.push(self.0);
        Ok(only)
    }
}

enum Failure {
    /// Nobody is there: another address may answer.
    Unreachable(io::Error),
    Other(String),
}

impl Http {
    fn send(&self, site: &Site, address: SocketAddr, limit: Duration) -> Result<Response<Body>, Failure> {
        let mut config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .user_agent(concat!("kbpack/", env!("CARGO_PKG_VERSION")));
        if self.uri.scheme_str() == Some("https") {
            config = config.tls_config(authorities::believed());
        }
        let (request, body) = self.request(site).map_err(Failure::Other)?;
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), Pinned(address));
        let sent = match body {
            Some(body) => agent.run(request.map(|()| &body[..])),
            None => agent.run(request),
        };
        sent.map_err(|error| match error {
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Failure::Other(OUT_OF_TIME.into()),
            Error::Io(error) => Failure::Unreachable(error),
            Error::Timeout(_) => Failure::Other(OUT_OF_TIME.into()),
            error => Failure::Other(error.to_string()),
        })
    }

    #[allow(clippy::type_complexity)] // a request and its body
    fn request(&self, site: &Site) -> Result<(Request<()>, Option<Zeroizing<Vec<u8>>>), String> {
        let mut request = Request::new(());
        *request.method_mut() = self.probe.method.as_str().parse().map_err(|_| "its method is none")?;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        for (name, value) in &self.probe.header {
            let value = values::expand(&site.host, value)?;
            let mut value = HeaderValue::from_bytes(&value).map_err(|_| {
                format!("the value of the header {name} has characters that no header can have")
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name).map_err(|error| error.to_string())?, value);
        }
        let body = self.probe.body.as_ref().map(|body| values::expand(&site.host, body)).transpose()?;
        Ok((request, body))
    }

    fn judge(&self, mut response: Response<Body>) -> Tried {
        let status = response.status().as_u16();
        let wanted = self.probe.status.unwrap_or(200);
        let details = [format!("status {status}")];
        if status != wanted {
            let hint = if (300..400).contains(&status) { " (redirects are not followed)" } else { "" };
            return Tried::failed(format!("status {status}, not {wanted}{hint}")).with(details);
        }
        for (name, value) in &self.probe.expect_header {
            let found: Vec<&HeaderValue> = response.headers().get_all(name.as_str()).iter().collect();
            if !found.iter().any(|found| found.as_bytes() == value.as_bytes()) {
                let found = found.first().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                let found =
                    found.map_or_else(|| "missing".to_owned(), |found| self.shown(&format!("'{found}'")));
                return Tried::failed(format!("the header {name} is {found}, not '{value}'")).with(details);
            }
        }
        if self.probe.json.is_empty() {
            return Tried::passed().with(details);
        }
        let body = match response.body_mut().with_config().limit(MAX_BODY).read_to_vec() {
            Ok(body) => Zeroizing::new(body),
            Err(Error::BodyExceedsLimit(_)) => {
                return Tried::failed("the response has more than 1 MiB").with(details)
            }
            Err(Error::Timeout(_)) => return Tried::failed(OUT_OF_TIME).with(details),
            Err(error) => {
                return Tried::failed(format!("the response cannot be read: {error}")).with(details)
            }
        };
        self.fields(&body).map_or_else(Tried::passed, Tried::failed).with(details)
    }

    /// Which field of the response's JSON is not as it must be.
    fn fields(&self, body: &[u8]) -> Option<String> {
        let Ok(document) = serde_json::from_slice::<Value>(body) else {
            return Some("the response is not JSON".to_owned());
        };
        self.probe.json.iter().find_map(|(path, wanted)| match at(&document, path) {
            None => Some(format!("the response has no field {path}")),
            Some(found) if same(found, wanted) => None,
            Some(found) => Some(format!("{path} is {}, not {wanted}", self.shown(&found.to_string()))),
        })
    }

    /// Something of a response. A server may send back what it was sent: then nothing of it is shown.
    fn shown(&self, text: &str) -> String {
        match self.probe.variables().is_empty() {
            true => text.chars().take(MAX_SHOWN).collect(),
            false => "another (not shown, for the request held a secret)".to_owned(),
        }
    }
}

const OUT_OF_TIME: &str = "there was no whole answer in time";

/// The value at a dotted path: names of fields, and numbers of elements from 0.
fn at<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(document, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Equal; numbers by what they are worth.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => a == b || x == y,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A server that answers one request, and the request.
    fn server(answer: &'static str) -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 64 * 1024];
            let mut len = 0;
            // A body comes with the rest in these tests, or directly behind it.
            while !request[..len].windows(4).any(|end| end == b"\r\n\r\n") {
                len += stream.read(&mut request[len..]).unwrap();
            }
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            while let Ok(more @ 1..) = stream.read(&mut request[len..]) {
                len += more;
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request[..len].to_vec()).unwrap()
        });
        (port, heard)
    }

    fn attempt(port: u16, trusted: bool, more: Value) -> Tried {
        let mut probe = json!({"url": format!("http://localhost:{port}/health?x=1")});
        probe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (_dir, site) = site(trusted);
        let env = site.host.home.join(".config/kbpack-env/keys");
        std::fs::create_dir_all(&env).unwrap();
        std::fs::write(env.join("env.sh"), "export KEY='sesame-opens'\n").unwrap();
        Http::new(&serde_json::from_value(probe).unwrap()).unwrap().attempt(&site)
    }

    const HEALTHY: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b\r\n\r\n\
        {\"status\": \"healthy\", \"list\": [{\"n\": 1.0}], \"up\": true, \"k\": 2}";

    #[test]
    fn what_is_sent_and_what_is_expected() {
        let (port, heard) = server(HEALTHY);
        let expected = json!({"status": "healthy", "list.0.n": 1, "up": true, "k": 2});
        let tried = attempt(port, false, json!({"json": expected, "expect-header": {"x-a": "b"}}));
        assert_eq!((tried.verdict, tried.why), (Verdict::Passed, None));
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{heard}");
        assert!(heard.to_lowercase().contains(&format!("host: localhost:{port}\r\n")), "{heard}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (more, why) in [
            (json!({"status": 204}), "status 200, not 204"),
            (json!({"json": {"status": "ill"}}), "status is \"healthy\", not \"ill\""),
            (json!({"json": {"list.1.n": 1}}), "the response has no field list.1.n"),
            (json!({"expect-header": {"X-A": "c"}}), "the header X-A is 'b', not 'c'"),
            (json!({"expect-header": {"X-B": "c"}}), "the header X-B is missing, not 'c'"),
        ] {
            let (port, _) = server(HEALTHY);
            let tried = attempt(port, true, more);
            assert_eq!((tried.verdict, tried.why.as_deref()), (Verdict::Failed, Some(why)));
        }
    }

    #[test]
    fn a_secret_is_sent_and_never_said() {
        let (port, heard) =
            server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"echo\": \"sesame-opens\"}");
        let more = json!({"method": "POST", "header": {"X-API-Key": "$KEY"}, "body": "{\"k\": \"$KEY\", \"p\": \"$$5\"}",
            "json": {"echo": "x"}});
        let tried = attempt(port, true, more);
        let heard = heard.join().unwrap();
        assert!(heard.to_lowercase().contains("x-api-key: sesame-opens\r\n"), "{heard}");
        assert!(heard.ends_with("{\"k\": \"sesame-opens\", \"p\": \"$5\"}"), "{heard}");
        assert!(!format!("{tried:?}").contains("sesame"), "{tried:?}");
        assert_eq!(tried.verdict, Verdict::Failed);
    }

    #[test]
    fn redirects_are_answers() {
        let (port, _) =
            server("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
        let tried = attempt(port, true, json!({}));
        assert_eq!(tried.why.as_deref(), Some("status 302, not 200 (redirects are not followed)"));
    }

    #[test]
    fn a_long_answer_and_no_answer() {
        let long = Box::leak(format!("HTTP/1.1 200 OK\r\n\r\n\"{}\"", "x".repeat(2 << 20)).into_boxed_str());
        let (port, _) = server(long);
        let tried = attempt(port, true, json!({"json": {"a": 1}}));
        assert_eq!(tried.why.as_deref(), Some("the response has more than 1 MiB"));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(attempt(closed, true, json!({})).why.unwrap().contains("refused"));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_dir, mut site) = site(true);
        site.limit = Duration::from_secs(1);
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let probe = serde_json::from_value(json!({"url": url})).unwrap();
        let tried = Http::new(&probe).unwrap().attempt(&site);
        assert_eq!(tried.why.as_deref(), Some(OUT_OF_TIME));
    }

    #[test]
    fn numbers_and_paths() {
        assert!(same(&json!(1), &json!(1.0)) && same(&json!("a"), &json!("a")));
        assert!(!same(&json!(1), &json!(true)) && !same(&json!("1"), &json!(1)));
        assert_eq!(at(&json!({"a": [{"b": 1}]}), "a.0.b"), Some(&json!(1)));
        assert_eq!(at(&json!({"a": 1}), "a.b"), None);
    }
}
