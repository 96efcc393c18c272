//! The location store: finding, refreshing and replacing the contact of one of ten thousand users.

use proxyd::runtime::micro::Locations;

use super::Operation;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "location-find",
        prepare: || among(Locations::find),
    },
    Row {
        name: "location-refresh",
        prepare: || among(Locations::refresh),
    },
    Row {
        name: "location-replace",
        prepare: || among(Locations::replace),
    },
];

const USERS: u32 = 10_000;

fn among(change: fn(&mut Locations) -> bool) -> Operation {
    let mut locations = Locations::new(USERS);
    Box::new(move || assert!(change(&mut locations)))
}
