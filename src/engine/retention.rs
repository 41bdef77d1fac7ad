//! Which bundles of a series to keep: what `restic forget` and `borg prune` do. A pure function of times: no clock, no files.
//!
//! A bundle stays if any rule keeps it. Days, weeks (ISO 8601) and months are those of UTC, so that a policy means the same on every machine.

use jiff::civil::{Date, DateTime};
use jiff::SignedDuration;
use serde::Serialize;
use std::cmp::Reverse;

/// What to keep of each series. All rules are counted from its newest bundle backwards, but `within`, from now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// The last so many.
    pub last: usize,
    /// The newest one of each of the last so many days that have one.
    pub daily: usize,
    /// The same for weeks, from Monday to Sunday.
    pub weekly: usize,
    /// The same for months.
    pub monthly: usize,
    /// All that are younger than so many seconds.
    pub within: Option<u64>,
}

/// Why a bundle stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is the newest of its series, which is never removed.
    Newest,
    /// It is one of the last.
    Last,
    /// It is the newest of a day.
    Daily,
    /// It is the newest of a week.
    Weekly,
    /// It is the newest of a month.
    Monthly,
    /// It is young.
    Within,
    /// An import that is not over needs it.
    Needed,
    /// It holds much less than the one before, and none that is whole came after it.
    Shrunk,
}

/// For each of `times` (Unix times in seconds, of one series) why it stays; it goes if there is no reason. They may stand in any
/// order; of equal ones, the first counts as newer.
pub fn decide(times: impl IntoIterator<Item = u64>, policy: &Policy, now: u64) -> Vec<Vec<Reason>> {
    let times: Vec<u64> = times.into_iter().collect();
    let mut newest_first: Vec<usize> = (0..times.len()).collect();
    newest_first.sort_by_key(|&index| Reverse(times[index]));
    let mut periods = [
        Periods::new(Reason::Daily, policy.daily, |date| (date.year(), date.day_of_year())),
        Periods::new(Reason::Weekly, policy.weekly, |date| {
            let week = date.iso_week_date();
            (week.year(), week.week().into())
        }),
        Periods::new(Reason::Monthly, policy.monthly, |date| (date.year(), date.month().into())),
    ];
    let mut reasons = vec![Vec::new(); times.len()];
    for (rank, &index) in newest_first.iter().enumerate() {
        let reasons: &mut Vec<Reason> = &mut reasons[index];
        reasons.extend((rank == 0).then_some(Reason::Newest));
        reasons.extend((rank < policy.last).then_some(Reason::Last));
        let date = date(times[index]);
        reasons.extend(periods.iter_mut().filter_map(|periods| periods.take(date)));
        let young = policy.within.is_some_and(|within| times[index] >= now.saturating_sub(within));
        reasons.extend(young.then_some(Reason::Within));
    }
    reasons
}

/// A rule that keeps the newest of each of the last so many periods.
struct Periods {
    reason: Reason,
    left: usize,
    of: fn(Date) -> (i16, i16),
    last: Option<(i16, i16)>,
}

impl Periods {
    fn new(reason: Reason, left: usize, of: fn(Date) -> (i16, i16)) -> Self {
        Periods { reason, left, of, last: None }
    }

    /// Asked of each bundle, the newest first.
    fn take(&mut self, date: Date) -> Option<Reason> {
        let period = Some((self.of)(date));
        if self.left == 0 || period == self.last {
            return None;
        }
        self.left -= 1;
        self.last = period;
        Some(self.reason)
    }
}

