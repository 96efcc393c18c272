//! Known defects: a test that states what is right, and passes as long as that is not yet so.

use std::panic;
use std::panic::UnwindSafe;

/// Runs what will hold once the defect is gone; fails when it holds already, so that the word is taken away.
pub fn expect_gap(why: &str, right: impl FnOnce() + UnwindSafe) {
    assert!(
        panic::catch_unwind(right).is_err(),
        "this gap is closed, take gap! away: {why}"
    );
}

/// Marks a known defect: `gap!("why", { what should hold })`.
#[macro_export]
macro_rules! gap {
    ($why:expr, $right:block) => {
        $crate::gap::expect_gap($why, || $right)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_defect_is_expected() {
        gap!("one is not two", { assert_eq!(1, 2) });
    }

    #[test]
    #[should_panic(expected = "this gap is closed")]
    fn a_closed_gap_is_noticed() {
        gap!("one is one", { assert_eq!(1, 1) });
    }
}
