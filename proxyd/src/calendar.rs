//! Broken-down time and its formats (localtime_r(3), gmtime_r(3), strftime(3), RFC 3339).
#![expect(
    unsafe_code,
    reason = "the C library knows the machine's time zone and its names; every pointer is to a local"
)]

use std::ffi::CString;
use std::time::Duration;

/// A broken-down time.
pub(crate) struct Calendar(libc::tm);

/// A Unix time in the machine's time zone.
pub(crate) fn local(seconds: i64) -> Calendar {
    let mut tm = blank();
    let seconds: libc::time_t = seconds;
    // SAFETY: both pointers are valid for the call, which keeps neither.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    Calendar(tm)
}

/// A Unix time in UTC.
pub(crate) fn utc(seconds: i64) -> Calendar {
    let mut tm = blank();
    let seconds: libc::time_t = seconds;
    // SAFETY: as above.
    unsafe { libc::gmtime_r(&raw const seconds, &raw mut tm) };
    Calendar(tm)
}

fn blank() -> libc::tm {
    // SAFETY: `tm` is plain integers and a pointer that may be null.
    unsafe { std::mem::zeroed() }
}

/// A time as `strftime` writes it; empty when that is longer than 1024 bytes.
pub(crate) fn format(pattern: &[u8], time: &Calendar) -> Vec<u8> {
    let Ok(pattern) = CString::new(pattern) else {
        return Vec::new();
    };
    let mut out = vec![0u8; 1024];
    // SAFETY: `out` has the length that is passed, `pattern` ends in a zero byte, the zone's name is static.
    let written = unsafe {
        libc::strftime(
            out.as_mut_ptr().cast(),
            out.len(),
            pattern.as_ptr(),
            &raw const time.0,
        )
    };
    out.truncate(written);
    out
}

/// `2026-11-23T03:02:41.123456+00:00` in the machine's time zone, of the time since 1970-01-01 UTC.
pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    let time = local(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX));
    let seconds = format(b"%Y-%m-%dT%H:%M:%S", &time);
    let (micros, ahead) = (since_epoch.subsec_micros(), time.0.tm_gmtoff);
    let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.unsigned_abs() / 60);
    format!(
        "{}.{micros:06}{sign}{:02}:{:02}",
        String::from_utf8_lossy(&seconds),
        minutes / 60,
        minutes % 60
    )
}

impl Calendar {
    /// `Mon Nov 23 03:02:41 2026`, as ctime(3) writes it.
    pub(crate) fn ctime(&self) -> Vec<u8> {
        format(b"%a %b %e %H:%M:%S %Y", self)
    }

    /// A field by the name that `$time(name)` gives it.
    pub(crate) fn field(&self, field: Field) -> i64 {
        let tm = &self.0;
        i64::from(match field {
            Field::Sec => tm.tm_sec,
            Field::Min => tm.tm_min,
            Field::Hour => tm.tm_hour,
            Field::Mday => tm.tm_mday,
            Field::Mon => tm.tm_mon + 1,
            Field::Year => tm.tm_year.saturating_add(1900),
            Field::Wday => tm.tm_wday + 1,
            Field::Yday => tm.tm_yday + 1,
            Field::Isdst => tm.tm_isdst,
        })
    }
}

/// A field of a broken-down time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Seconds.
    Sec,
    /// Minutes.
    Min,
    /// Hours.
    Hour,
    /// Day of the month.
    Mday,
    /// Month, 1 to 12.
    Mon,
    /// Year.
    Year,
    /// Day of the week, 1 for Sunday.
    Wday,
    /// Day of the year, from 1.
    Yday,
    /// Above 0 under daylight saving time.
    Isdst,
}

impl Field {
    /// By the name that scripts use.
    pub(crate) fn from_bytes(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"sec" => Self::Sec,
            b"min" => Self::Min,
            b"hour" => Self::Hour,
            b"mday" => Self::Mday,
            b"mon" => Self::Mon,
            b"year" => Self::Year,
            b"wday" => Self::Wday,
            b"yday" => Self::Yday,
            b"isdst" => Self::Isdst,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_like_the_c_library() {
        let time = utc(1_700_000_000);
        assert_eq!(format(b"%Y-%m-%d %H:%M:%S", &time), b"2023-11-14 22:13:20");
        assert_eq!(time.field(Field::Yday), 318);
        assert_eq!(time.field(Field::Wday), 3);
        assert_eq!(format(&[b'%'; 3000], &time).len(), 0);
        utc(i64::MAX).field(Field::Year);
    }

    #[test]
    fn the_forms_of_other_standards() {
        assert_eq!(utc(1_795_402_961).ctime(), b"Mon Nov 23 03:02:41 2026");
        assert_eq!(utc(951_782_400).ctime(), b"Tue Feb 29 00:00:00 2000");
        assert_eq!(utc(0).ctime(), b"Thu Jan  1 00:00:00 1970");
        let text = rfc3339(Duration::new(1_795_402_961, 1_002_000));
        assert!(
            text.starts_with("2026-11-2") && text.get(19..26) == Some(".001002") && text.len() == 32,
            "{text}"
        );
    }
}
