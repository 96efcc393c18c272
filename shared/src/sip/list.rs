//! The values of comma lists with their places: Via, Route, Record-Route, Contact, Path (RFC 3261 §7.3.1).

use std::ops::Range;

use crate::sip::error::ParseError;
use crate::sip::header::HeaderName;
use crate::sip::header::contact::Contact;
use crate::sip::header::route::Route;
use crate::sip::header::via::Via;
use crate::sip::message::Message;
use crate::sip::name_addr::NameAddr;
use crate::sip::scan::CommaList;
use crate::sip::scan::Span;

/// One value of a comma list, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListValue<'a> {
    /// The value, trimmed.
    pub bytes: &'a [u8],
    /// Where it lies in the message.
    pub range: Range<usize>,
    /// The header it stands in, an index into [`Message::headers`].
    pub header: usize,
}

impl<'a> ListValue<'a> {
    /// Reads the value as an address.
    pub fn name_addr(&self) -> Result<NameAddr<'a>, ParseError> {
        NameAddr::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a route.
    pub fn route(&self) -> Result<Route<'a>, ParseError> {
        Route::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a contact.
    pub fn contact(&self) -> Result<Contact<'a>, ParseError> {
        Contact::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a Via.
    pub fn via(&self) -> Result<Via<'a>, ParseError> {
        Via::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }
}

impl Message {
    /// Every value of the comma lists of a header in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = ListValue<'_>> {
        let from = self.first_index(name);
        let headers = self.headers().get(from..).unwrap_or_default().iter().enumerate();
        headers
            .filter(move |(_, h)| h.name == name)
            .flat_map(move |(at, h)| {
                CommaList::new(self.value(h)).map(move |bytes| {
                    let range = Span::of(self.as_bytes(), bytes).range();
                    ListValue {
                        bytes,
                        range,
                        header: from + at,
                    }
                })
            })
    }

    /// Every value of every Contact.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, ParseError>> {
        self.values(HeaderName::Contact).map(|v| v.contact())
    }

    /// Every value of every Route.
    pub fn routes(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Route)
    }

    /// Every value of every Record-Route.
    pub fn record_routes(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::RecordRoute)
    }

    /// Every value of every Via.
    pub fn vias(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Via)
    }

    /// Every value of every Path.
    pub fn paths(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Path)
    }
}
