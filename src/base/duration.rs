//! Durations as people write them.

/// A number with a unit (`s`, `m`, `h`, `d`, `w`), in seconds; not 0. The error says what is wanted.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => return Err("a number with s, m, h, d or w, such as 30d".to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| "the number is missing".to_owned())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("90s"), Ok(90));
        for bad in ["", "d", "30", "-1d", "0d", "1y", "99999999999999999999w", "1é"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
