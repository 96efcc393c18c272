//! Messages as arrows between columns: the peers, with proxyd between them.

use std::collections::VecDeque;
use std::fmt::Write as _;

use shared::report::printable;
use shared::rpc::trace::Direction;
use shared::rpc::trace::Message;

/// Columns at once, proxyd's among them; a further peer takes the place of the one that was silent for longest.
const MOST_COLUMNS: usize = 6;
/// Calls that are told apart; a further one takes the number of the oldest out of use.
const MOST_CALLS: usize = 1000;
/// The least distance between two columns.
const DISTANCE: usize = 26;
/// What stands left of the first column: time and number of the call.
const MARGIN: usize = 21;
/// The column of proxyd.
const OURS: usize = 1;

/// A ladder that grows downwards.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    /// Name of each column and the number of the message that used it last.
    columns: Vec<(String, u64)>,
    messages: u64,
    calls: VecDeque<(String, u64)>,
    last_call: u64,
}

impl Ladder {
    /// The lines for one message: a header where the columns have changed, a line for a new call, the arrow.
    pub(super) fn draw(&mut self, message: &Message) -> String {
        self.messages += 1;
        let mut text = String::new();
        let peer = match message.direction {
            Direction::In => &message.source,
            Direction::Out => &message.destination,
        };
        let (column, is_new) = self.column(&printable(peer));
        if is_new {
            self.header(&mut text);
        }
        let (call, is_new) = self.call(&message.call_id);
        if is_new {
            let line = format!(
                "#{call} {} from {} to {}",
                message.call_id, message.from, message.to
            );
            let _ = writeln!(text, "{}", printable(&line));
        }
        let what = match (&message.status, &message.request_uri) {
            (Some(status), _) => format!("{status} {}", message.reason.as_deref().unwrap_or_default()),
            (None, uri) => {
                let uri = uri.as_deref().unwrap_or_default();
                format!("{} {}", message.method, uri.strip_prefix("sip:").unwrap_or(uri))
            }
        };
        let (from, to) = match message.direction {
            Direction::In => (column, OURS),
            Direction::Out => (OURS, column),
        };
        let time = message.time.get(11..23).unwrap_or_default();
        let cseq = message.cseq.map(|number| number.to_string()).unwrap_or_default();
        let _ = writeln!(
            text,
            "{time} {:<8}{}  {cseq} {}",
            format!("#{call}"),
            self.arrow(from, to, &printable(&what)),
            printable(&message.method)
        );
        text
    }

    /// The column of a peer, and whether it is a new one.
    fn column(&mut self, peer: &str) -> (usize, bool) {
        let name = peer.strip_prefix("udp:").unwrap_or(peer);
        let known = self.columns.iter().position(|(known, _)| known == name);
        if let Some(at) = known {
            if let Some(column) = self.columns.get_mut(at) {
                column.1 = self.messages;
            }
            return (at, false);
        }
        let column = (name.to_owned(), self.messages);
        if self.columns.len() < MOST_COLUMNS {
            self.columns.push(column);
            if self.columns.len() == 1 {
                self.columns.push(("proxyd".to_owned(), u64::MAX));
                return (0, true);
            }
            return (self.columns.len() - 1, true);
        }
        let oldest = (0..).zip(&mut self.columns).min_by_key(|(_, (_, used))| *used);
        let Some((at, oldest)) = oldest else {
            return (0, true);
        };
        *oldest = column;
        (at, true)
    }

    /// The number of a call, and whether it is a new one.
    fn call(&mut self, call_id: &str) -> (u64, bool) {
        if let Some((_, number)) = self.calls.iter().rev().find(|(known, _)| known == call_id) {
            return (*number, false);
        }
        if self.calls.len() >= MOST_CALLS {
            self.calls.pop_front();
        }
        self.last_call += 1;
        self.calls.push_back((call_id.to_owned(), self.last_call));
        (self.last_call, true)
    }

    fn distance(&self) -> usize {
        let longest = self.columns.iter().map(|(name, _)| name.chars().count()).max();
        DISTANCE.max(longest.unwrap_or(0) + 2)
    }

