//! The check that a deployed line of `.pgpass` is right: a login with exactly its password, where it says.
//!
//! A server that says no to it fails the check. One that does not answer may be started later: that is told, and no
//! more. A bundle whose signer may not have commands run here has no connection made to another machine.

use super::pgpass::Key;
use crate::base::libpq::address::{Address, Login, DEFAULT_PORT};
use crate::base::libpq::pgpass::Field;
use crate::base::libpq::session::Way;
use crate::base::secret::Secret;
use crate::base::timed::within;
use crate::component::{CheckResult, Error, Result, Scope};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// For one login.
const LIMIT: Duration = Duration::from_secs(5);
/// For all of them.
const BUDGET: Duration = Duration::from_secs(60);
/// A database that nearly every server has.
const MAINTENANCE: &str = "postgres";
/// What a server that trusts everybody lets be known.
const UNASKED: &str = "which proves nothing, for no password is asked for";

/// A line that an import deploys.
pub(super) struct Deployed {
    pub(super) key: Key,
    pub(super) password: Secret,
    /// Whether this machine's own profile has a say in it, and not the bundle alone.
    pub(super) own: bool,
}

/// What a try came to.
enum Tried {
    /// It logged in.
    In { asked: bool },
    /// The server took the password, and has no such database for it.
    Taken(String),
    /// The server refuses it.
    Refused(String),
    /// Nothing is known: the server was not reached, or goes by something else than passwords.
    Unknown(String),
}

/// Where a line's host may be.
struct Place {
    host: Option<String>,
    at: Option<IpAddr>,
    /// Whether its word counts less: another place stands in the line, or any.
    instead: bool,
}

/// Tries each line.
pub(super) fn check(lines: &[Deployed], scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    let until = Instant::now() + BUDGET;
    lines.iter().map(|line| line.check(scope, until)).collect()
}

impl Deployed {
    fn check(&self, scope: &Scope<'_>, until: Instant) -> Result<CheckResult> {
        let name = format!("the password of {} logs in", self.key);
        let skipped =
            |why: String| CheckResult { skipped: Some(why), ..CheckResult::new(name.clone(), None) };
        let [host, port, database, user] = self.key.fields();
        let Some(user) = user.text() else { return Ok(skipped("it names no role".to_owned())) };
        let port = match port {
            Field::Any => DEFAULT_PORT,
            Field::Is(_) => match port.text().and_then(|port| port.parse().ok()) {
                Some(port) => port,
                None => return Ok(skipped("its port is no number".to_owned())),
            },
        };
        let databases = match database {
            Field::Any => vec![MAINTENANCE, user],
            named => named.text().into_iter().collect(),
        };
        if !scope.trusted && !self.own && !is_here(host) {
            let why = "it is for another machine, and the bundle's signer may not have commands run here";
            return Ok(skipped(why.to_owned()));
        }
        let (mut taken, mut unknown) = (None, Vec::new());
        for place in places(host) {
            for named in &databases {
                let said = Address {
                    host: place.host.clone(),
                    port: Some(port),
                    user: Some(user.to_owned()),
                    ..Address::default()
                };
                let (login, _) = said.settle(&scope.host.home, scope.host.uid)?;
                let proven = |what: &str| Ok(CheckResult::new(format!("{name} ({what} on {login})"), None));
                match self.attempt(&login, named, &place, until)? {
                    Tried::In { asked: true } => return proven(&format!("database {named}")),
                    Tried::In { asked: false } => return proven(&format!("{UNASKED}: database {named}")),
                    Tried::Taken(why) if *database == Field::Any => taken = Some(why),
                    Tried::Taken(why) => return Ok(skipped(format!("the server takes it, but: {why}"))),
                    Tried::Refused(why) if !place.instead => return Ok(CheckResult::new(name, Some(why))),
                    Tried::Refused(why) | Tried::Unknown(why) => {
                        unknown.push(why);
                        break;
                    }
                }
            }
            if let Some(why) = taken {
                return Ok(CheckResult::new(format!("{name} (the server takes it; {why})"), None));
            }
        }
        Ok(skipped(unknown.join("; ")))
    }

    fn attempt(&self, login: &Login, database: &str, place: &Place, until: Instant) -> Result<Tried> {
        let limit = LIMIT.min(until.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            return Ok(Tried::Unknown(format!("{login}: there was no time left")));
        }
        let open = |password: Option<Secret>| {
            let (login, database, at) = (login.clone(), database.to_owned(), place.at);
            let work = move || {
                let way = Way { login: &login, database: &database, password: password.as_ref(), limit, at };
                way.open().map(drop)
            };
            within(limit, work).map_err(Error::of)
        };
        let late = || Tried::Unknown(format!("{login}: no answer within {} s", limit.as_secs().max(1)));
        Ok(match open(Some(self.password.clone()))? {
            None => late(),
            Some(Ok(())) => match open(None)? {
                Some(Ok(())) => Tried::In { asked: false },
                _ => Tried::In { asked: true },
            },
            Some(Err(error)) => match error.code().unwrap_or_default() {
                // Whether there is such a database, and whether it may be entered, comes after the password.
                "3D000" | "42501" => Tried::Taken(error.to_string()),
                // A socket that stands in for `localhost` may go by who asks.
                "28000" if place.instead => Tried::Unknown(error.to_string()),
                code if code.starts_with("28") => Tried::Refused(error.to_string()),
                _ => Tried::Unknown(error.to_string()),
            },
        })
    }
}

/// Whether a line's server is this machine, by what it says.
fn is_here(host: &Field) -> bool {
    match host.text() {
        None => *host == Field::Any,
        Some(host) => {
            host == "localhost"
                || host.starts_with('/')
                || host.parse::<IpAddr>().is_ok_and(|number| number.is_loopback())
        }
    }
}

/// Where to try a line for `host`. What any server is meant by is tried on this machine; `localhost` is never looked up.
fn places(host: &Field) -> Vec<Place> {
    let any = *host == Field::Any;
    match host.text() {
        Some(name) if name != "localhost" => {
            vec![Place { host: Some(name.to_owned()), at: None, instead: false }]
        }
        None if !any => Vec::new(),
        _ => {
            let local = |at| Place { host: Some("localhost".to_owned()), at: Some(at), instead: any };
            vec![
                local(Ipv4Addr::LOCALHOST.into()),
                local(Ipv6Addr::LOCALHOST.into()),
                Place { host: None, at: None, instead: true },
            ]
        }
    }
}
