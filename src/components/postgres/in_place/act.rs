//! What a commit writes into the journal before it acts.

use super::marker::PREFIX;
use crate::base::fault::Fault;
use crate::component::{Act, Error, Result};
use serde::{Deserialize, Serialize};

/// The one act: what an undo needs is in the marker, which is committed with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Replace {
    /// The transaction of the run that this marker names is committed.
    InPlace {
        /// The database.
        name: String,
        /// The marker's name.
        marker: String,
        /// How many things go aside.
        old: u64,
    },
}

impl Replace {
    /// The act of the run `run`.
    pub fn act(name: &str, run: &str, old: usize) -> Result<Act> {
        let act =
            Replace::InPlace { name: name.to_owned(), marker: format!("{PREFIX}{run}"), old: old as u64 };
        Act::of(&act)
    }

    /// From the journal.
    pub fn read(act: &Act) -> Result<Replace> {
        let bad = |e| Error::new(Fault::Unexpected, format_args!("the journal: {e}"));
        Replace::deserialize(&act.0).map_err(bad)
    }
}

/// What `act` does, in words; `None` if it is of another sort.
pub fn describe(act: &Act) -> Option<String> {
    let Replace::InPlace { name, old, .. } = Replace::read(act).ok()?;
    Some(format!(
        "replace {old} things in database {name}, all at once; they stay under other names until the end"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_says_what_it_is() {
        let act = Replace::act("app", "0123456789abcdef", 7).unwrap();
        assert_eq!(act.0["marker"], "kbpack_in_place_0123456789abcdef");
        assert!(describe(&act).unwrap().starts_with("replace 7 things in database app"));
        assert_eq!(describe(&Act(serde_json::json!({ "op": "swap" }))), None);
    }
}