    /// The names, each above its column.
    fn header(&self, text: &mut String) {
        let mut line = String::new();
        for (at, (name, _)) in self.columns.iter().enumerate() {
            let middle = MARGIN + at * self.distance();
            let start = middle.saturating_sub(name.chars().count() / 2);
            let _ = write!(
                line,
                "{:1$}{name}",
                "",
                start.saturating_sub(line.chars().count())
            );
        }
        let _ = writeln!(text, "{line}");
    }

    /// A line across the columns with an arrow and what is written on it.
    fn arrow(&self, from: usize, to: usize, what: &str) -> String {
        let distance = self.distance();
        let (left, right) = (from.min(to) * distance, from.max(to) * distance);
        let room = (right - left).saturating_sub(5);
        let mut label: Vec<char> = what.trim().chars().collect();
        if label.len() > room {
            label.truncate(room.saturating_sub(1));
            label.push('…');
        }
        let last = self.columns.len().saturating_sub(1) * distance;
        let label_at = left + 3 + (room - label.len()) / 2;
        let column = |x: usize| x.is_multiple_of(distance);
        (0..=last)
            .map(|x| match x {
                _ if x == left || x == right => '│',
                _ if x == right - 1 && to > from => '▶',
                _ if x == left + 1 && to < from => '◀',
                _ if x > left && x < right => {
                    if x + 1 == label_at || x == label_at + label.len() {
                        return ' ';
                    }
                    let written = x.checked_sub(label_at).and_then(|at| label.get(at));
                    written.copied().unwrap_or('─')
                }
                _ if column(x) => '│',
                _ => ' ',
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;

    const LADDER: &str = "
              192.0.2.1:5060                proxyd
#1 c1 from sip:al@a.test to sip:bob@b.test
03:02:41.123 #1      │─── INVITE bob@b.test ──▶│  7 INVITE
03:02:41.123 #1      │◀ 100 trying -- your c… ─│  7 INVITE
              192.0.2.1:5060                proxyd                192.0.2.2:5060
03:02:41.123 #1      │                         │─ INVITE bob@192.0.2.2 ─▶│  7 INVITE
              192.0.2.1:5060                proxyd                192.0.2.2:5060            192.0.2.3:5060
03:02:41.123 #1      │                         │────────────── INVITE bob@192.0.2.3 ──────────────▶│  7 INVITE
03:02:41.123 #1      │                         │◀───────────────── 486 Busy Here ──────────────────│  7 INVITE
03:02:41.123 #1      │                         │◀─────── 200 OK ─────────│                         │  7 INVITE
03:02:41.123 #1      │◀─────── 200 OK ─────────│                         │                         │  7 INVITE
";

    #[test]
    fn a_call_is_a_ladder() {
        let mut ladder = Ladder::default();
        let flow = [
            (Direction::In, 1, "sip:bob@b.test"),
            (Direction::Out, 1, "100 trying -- your call is important to us"),
            (Direction::Out, 2, "sip:bob@192.0.2.2"),
            (Direction::Out, 3, "sip:bob@192.0.2.3"),
            (Direction::In, 3, "486 Busy\u{1b}Here"),
            (Direction::In, 2, "200 OK"),
            (Direction::Out, 1, "200 OK"),
        ];
        let text: String = flow
            .into_iter()
            .map(|(direction, peer, line)| ladder.draw(&message(direction, peer, line, "c1")))
            .collect();
        assert_eq!(text.trim_end(), LADDER.trim_matches('\n'));
    }

    #[test]
    fn columns_and_calls_have_a_bound() {
        let mut ladder = Ladder::default();
        for peer in 1..=20 {
            let text = ladder.draw(&message(Direction::In, peer, "200 OK", &peer.to_string()));
            assert!(text.starts_with(' '), "{text}");
        }
        assert_eq!(ladder.columns.len(), MOST_COLUMNS);
        assert_eq!(ladder.columns[OURS].0, "proxyd");
        assert_eq!(ladder.columns[0].0, "192.0.2.16:5060");
        for call in 0..2 * MOST_CALLS {
            ladder.draw(&message(Direction::In, 20, "200 OK", &format!("c{call}")));
        }
        assert_eq!(ladder.calls.len(), MOST_CALLS);
    }
}
