//! Why there is no answer, by the numbers that scripts know from libcurl.

/// Why a server did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    /// libcurl's number, below 100.
    pub(crate) code: u16,
    /// What it means there.
    pub(crate) text: &'static str,
}

/// libcurl's numbers and texts (libcurl-errors(3)), as far as they can happen here.
const MEANINGS: [(u16, &str); 14] = [
    (1, "Unsupported protocol"),
    (3, "URL using bad/illegal format or missing URL"),
    (5, "Couldn't resolve proxy name"),
    (6, "Couldn't resolve host name"),
    (7, "Couldn't connect to server"),
    (8, "Weird server reply"),
    (23, "Failed writing received data to disk/application"),
    (28, "Timeout was reached"),
    (35, "SSL connect error"),
    (47, "Number of redirects hit maximum amount"),
    (52, "Server returned nothing (no headers, no data)"),
    (56, "Failure when receiving data from the peer"),
    (60, "SSL peer certificate or SSH remote key was not OK"),
    (63, "Maximum file size exceeded"),
];

/// What a number means; none for one that is not libcurl's.
pub(crate) fn meaning(code: u16) -> Option<&'static str> {
    let found = MEANINGS.iter().find(|(number, _)| *number == code);
    found.map(|(_, text)| *text)
}

impl Failure {
    pub(super) const BAD_URL: Self = Self::new(3);
    /// The time was over.
    pub(crate) const TIMEOUT: Self = Self::new(28);

    /// Whether the time was over.
    pub(crate) fn is_timeout(&self) -> bool {
        *self == Self::TIMEOUT
    }

    const fn new(code: u16) -> Self {
        let mut at = 0;
        while at < MEANINGS.len() {
            if MEANINGS[at].0 == code {
                return Self {
                    code,
                    text: MEANINGS[at].1,
                };
            }
            at += 1;
        }
        Self {
            code,
            text: "Unknown error",
        }
    }

    /// A URL whose scheme is not spoken, or that is none.
    pub(super) fn scheme_of(url: &str) -> Self {
        match url.split_once("://") {
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Self::new(1),
            _ => Self::BAD_URL,
        }
    }

    pub(super) fn of(error: &ureq::Error) -> Self {
        use std::io::ErrorKind;
        use ureq::Error;
        Self::new(match error {
            Error::BadUri(_) | Error::Http(_) => 3,
            Error::InvalidProxyUrl => 5,
            Error::HostNotFound => 6,
            Error::ConnectionFailed | Error::ConnectProxyFailed(_) => 7,
            Error::Protocol(_) => 8,
            Error::BodyExceedsLimit(_) => 23,
            Error::Timeout(_) => 28,
            Error::Rustls(rustls::Error::InvalidCertificate(_)) => 60,
            Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) => 35,
            Error::TooManyRedirects | Error::RedirectFailed => 47,
            // what the resolver of the standard library says has no kind of its own
            Error::Io(error) if error.to_string().contains("lookup address") => 6,
            Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    7
                }
                ErrorKind::TimedOut | ErrorKind::WouldBlock => 28,
                ErrorKind::UnexpectedEof => 52,
                ErrorKind::InvalidData => 60,
                _ => 56,
            },
            _ => 56,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_texts() {
        assert_eq!(
            Failure::BAD_URL.to_string(),
            "URL using bad/illegal format or missing URL"
        );
        assert_eq!(meaning(28), Some("Timeout was reached"));
        assert_eq!(meaning(0), None);
        for (url, code) in [("ftp://x", 1), ("foo bar", 3), ("a b://x", 3)] {
            assert_eq!(Failure::scheme_of(url).code, code, "{url}");
        }
    }
}
