//! Times as OpenSSH writes them in `allowed_signers`, in UTC: `YYYYMMDD[HHMM[SS]]Z`.

const DAY: u64 = 86_400;

/// Unix seconds of `YYYYMMDDZ`, `YYYYMMDDHHMMZ` or `YYYYMMDDHHMMSSZ`, from 1970 on. `None` for anything
/// else: without `Z` a time would mean something else on every machine.
pub fn parse_time(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |s| s.parse::<u64>().ok());
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let valid = year >= 1970
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = (1970..year).map(year_days).sum::<u64>()
        + (1..month).map(|m| month_days(year, m)).sum::<u64>()
        + day.checked_sub(1)?;
    valid.then_some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// The 14-digit form of unix seconds. Times after the year 9999 are cut to its last second.
pub fn format_time(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (mut days, rest) = (seconds / DAY, seconds % DAY);
    let mut year = 1970;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}Z", days + 1)
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_days(year: u64) -> u64 {
    365 + u64::from(leap(year))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        for (text, seconds) in [
            ("19700101Z", 0),
            ("20240229Z", 1_709_164_800),
            ("202402291530Z", 1_709_220_600),
            ("20240229153045Z", 1_709_220_645),
            ("20000301000000Z", 951_868_800),
            ("99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(parse_time(text), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "Z",
            "20240101",
            "20230229Z",
            "20241301Z",
            "20240100Z",
            "19691231Z",
            "2024010124Z",
            "202401012460Z",
            "20240101T00Z",
            "+2024010Z",
            "20240101z",
            "é240101Z",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn format_is_the_way_back() {
        for seconds in
            (0..5_000_000_000).step_by(123_456_789).chain([951_782_400, 951_868_799, 253_402_300_799])
        {
            assert_eq!(parse_time(&format_time(seconds)), Some(seconds));
        }
    }
}
