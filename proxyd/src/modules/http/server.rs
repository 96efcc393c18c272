//! A web server for unit tests: it answers what it is told, one connection after the other.

use parking_lot::Mutex;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// It runs until its answers are used up.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers so many connections, in this order.
    pub(crate) fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
                limit.expect("a limit above 0");
                kept.lock().push(request(&mut stream));
                // who asked may be gone
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

/// Reads a request to its end.
fn request(stream: &mut impl Read) -> String {
    let (mut text, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return whole;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return whole,
            Ok(n) => text.extend_from_slice(&piece[..n]),
        }
    }
}
