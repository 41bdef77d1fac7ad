//! The connection service file (PostgreSQL manual, 34.17): sections of `key=value` lines.

use super::address::{Address, SslMode};
use super::{Error, Result};
use std::path::{Path, PathBuf};

/// The service called `name`, from `PGSERVICEFILE` or `~/.pg_service.conf`.
pub fn find(name: &str, home: &Path) -> Result<Address> {
    let path = std::env::var_os("PGSERVICEFILE").map_or_else(|| home.join(".pg_service.conf"), PathBuf::from);
    let text = std::fs::read_to_string(&path).map_err(|error| Error::Service {
        name: name.to_owned(),
        file: None,
        why: format!("{}: {error}", path.display()),
        remedy: "write the service file, or say host, port, user and database in the profile",
    })?;
    let wrong = |why: &str, remedy| {
        let (name, why) = (name.to_owned(), why.to_owned());
        Error::Service { name, file: Some(path.clone()), why, remedy }
    };
    match section(&text, name) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(wrong("there is no such section", "check the name of the service")),
        Err(why) => Err(wrong(why, "leave there only host, port, user, dbname and sslmode")),
    }
}

fn section(text: &str, name: &str) -> std::result::Result<Option<Address>, &'static str> {
    let header = format!("[{name}]");
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != header);
    if lines.next().is_none() {
        return Ok(None);
    }
    let mut address = Address::default();
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or("a line has no '='")?;
        let value = value.trim().to_owned();
        match key.trim() {
            "host" => address.host = Some(value),
            "port" => address.port = Some(value.parse().map_err(|_| "its port is not a number")?),
            "user" => address.user = Some(value),
            "dbname" => address.database = Some(value),
            "sslmode" => address.sslmode = Some(SslMode::named(&value).ok_or("its sslmode is unknown")?),
            "password" => return Err("it holds a password, which belongs into ~/.pgpass"),
            _ => return Err("it has a key that is not supported"),
        }
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections() {
        let text = "[a]\nhost=x\n# c\n[b]\n host = /run/pg \nport=5433\ndbname=d\n\n[c]\npassword=hunter2\n";
        let b = section(text, "b").unwrap().unwrap();
        assert_eq!(
            (b.host.as_deref(), b.port, b.database.as_deref()),
            (Some("/run/pg"), Some(5433), Some("d"))
        );
        assert_eq!(section(text, "nosuch"), Ok(None));
        assert!(section(text, "c").unwrap_err().contains(".pgpass"));
    }
}
