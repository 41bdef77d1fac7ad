//! What the source checks for the target of a ticket.

use super::*;
use crate::base::name::ComponentName;
use crate::component::{
    Act, Against, Captured, CheckResult, Component, Journal, Listed, Plan, Progress, Scope, StreamSink,
    StreamSource, Survey, Thing, UndoStrength,
};
use crate::engine::ticket::document::tests::sample;
use std::path::PathBuf;
use std::sync::Mutex;

type Outcome<T> = crate::component::Result<T>;

/// A component of kind `git` that claims a path and refuses a target that says `{"bare": true}`.
struct Picky(PathBuf);

impl Component for Picky {
    fn claims(&self) -> Outcome<Vec<Claim>> {
        Ok(vec![Claim::Path(self.0.clone())])
    }
    fn suits(&self, there: &Value) -> Vec<Finding> {
        let severity = if there["bare"] == true { Severity::Refusal } else { Severity::Note };
        vec![Finding::new(severity, format_args!("it says {there}"))]
    }
    // An export for a ticket asks for nothing else.
    fn undo_strength(&self) -> UndoStrength {
        unreachable!()
    }
    fn survey(&self, _: &Scope<'_>) -> Outcome<Survey> {
        unreachable!()
    }
    fn capture(&self, _: &Scope<'_>, _: &dyn StreamSink) -> Outcome<Captured> {
        unreachable!()
    }
    fn list(&self, _: &dyn StreamSource, _: &mut dyn FnMut(Listed)) -> Outcome<()> {
        unreachable!()
    }
    fn holds(&self, _: &dyn StreamSource, _: &Against<'_>) -> Outcome<Vec<Thing>> {
        unreachable!()
    }
    fn present(&self, _: &Scope<'_>, _: &Against<'_>) -> Outcome<Option<Vec<Thing>>> {
        unreachable!()
    }
    fn plan(&self, _: &Scope<'_>, _: &dyn StreamSource) -> Outcome<Plan> {
        unreachable!()
    }
    fn stage(&self, _: &Scope<'_>, _: &Plan, _: &dyn StreamSource) -> Outcome<()> {
        unreachable!()
    }
    fn check_staged(&self, _: &Scope<'_>, _: &Plan) -> Outcome<Vec<CheckResult>> {
        unreachable!()
    }
    fn commit(&self, _: &Scope<'_>, _: &Plan, _: &mut dyn Journal) -> Outcome<()> {
        unreachable!()
    }
    fn describe(&self, _: &Act) -> String {
        unreachable!()
    }
    fn undo(&self, _: &Scope<'_>, _: &[Act]) -> Outcome<Vec<Finding>> {
        unreachable!()
    }
    fn check(&self, _: &Scope<'_>, _: &Plan) -> Outcome<Vec<CheckResult>> {
        unreachable!()
    }
    fn finalise(&self, _: &Scope<'_>, _: &[Act]) -> Outcome<()> {
        unreachable!()
    }
}

/// Hears findings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

impl Events for Heard {
    fn step(&self, _: &str) {}
    fn finding(&self, of: &str, finding: &Finding) {
        self.0.lock().unwrap().push(format!("{of}: {}", finding.what));
    }
}

/// What comes of a component of `bytes` at `path` for a target whose `git` says `says` and whose home has 100 bytes free.
fn checked(path: &str, bytes: u64, says: Value, no_space_check: bool) -> (Result<()>, Vec<String>) {
    let name = ComponentName::new("repository").unwrap();
    let mut document = sample();
    document.kinds.insert("git".to_owned(), says);
    document.space = vec![Space { mount: "/home".into(), free: 100 }];
    let ticket = Believed { place: "t".into(), principal: "beta".into(), document, bytes: Vec::new() };
    let survey = Survey { bytes, ..Survey::default() };
    let surveyed = Surveyed { name: name.clone(), kind: "git".into(), survey, left_out: Vec::new() };
    let host = Host { home: "/home/ada".into(), uid: 1000, own: vec![], maps: vec![] };
    let heard = Heard::default();
    let components: Vec<Named> = vec![(name, Box::new(Picky(path.into())))];
    let outcome = For { tickets: vec![ticket], no_space_check, incremental: false }.check(
        &components,
        &[surveyed],
        &host,
        &heard,
    );
    (outcome, heard.0.into_inner().unwrap())
}

