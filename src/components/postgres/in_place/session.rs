//! The session of a replacement, and its transaction: how it is opened, ended, interrupted, and found when it outlives us.

use super::super::address::Login;
use super::super::connect::connect;
use super::super::error::{code_of, failed};
use super::super::quote;
use crate::base::interrupt;
use crate::component::{Error, Result};
use postgres::Client;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// How long one try waits for a lock: less than a server waits before it looks for a deadlock (1 s), so that we are
/// never the reason why a client's transaction is ended; and clients queue behind us for no longer than that.
const LOCK_WAIT: &str = "800ms";
const NAP: Duration = Duration::from_millis(400);
/// How often a transaction is tried anew.
const ATTEMPTS: u32 = 25;
/// How long the server may take to end a session that outlived us.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What the sessions of the run `run` are called on the server.
fn called(run: &str) -> String {
    format!("kbpack {run}")
}

/// A session for the run `run`. What it commits is on the server's disk, whatever the role's settings say.
pub fn open(login: &Login, database: &str, run: &str) -> Result<Client> {
    let mut session = connect(login, database)?;
    let sql = format!(
        "SET application_name = {}; SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
         WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
        quote::literal(&called(run))
    );
    session.batch_execute(&sql).map_err(|e| failed(format_args!("database {database}"), &e))?;
    Ok(session)
}

/// Why something did not work.
pub enum Trouble {
    /// Somebody else was in between: a lock that was not to be had, or a deadlock.
    Busy,
    /// It will not work later either.
    Error(Error),
}

/// What may meet somebody else.
pub type Tried<T> = std::result::Result<T, Trouble>;

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Error(error)
    }
}

impl Trouble {
    /// `what` failed with `error`.
    pub fn of(what: impl Display, error: &postgres::Error) -> Trouble {
        match code_of(error) {
            "55P03" | "40P01" => Trouble::Busy,
            _ => Trouble::Error(failed(what, error)),
        }
    }
}

/// Begins a transaction and does `work` in it, again and again while somebody holds what it needs. The transaction stays
/// open; after an error there is none.
pub fn begin<T>(
    session: &mut Client,
    what: &str,
    mut work: impl FnMut(&mut Client) -> Tried<T>,
) -> Result<T> {
    let begin =
        format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '{LOCK_WAIT}'");
    for _ in 0..ATTEMPTS {
        session.batch_execute(&begin).map_err(|e| failed(what, &e))?;
        let trouble = match work(session) {
            Ok(value) => return Ok(value),
            Err(trouble) => trouble,
        };
        // A session that is lost has nothing to take back, and its own error says more.
        let rolled_back = session.batch_execute("ROLLBACK");
        match trouble {
            Trouble::Error(error) => return Err(error),
            Trouble::Busy => rolled_back.map_err(|e| failed(what, &e))?,
        }
        sleep(NAP);
    }
    Err(Error::not_ready(format_args!("{what}: somebody holds a lock on it all the time")).todo(
        "end the transactions that are open in the database (pg_stat_activity shows them), and run it again",
    ))
}

/// Does `work`, which may take hours, in a way that a signal to us ends. The statement that runs then fails; the session stays.
pub fn until_interrupted<T>(
    login: &Login,
    database: &str,
    session: &mut Client,
    work: impl FnOnce(&mut Client) -> Result<T>,
) -> Result<T> {
    let row = session.query_one("SELECT pg_catalog.pg_backend_pid()", &[]);
    let pid: i32 = row.map_err(|e| failed("the session", &e))?.get(0);
    let done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = None;
            while !done.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(50));
                if interrupt::check().is_err() {
                    // That it cannot be done only means that it takes longer; nor does it once reach every statement.
                    other = other.or_else(|| connect(login, database).ok());
                    let cancel = "SELECT pg_catalog.pg_cancel_backend($1)";
                    let _ = other.as_mut().map(|other| other.execute(cancel, &[&pid]));
                }
            }
        });
        let result = work(session);
        done.store(true, Ordering::Relaxed);
        result
    });
    interrupt::check().map_err(Error::of)?;
    result
}

/// Ends every session of the run but this one, and waits until the server has taken back what they did: one that works on
/// a long statement does not notice that its client was killed.
pub fn end_others(session: &mut Client, run: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.count(*), pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) \
        FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND datname = pg_catalog.current_database() \
        AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'";
    let start = Instant::now();
    loop {
        let row = session.query_one(sql, &[&called(run)]);
        let left: i64 = row.map_err(|e| failed("ending the sessions of the import", &e))?.get(0);
        if left == 0 {
            return Ok(());
        }
        if start.elapsed() > ENDS_WITHIN {
            return Err(Error::not_ready("a session of the import does not end").todo(format_args!(
                "end the sessions called '{}' on the server, and try again",
                called(run)
            )));
        }
        sleep(Duration::from_millis(100));
    }
}
