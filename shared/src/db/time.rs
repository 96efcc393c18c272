//! Points in time as databases keep them: Julian days, `YYYY-MM-DD HH:MM:SS` in local time or UTC.

use std::mem;

const UNIX_EPOCH_JULIAN: f64 = 2_440_587.5;
const DAY: i64 = 86_400;

/// Seconds since 1970 as a Julian day, the form of SQLite's `julianday()`.
pub(super) fn to_julian(seconds: i64) -> f64 {
    UNIX_EPOCH_JULIAN + seconds as f64 / DAY as f64
}

/// A Julian day as seconds since 1970; values past the year 9999 are seconds already.
pub(super) fn from_julian(day: f64) -> i64 {
    // SQLite's own date functions draw the same line.
    const LAST: f64 = 5_373_484.5;
    if (0.0..=LAST).contains(&day) {
        ((day - UNIX_EPOCH_JULIAN) * DAY as f64).round() as i64
    } else {
        day as i64
    }
}

/// Writes `YYYY-MM-DD HH:MM:SS` in UTC.
pub fn to_utc(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days.clamp(-30_000_000, 30_000_000));
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Reads `YYYY-MM-DD[ HH:MM[:SS[.fraction]]]` as UTC; a `T` may stand for the blank.
pub fn from_utc(text: &str) -> Option<i64> {
    let [year, month, day, hour, minute, second] = fields(text)?;
    Some(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

/// Writes `YYYY-MM-DD HH:MM:SS` in the local time zone.
///
/// Kamailio: db_mysql and db_postgres convert with the server's own zone, so shared tables must too.
pub fn to_local(seconds: i64) -> String {
    to_utc(seconds.saturating_add(offset_at(seconds)))
}

/// Reads the same form in the local time zone.
pub fn from_local(text: &str) -> Option<i64> {
    let as_utc = from_utc(text)?;
    // The offset of the answer is wanted; one correction is right except inside the hour a clock change repeats.
    let guess = as_utc.saturating_sub(offset_at(as_utc));
    Some(as_utc.saturating_sub(offset_at(guess)))
}

/// Seconds that local time is ahead of UTC at a moment.
#[expect(
    unsafe_code,
    reason = "libc::localtime_r is the only door to the system's time zone"
)]
fn offset_at(seconds: i64) -> i64 {
    let moment: libc::time_t = seconds;
    // SAFETY: both pointers are valid for the call, and `tm` is plain data for which zeros are a value.
    let broken_down = unsafe {
        let mut tm: libc::tm = mem::zeroed();
        (!libc::localtime_r(&moment, &mut tm).is_null()).then_some(tm)
    };
    broken_down.map_or(0, |tm| tm.tm_gmtoff)
}

fn fields(text: &str) -> Option<[i64; 6]> {
    let text = text.trim();
    let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let clock = clock.split(['.', 'Z', '+']).next()?;
    let mut clock = clock.splitn(3, ':').map(number);
    let (hour, minute) = (clock.next()??, clock.next()??);
    let second = clock.next().unwrap_or(Some(0))?;
    let valid = year <= 9999 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let valid = valid && hour < 24 && minute < 60 && second <= 60;
    valid.then_some([year, month, day, hour, minute, second])
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; years are counted from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        let table = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_906_234_335, "2030-05-28 21:32:15"),
            (-1, "1969-12-31 23:59:59"),
        ];
        for (seconds, text) in table {
            assert_eq!(to_utc(seconds), text);
            assert_eq!(from_utc(text), Some(seconds));
        }
        assert_eq!(from_utc("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(from_utc("2000-02-29"), Some(951_782_400));
        for bad in [
            "",
            "x",
            "2000-13-01",
            "2000-01-01 25:00:00",
            "99999-01-01",
            "2000-01-01 0",
        ] {
            assert_eq!(from_utc(bad), None, "{bad}");
        }
        assert_eq!(from_julian(2_440_587.5), 0);
        assert_eq!(from_julian(1_906_234_335.0), 1_906_234_335);
    }

    proptest! {
        #[test]
        fn round_trips(seconds in 0i64..250_000_000_000) {
            prop_assert_eq!(from_utc(&to_utc(seconds)), Some(seconds));
            prop_assert_eq!(from_julian(to_julian(seconds)), seconds);
            let again = from_local(&to_local(seconds)).unwrap();
            prop_assert!((again - seconds).abs() <= 7200);
        }
    }
}
