//! Databases that this machine knows, for a first profile.

use crate::base::libpq::address::Address;
use crate::base::libpq::{pgpass, url};
use crate::base::secret::Secret;
use crate::component::{Host, Suggestion};
use serde_json::Value;

/// Those of `$DATABASE_URL` and of `~/.pgpass`: of its lines, those for one database and one user.
pub fn suggest(host: &Host) -> Vec<Suggestion> {
    let named = std::env::var("DATABASE_URL").ok().and_then(|text| url::parse(&without_password(&text)).ok());
    let file = Secret::from(std::fs::read(pgpass::place(&host.home)).unwrap_or_default());
    let listed = pgpass::lines(file.expose()).filter_map(pgpass::entry).filter_map(|(fields, _)| {
        let [host, port, database, user] = fields.each_ref().map(|field| field.text().map(str::to_owned));
        let port = port.map(|port| port.parse()).transpose().ok()?;
        Some(Address { host, port, user: Some(user?), database: Some(database?), ..Address::default() })
    });
    named.into_iter().chain(listed).filter_map(suggestion).collect()
}

fn suggestion(address: Address) -> Option<Suggestion> {
    let Address { host, port, user, database, sslmode, .. } = address;
    let database = database?;
    let server = host.clone().unwrap_or_else(|| "this machine".to_owned());
    let texts = [("host", host), ("user", user), ("database", Some(database.clone()))];
    let mut options: Vec<(&'static str, Value)> =
        texts.into_iter().filter_map(|(key, text)| Some((key, text?.into()))).collect();
    options.extend(port.map(|port| ("port", port.into())));
    options.extend(sslmode.map(|mode| ("sslmode", mode.word().into())));
    Some(Suggestion { about: format!("the database {database} on {server}"), name: database, options })
}

/// A URL without the password that one for other programs has in it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((login, server)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{server}{}", &rest[end..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_taken_along() {
        for (url, without) in [
            (
                "postgresql://ada:hunter2@db:5433/shop?sslmode=require",
                "postgresql://ada@db:5433/shop?sslmode=require",
            ),
            ("postgres://ada:a@b:c@db/shop", "postgres://ada@db/shop"),
            ("postgres:///shop?host=/run", "postgres:///shop?host=/run"),
        ] {
            assert_eq!(without_password(url), without);
            assert!(url::parse(&without_password(url)).is_ok());
        }
    }

    #[test]
    fn lines_for_one_database_are() {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 1, own: Vec::new(), maps: Vec::new() };
        let lines = "# x\nlocalhost:5432:shop:ada:p\nlocalhost:*:*:postgres:p\n*:*:state:ada:p\n";
        std::fs::write(home.path().join(".pgpass"), lines).unwrap();
        let found = suggest(&host);
        let shop = found.iter().find(|found| found.name == "shop").unwrap();
        assert_eq!(shop.about, "the database shop on localhost");
        let keys: Vec<&str> = shop.options.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["host", "user", "database", "port"]);
        let state = found.iter().find(|found| found.name == "state").unwrap();
        assert_eq!(state.options, [("user", "ada".into()), ("database", "state".into())]);
    }
}
