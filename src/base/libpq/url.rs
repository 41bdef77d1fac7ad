//! Connection URLs (PostgreSQL manual, 34.1.1.2): `postgresql://user@host:port/database?sslmode=...`, one host.

use super::address::{Address, SslMode};

/// Reads one. The error says what is wrong without repeating the text: it may hold a password.
pub fn parse(url: &str) -> Result<Address, &'static str> {
    let rest = url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://"));
    let rest = rest.ok_or("it does not begin with postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err(PASSWORD);
    }
    if place.contains(',') {
        return Err("it names more than one host");
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or("its host has a '[' that is not closed")?,
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    let mut address = Address {
        host: text(host)?,
        port: None,
        user: text(user)?,
        database: text(database)?,
        ..Address::default()
    };
    if let Some(port) = port.strip_prefix(':').filter(|port| !port.is_empty()) {
        address.port = Some(port.parse().map_err(|_| "its port is not a number below 65536")?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("its query has a word without '='")?;
        let value = text(value)?;
        match key {
            "host" => address.host = value,
            "user" => address.user = value,
            "dbname" => address.database = value,
            "port" => {
                let port = value.and_then(|port| port.parse().ok());
                address.port = Some(port.ok_or("its port is not a number below 65536")?);
            }
            "sslmode" => {
                let mode = value.and_then(|mode| SslMode::named(&mode));
                address.sslmode = Some(mode.ok_or("its sslmode is not one of libpq's")?);
            }
            "password" => return Err(PASSWORD),
            _ => return Err("its query has another word than host, port, user, dbname and sslmode"),
        }
    }
    Ok(address)
}

const PASSWORD: &str = "it holds a password, which belongs into ~/.pgpass";

/// Percent-decoded; `None` if empty.
fn text(raw: &str) -> Result<Option<String>, &'static str> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err("it has a '%' without two hex digits"),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    match text.contains('\0') {
        true => Err("it has a NUL in it"),
        false => Ok(Some(text).filter(|text| !text.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let url = parse("postgresql://claude%40x@[::1]:5433/my%20db?sslmode=verify-full").unwrap();
        assert_eq!(url.user.as_deref(), Some("claude@x"));
        assert_eq!((url.host.as_deref(), url.port), (Some("::1"), Some(5433)));
        assert_eq!((url.database.as_deref(), url.sslmode), (Some("my db"), Some(SslMode::VerifyFull)));
        let url = parse("postgres:///db?host=/run/pg&port=1").unwrap();
        assert_eq!((url.host.as_deref(), url.port, url.user), (Some("/run/pg"), Some(1), None));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for (url, part) in [
            ("mysql://x", "begin"),
            ("postgresql://u:hunter2@h/d", "password"),
            ("postgresql://u@h/d?password=hunter2", "password"),
            ("postgresql://h1,h2/d", "more than one"),
            ("postgresql://h:99999/d", "port"),
            ("postgresql://h/d?x=1", "another word"),
            ("postgresql://h/%zz", "hex digits"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
}