#[test]
fn a_kind_hears_what_its_like_says_there_and_may_refuse() {
    let says = |bare: bool| serde_json::json!({ "bare": bare });
    let (outcome, heard) = checked("/home/ada/src", 1, says(false), false);
    outcome.unwrap();
    assert_eq!(heard, ["target beta: it says {\"bare\":false}"]);
    let (outcome, _) = checked("/home/ada/src", 1, says(true), false);
    let error = outcome.unwrap_err();
    assert!(matches!(error, EngineError::Refused(..)), "{error}");
    assert!(error.to_string().contains("component 'repository': it says"), "{error}");
}

#[test]
fn only_what_goes_into_the_home_must_fit_there() {
    let free = || serde_json::json!({});
    let no_space = |outcome| {
        matches!(outcome, Err(EngineError::Ticket { error: TicketError::NoSpace { need: 101, .. }, .. }))
    };
    assert!(no_space(checked("/home/ada/src", 101, free(), false).0));
    checked("/home/ada/src", 101, free(), true).0.unwrap();
    let (outcome, heard) = checked("/srv/src", 101, free(), false);
    outcome.unwrap();
    assert!(
        heard.iter().any(|line| line.contains("outside the home") && line.contains("/srv/src")),
        "{heard:?}"
    );
}

fn surveyed(kind: &str) -> Surveyed {
    let name = ComponentName::new("app").unwrap();
    Surveyed { name, kind: kind.into(), survey: Survey::default(), left_out: Vec::new() }
}

#[test]
fn an_older_kbpack_and_an_unknown_kind() {
    let there = sample();
    assert_eq!(can_read(&there, &[surveyed("files"), surveyed("git")]), Ok(()));
    let unknown = can_read(&there, &[surveyed("files"), surveyed("postgres")]);
    assert!(matches!(unknown, Err(TicketError::UnknownKind { kind, .. }) if kind == "postgres"));
    let old = Ticket { reads: u64::from(FORMAT_VERSION) - 1, ..sample() };
    assert!(matches!(can_read(&old, &[]), Err(TicketError::OldKbpack { .. })));
}

#[test]
fn room_is_that_of_the_file_system_that_holds_the_home() {
    let space = |mount: &str, free| Space { mount: mount.into(), free };
    let there = |space: Vec<Space>| Ticket { space, ..sample() };
    let only_home = there(vec![space("/home", 100), space("/home/other", 1), space("/homely", 1)]);
    assert_eq!(has_room(&only_home, 100), Ok(()));
    assert!(matches!(has_room(&only_home, 101), Err(TicketError::NoSpace { free: 100, .. })));
    // The deeper one.
    let nested = there(vec![space("/", 1), space("/home/ada", 100)]);
    assert_eq!(has_room(&nested, 50), Ok(()));
    // Nothing is known: nothing is refused.
    assert_eq!(has_room(&there(Vec::new()), u64::MAX), Ok(()));
}

#[test]
fn what_differs_is_said() {
    let host = |home: &str, uid| Host { home: home.into(), uid, own: vec![], maps: vec![] };
    let said = |host: &Host, outside: &[String]| differences(&sample(), host, outside);
    assert_eq!(said(&host("/home/ada", 1000), &[]), []);
    let all = said(&host("/root", 0), &["/etc/app".to_owned()]);
    assert_eq!(all.len(), 3);
    assert!(all[0].what.contains("/home/ada") && all[0].what.contains("/root"), "{all:?}");
    assert!(all[2].what.contains("/etc/app"), "{all:?}");
}