/// The day in UTC. After the year 9999, its last one.
fn date(seconds: u64) -> Date {
    let since = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(since).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::when::parse_time;

    /// The times that stay under `policy`, in the order given.
    fn kept<'t>(times: &[&'t str], policy: Policy) -> Vec<&'t str> {
        let seconds: Vec<u64> = times.iter().map(|time| parse_time(time).unwrap()).collect();
        let now = parse_time("202611241200Z").unwrap();
        let reasons = decide(seconds, &policy, now);
        times.iter().zip(reasons).filter(|(_, reasons)| !reasons.is_empty()).map(|(time, _)| *time).collect()
    }

    const NONE: Policy = Policy { last: 0, daily: 0, weekly: 0, monthly: 0, within: None };

    #[test]
    fn the_newest_always_stays() {
        assert_eq!(kept(&["20200101Z", "20260101Z", "20250101Z"], NONE), ["20260101Z"]);
        assert!(decide([], &NONE, 0).is_empty());
        assert_eq!(decide([0], &NONE, 0), [[Reason::Newest]]);
        assert_eq!(decide([u64::MAX, 5, u64::MAX], &NONE, 0), [vec![Reason::Newest], vec![], vec![]]);
    }

    #[test]
    fn the_last_ones_by_time_not_by_place() {
        let times = ["202611010000Z", "202611050000Z", "202611030000Z", "202611020000Z"];
        assert_eq!(kept(&times, Policy { last: 2, ..NONE }), ["202611050000Z", "202611030000Z"]);
        assert_eq!(kept(&times, Policy { last: 9, ..NONE }), times);
    }

    #[test]
    fn of_each_day_the_newest_and_days_without_one_do_not_count() {
        let times = [
            "202611240800Z",
            "202611240700Z",
            "202611222359Z",
            "202611220000Z",
            "202611012300Z",
            "202610010000Z",
        ];
        assert_eq!(kept(&times, Policy { daily: 1, ..NONE }), ["202611240800Z"]);
        assert_eq!(
            kept(&times, Policy { daily: 3, ..NONE }),
            ["202611240800Z", "202611222359Z", "202611012300Z"]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_go_over_the_end_of_a_year() {
        // 2026-11-23 is a Monday; 2026-12-28 to 2027-01-03 is week 53.
        assert_eq!(
            kept(&["20261123Z", "20261122Z", "20261116Z", "20261115Z"], Policy { weekly: 2, ..NONE }),
            ["20261123Z", "20261122Z"]
        );
        assert_eq!(
            kept(&["20270103Z", "20261228Z", "20261227Z"], Policy { weekly: 9, ..NONE }),
            ["20270103Z", "20261227Z"]
        );
        // The same number of a week, a year apart.
        assert_eq!(kept(&["20261123Z", "20251124Z"], Policy { weekly: 2, ..NONE }).len(), 2);
    }

    #[test]
    fn of_each_month_the_newest() {
        let times = ["20261124Z", "20261101Z", "20261031Z", "20260930Z", "20251130Z"];
        assert_eq!(kept(&times, Policy { monthly: 3, ..NONE }), ["20261124Z", "20261031Z", "20260930Z"]);
        assert_eq!(
            kept(&times, Policy { monthly: 4, ..NONE }),
            ["20261124Z", "20261031Z", "20260930Z", "20251130Z"]
        );
    }

    #[test]
    fn within_is_counted_from_now() {
        let times = ["202610251200Z", "202610251159Z", "202611241300Z"];
        let month = Policy { within: Some(30 * 86_400), ..NONE };
        assert_eq!(kept(&times, month), ["202610251200Z", "202611241300Z"]);
    }

    #[test]
    fn rules_add_up_and_each_is_named() {
        let times = ["20261124Z", "20261123Z", "20261115Z", "20261001Z"].map(|t| parse_time(t).unwrap());
        let policy = Policy { last: 1, daily: 2, weekly: 2, monthly: 2, within: Some(0) };
        let reasons = decide(times, &policy, parse_time("20261124Z").unwrap());
        use Reason::*;
        assert_eq!(reasons[0], [Newest, Last, Daily, Weekly, Monthly, Within]);
        assert_eq!(reasons[1], [Daily]);
        assert_eq!(reasons[2], [Weekly]);
        assert_eq!(reasons[3], [Monthly]);
    }
}
