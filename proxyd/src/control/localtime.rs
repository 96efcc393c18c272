//! Local time in the forms of ctime(3) and RFC 3339.
#![expect(unsafe_code, reason = "only the C library knows the local time zone")]

use std::time::Duration;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Mon Nov 23 03:02:41 2026`, of the time since 1970-01-01 UTC.
pub(super) fn ctime(since_epoch: Duration) -> String {
    let Some(tm) = broken_down(since_epoch) else {
        return String::new();
    };
    let name = |list: &[&'static str], n: i32| usize::try_from(n).ok().and_then(|n| list.get(n).copied());
    let (day, month) = (name(&DAYS, tm.tm_wday), name(&MONTHS, tm.tm_mon));
    let (day, month) = (day.unwrap_or_default(), month.unwrap_or_default());
    let (hour, minute, second) = (tm.tm_hour, tm.tm_min, tm.tm_sec);
    let (of_month, year) = (tm.tm_mday, i64::from(tm.tm_year) + 1900);
    format!("{day} {month} {of_month:2} {hour:02}:{minute:02}:{second:02} {year}")
}

/// `2026-11-23T03:02:41.123456+00:00`, of the time since 1970-01-01 UTC.
pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    let Some(tm) = broken_down(since_epoch) else {
        return String::new();
    };
    let (year, month, day) = (i64::from(tm.tm_year) + 1900, tm.tm_mon + 1, tm.tm_mday);
    let (hour, minute, second) = (tm.tm_hour, tm.tm_min, tm.tm_sec);
    let micros = since_epoch.subsec_micros();
    let sign = if tm.tm_gmtoff < 0 { '-' } else { '+' };
    let offset = tm.tm_gmtoff.unsigned_abs() / 60;
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{sign}{:02}:{:02}",
        offset / 60,
        offset % 60
    )
}

/// The fields of local time; none beyond what the C library counts.
fn broken_down(since_epoch: Duration) -> Option<libc::tm> {
    let seconds = libc::time_t::try_from(since_epoch.as_secs()).ok()?;
    // SAFETY: `tm` is plain integers and a pointer, for which zero is a value; both arguments outlive the call.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        (!libc::localtime_r(&raw const seconds, &raw mut tm).is_null()).then_some(tm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_rfc3339() {
        let text = rfc3339(Duration::new(1_795_402_961, 1_002_000));
        assert!(
            text.starts_with("2026-11-2") && text.get(19..26) == Some(".001002") && text.len() == 32,
            "{text}"
        );
    }

    #[test]
    fn has_the_shape_of_ctime() {
        let text = ctime(Duration::from_secs(1_795_402_961));
        assert!(
            text.starts_with("Mon Nov 23 ") && text.ends_with(" 2026") && text.len() == 24,
            "{text}"
        );
    }
}
