//! What a bundle, or this machine's own profile, leaves to a person: which of it is still to be done here. Looks, and runs
//! nothing.

use crate::component::{Finding, Host, NamedSecret, Severity};
use crate::engine::checks::record::secret_in;
use crate::engine::checks::Origin;
use crate::engine::events::Events;
use crate::engine::profile::{Profile, ProfileError};
use crate::format::{Done, Todo};
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// How long a port of this machine is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thing that is left to a person.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedTodo {
    /// Who asks for it.
    pub origin: Origin,
    /// What it is, and what shows that it is done. From a bundle: escape it before showing.
    #[serde(flatten)]
    pub todo: Todo,
}

/// What of `bundle`, and of this machine's own profile, is still to be done. One of the own stands in the place of the
/// bundle's of the same text.
pub fn open(bundle: &[Todo], profile: Option<&Profile>, host: &Host) -> Vec<PlannedTodo> {
    let own = profile.map_or(&[][..], |profile| &profile.todos);
    let mine = |todo: &Todo| own.iter().find(|other| other.text == todo.text);
    let of_profile = |todo: &Todo| PlannedTodo { origin: Origin::Profile, todo: todo.clone() };
    let of_bundle = |todo: &Todo| PlannedTodo { origin: Origin::Bundle, todo: todo.clone() };
    let asked = bundle.iter().map(|todo| mine(todo).map_or_else(|| of_bundle(todo), of_profile));
    let added = own.iter().filter(|todo| !bundle.iter().any(|other| other.text == todo.text));
    let all = asked.chain(added.map(of_profile));
    all.filter(|planned| is_open(&planned.todo, host)).collect()
}

/// Those of `todos` that are open by now.
pub fn still_open(todos: &mut Vec<PlannedTodo>, host: &Host) {
    todos.retain(|planned| is_open(&planned.todo, host));
}

/// Tells of them where an import stops before it has shown a plan: one of them may be what it lacks.
pub fn tell(todos: &[PlannedTodo], events: &dyn Events) {
    for PlannedTodo { todo, .. } in todos {
        let finding = Finding::new(Severity::Warning, format!("{} (by hand)", todo.text));
        let finding = match todo.run.is_empty() {
            true => finding,
            false => finding.todo(todo.run.join("; ")),
        };
        events.finding("todo", &finding);
    }
}

/// The todos of a profile, for a bundle. One that holds a secret is refused: it is shown to people.
pub fn that_travel(profile: &Profile, secrets: &[NamedSecret]) -> Result<Vec<Todo>, ProfileError> {
    for todo in &profile.todos {
        let table = serde_json::to_value(todo).unwrap_or_default();
        if let Some(secret) = secret_in(&table, secrets) {
            let (path, secret) = (profile.path.clone(), secret.name.clone());
            return Err(ProfileError::TodoHoldsSecret { path, text: todo.text.clone(), secret });
        }
    }
    Ok(profile.todos.clone())
}

fn is_open(todo: &Todo, host: &Host) -> bool {
    !todo.unless.as_ref().is_some_and(|done| holds(done, host))
}

fn holds(done: &Done, host: &Host) -> bool {
    match done {
        Done::Program(name) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.is_absolute() && can_run(&folder.join(name)))
        }
        Done::Path(text) => host.expand(text).is_some_and(|path| path.symlink_metadata().is_ok()),
        Done::Port(port) => {
            let here = [
                SocketAddr::from((Ipv4Addr::LOCALHOST, port.get())),
                (Ipv6Addr::LOCALHOST, port.get()).into(),
            ];
            here.iter().any(|address| TcpStream::connect_timeout(address, PATIENCE).is_ok())
        }
    }
}

fn can_run(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};
    use std::net::TcpListener;

    fn todos(tables: Value) -> Vec<Todo> {
        serde_json::from_value(tables).unwrap()
    }

    fn texts(planned: &[PlannedTodo]) -> Vec<(&str, Origin)> {
        planned.iter().map(|planned| (planned.todo.text.as_str(), planned.origin)).collect()
    }

    #[test]
    fn what_is_done_is_not_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 0, own: vec![], maps: vec![] };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::os::unix::fs::symlink("nowhere", home.path().join("link")).unwrap();
        let bundle = todos(json!([
            {"text": "always"},
            {"text": "sh", "unless": {"program": "sh"}},
            {"text": "no program", "unless": {"program": "kbpack-no-such"}},
            {"text": "link", "unless": {"path": "~/link"}},
            {"text": "no path", "unless": {"path": "~/none"}},
            {"text": "port", "unless": {"port": port}},
        ]));
        let bundles = |text| (text, Origin::Bundle);
        let mut planned = open(&bundle, None, &host);
        assert_eq!(texts(&planned), ["always", "no program", "no path"].map(bundles));
        std::fs::write(home.path().join("none"), "").unwrap();
        still_open(&mut planned, &host);
        assert_eq!(texts(&planned), ["always", "no program"].map(bundles));
        drop(listener);
        let planned = open(&bundle, None, &host);
        assert_eq!(texts(&planned), ["always", "no program", "port"].map(bundles));
    }

    #[test]
    fn the_own_profile_has_the_last_word() {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 0, own: vec![], maps: vec![] };
        let path = home.path().join("profile.toml");
        let own = "[[todo]]\ntext = \"a\"\nunless = { program = \"sh\" }\n[[todo]]\ntext = \"b\"\nrun = [\"mine\"]\n\
            [[todo]]\ntext = \"c\"\n";
        std::fs::write(&path, own).unwrap();
        let profile = Profile::read(&path).unwrap();
        let bundle = todos(json!([{"text": "a"}, {"text": "b", "run": ["theirs"]}, {"text": "d"}]));
        let planned = open(&bundle, Some(&profile), &host);
        let expected = [("b", Origin::Profile), ("d", Origin::Bundle), ("c", Origin::Profile)];
        assert_eq!(texts(&planned), expected);
        assert_eq!(planned[0].todo.run, ["mine"]);
    }

    #[test]
    fn a_secret_does_not_travel_in_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile.toml");
        std::fs::write(&path, "[[todo]]\ntext = \"a\"\nrun = [\"curl -Hx:hunter2-and-more\"]\n").unwrap();
        let secret = NamedSecret { name: "$PW".into(), value: b"hunter2-and-more".to_vec().into() };
        let profile = Profile::read(&path).unwrap();
        let error = that_travel(&profile, &[secret]).unwrap_err().to_string();
        assert!(error.ends_with("the todo 'a' holds the value of $PW"), "{error}");
        assert_eq!(that_travel(&profile, &[]).unwrap().len(), 1);
    }
}
