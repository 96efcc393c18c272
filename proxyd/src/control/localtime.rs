//! Local time in the form of ctime(3).
#![expect(unsafe_code, reason = "only the C library knows the local time zone")]

use std::time::Duration;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Mon Nov 23 03:02:41 2026`, of the time since 1970-01-01 UTC.
pub(super) fn ctime(since_epoch: Duration) -> String {
    let Ok(seconds) = libc::time_t::try_from(since_epoch.as_secs()) else {
        return String::new();
    };
    // SAFETY: `tm` is plain integers and a pointer, for which zero is a value; both arguments outlive the call.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut tm).is_null() {
            return String::new();
        }
        tm
    };
    let name = |list: &[&'static str], n: i32| usize::try_from(n).ok().and_then(|n| list.get(n).copied());
    let (day, month) = (name(&DAYS, tm.tm_wday), name(&MONTHS, tm.tm_mon));
    let (day, month) = (day.unwrap_or_default(), month.unwrap_or_default());
    let (hour, minute, second) = (tm.tm_hour, tm.tm_min, tm.tm_sec);
    let (of_month, year) = (tm.tm_mday, i64::from(tm.tm_year) + 1900);
    format!("{day} {month} {of_month:2} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_ctime() {
        let text = ctime(Duration::from_secs(1_795_402_961));
        assert!(
            text.starts_with("Mon Nov 23 ") && text.ends_with(" 2026") && text.len() == 24,
            "{text}"
        );
    }
}
