//! Times as OpenSSH writes them in `allowed_signers`, in UTC: `YYYYMMDD[HHMM[SS]]Z`.

use jiff::civil::DateTime;
use jiff::SignedDuration;

/// Where Unix time begins. Civil time throughout: UTC has no other.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Unix seconds of `YYYYMMDDZ`, `YYYYMMDDHHMMZ` or `YYYYMMDDHHMMSSZ`, from 1970 on. `None` for anything
/// else: without `Z` a time would mean something else on every machine.
pub fn parse_time(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |s| s.parse::<i8>().ok());
    let year = digits[..4].parse().ok()?;
    let (month, day) = (field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let moment = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    u64::try_from(moment.duration_since(EPOCH).as_secs()).ok()
}

/// The 14-digit form of unix seconds. Times after the year 9999 are cut to its last second.
pub fn format_time(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let since = SignedDuration::from_secs(i64::try_from(seconds.min(LAST)).unwrap_or(0));
    EPOCH.saturating_add(since).strftime("%Y%m%d%H%M%SZ").to_string()
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
