//! Target: roles that the server lacks and that are made for the import, with a login where a password is known for it.

use super::address::{Login, Place, SOCKET_FOLDERS};
use crate::base::fault::Fault;
use crate::base::libpq::pgpass::{self, Field};
use crate::base::secret::Secret;
use crate::component::{self, Change, ChangeKind, Error, Result};
use std::net::IpAddr;
use std::path::Path;

/// Where the password of a role is known from.
pub enum Known {
    /// Another component of the same import brings it; the value, as soon as that is known.
    Import(Option<Secret>),
    /// This machine's own file of passwords has it.
    Here(Secret),
}

/// What is known of the password of `role` on the server of `login`. A line of `.pgpass` counts that names the role, and
/// whose host and port may be that server; one for `database` before one for another, for a role has one password.
pub fn known(
    login: &Login,
    database: &str,
    role: &str,
    brought: &[component::Login],
) -> Result<Option<Known>> {
    let hosts = hosts(login);
    let port = login.port.to_string();
    let is_its = |line: &[Field; 4]| {
        hosts.iter().any(|host| line[0].matches(host.as_bytes()))
            && line[1].matches(port.as_bytes())
            && line[3] == Field::Is(role.as_bytes().to_vec())
    };
    let here = |line: &[Field; 4]| !line[2].matches(database.as_bytes());
    let mut lines: Vec<_> = brought.iter().filter(|login| is_its(&login.line)).collect();
    lines.sort_by_key(|login| here(&login.line));
    if let Some(first) = lines.first() {
        return Ok(Some(Known::Import(first.password.clone())));
    }
    let Some(file) = pgpass::read(&pgpass::place(login.home()))? else { return Ok(None) };
    let mut lines: Vec<_> =
        pgpass::lines(&file).filter_map(pgpass::entry).filter(|(line, _)| is_its(line)).collect();
    lines.sort_by_key(|(line, _)| here(line));
    Ok(lines.into_iter().next().map(|(_, password)| Known::Here(password)))
}

/// What a plan says of roles that are made.
pub struct Made {
    /// Each of them, and whether it may log in.
    pub changes: Vec<Change>,
    /// Logins that there were not before.
    pub destinations: Vec<String>,
}

/// What a plan says of `roles` that are made on the server of `login`.
pub fn made(login: &Login, database: &str, roles: &[String], brought: &[component::Login]) -> Result<Made> {
    let mut made = Made { changes: Vec::new(), destinations: Vec::new() };
    for role in roles {
        let known = known(login, database, role, brought)?;
        if known.is_some() {
            made.destinations.push(format!("a login of role {role} on {login}"));
        }
        let how = match known {
            Some(Known::Import(_)) => "may log in, with the password that this import brings to .pgpass",
            Some(Known::Here(_)) => "may log in, with its password of this machine's .pgpass",
            None => "may not log in: no line of .pgpass has a password for it",
        };
        made.changes.push(Change { kind: ChangeKind::Added, what: format!("role {role}: {how}") });
    }
    Ok(made)
}

/// What the server may be called: on this machine, by any of the names for that.
fn hosts(login: &Login) -> Vec<String> {
    let mut hosts = login.pgpass_hosts();
    let local = match &login.place {
        Place::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|n| n.is_loopback()),
        Place::Socket(folder) => SOCKET_FOLDERS.iter().any(|default| folder == Path::new(default)),
    };
    if local {
        let names = ["localhost", "127.0.0.1", "::1"].into_iter().chain(SOCKET_FOLDERS);
        hosts.extend(names.map(str::to_owned));
    }
    hosts
}

/// `roles`, each with its password, if one is known.
pub fn passwords(
    login: &Login,
    database: &str,
    roles: &[String],
    brought: &[component::Login],
) -> Result<Vec<(String, Option<Secret>)>> {
    let password = |role: &String| match known(login, database, role, brought)? {
        Some(Known::Import(None)) => {
            let what = format!("the password of role {role} is still open");
            Err(Error::new(Fault::Unexpected, what))
        }
        Some(Known::Import(Some(password)) | Known::Here(password)) => Ok((role.clone(), Some(password))),
        None => Ok((role.clone(), None)),
    };
    roles.iter().map(password).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::libpq::address::Address;

    fn line(text: &str) -> component::Login {
        let (line, password) = pgpass::entry(text.as_bytes()).unwrap();
        component::Login { line, password: Some(password) }
    }

    #[test]
    fn a_line_that_names_the_role_and_may_be_the_server_counts() {
        let home = tempfile::tempdir().unwrap();
        let at = |host: &str| {
            let said = Address { host: Some(host.into()), user: Some("ada".into()), ..Address::default() };
            said.settle(home.path(), 0).unwrap().0
        };
        let found = |login: &Login, lines: &[&str]| {
            let brought: Vec<_> = lines.iter().map(|text| line(text)).collect();
            match known(login, "app", "bob", &brought).unwrap() {
                Some(Known::Import(password)) => password.map(|p| p.expose().to_vec()),
                _ => None,
            }
        };
        let (local, far, own) = (at("127.0.0.1"), at("db.example.org"), at("/srv/pg"));
        assert_eq!(found(&local, &["localhost:5432:x:bob:1", "localhost:5432:app:bob:2"]).unwrap(), b"2");
        assert_eq!(found(&local, &["/var/run/postgresql:*:*:bob:3"]).unwrap(), b"3");
        assert_eq!(found(&local, &["localhost:5432:app:*:4", "localhost:5433:app:bob:5"]), None);
        assert_eq!(found(&far, &["localhost:5432:app:bob:6"]), None);
        assert_eq!(found(&far, &["*:5432:app:bob:7"]).unwrap(), b"7");
        assert_eq!(found(&own, &["/srv/pg:5432:app:bob:8"]).unwrap(), b"8");
    }
}
