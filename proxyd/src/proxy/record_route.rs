//! Staying in the path of a dialog: RFC 3261 §16.6 step 4, RFC 5658; module rr's `record_route()` and its kin.

use shared::net::Transport;

/// One side of this server, as Via and Record-Route show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The address or advertised name, an IPv6 address with its brackets.
    pub host: &'a [u8],
    /// The port as text.
    pub port: &'a [u8],
    /// The transport.
    pub transport: Transport,
}

impl Hop<'_> {
    /// Appends host and port, the port only where it is not the one assumed.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.host);
        let assumed: &[u8] = match self.transport {
            Transport::Udp | Transport::Tcp | Transport::Sctp => b"5060",
            Transport::Tls => b"5061",
            Transport::Ws | Transport::Wss => b"",
        };
        if !self.port.is_empty() && self.port != assumed {
            out.push(b':');
            out.extend_from_slice(self.port);
        }
    }
}

/// When two Record-Route headers are written, one for each side (`enable_double_rr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Double {
    /// Never.
    Off,
    /// When socket or transport change.
    #[default]
    OnChange,
    /// Always.
    Always,
}

/// What a script wants in its Record-Route.
#[derive(Debug, Clone, Copy)]
pub struct RecordRoute<'a> {
    /// Which function asked for it.
    pub form: Form<'a>,
    /// Whether the Request-URI is a `sips:` one.
    pub sips: bool,
    /// The user part (`add_username`, flow tokens), or empty.
    pub user: &'a [u8],
    /// The From tag (`append_fromtag`), or empty.
    pub ftag: &'a [u8],
    /// `;lr=on` instead of `;lr` (`enable_full_lr`).
    pub full_lr: bool,
    /// Parameters from `record_route(…)` and then from `add_rr_param(…)`, each with its `;`.
    pub params: &'a [u8],
    /// When to write two.
    pub double: Double,
}

/// The three ways to name ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// `record_route()`: the sockets' addresses.
    Sockets,
    /// `record_route_advertised_address(address)`.
    Advertised(&'a [u8]),
    /// `record_route_preset(outbound, inbound)`: text with its own parameters.
    Preset(&'a [u8], Option<&'a [u8]>),
}

impl RecordRoute<'_> {
    /// Appends the header lines for a request that came in by one hop and goes out by another.
    pub fn write(&self, inbound: &Hop<'_>, outbound: &Hop<'_>, out: &mut Vec<u8>) {
        match self.form {
            Form::Preset(text, second) => {
                for text in [Some(text), second].into_iter().flatten() {
                    self.open(out);
                    out.extend_from_slice(text);
                    self.write_ftag(out);
                    self.write_lr(out);
                    self.close(out);
                }
            }
            Form::Advertised(address) => {
                let double = self.is_double(inbound.transport != outbound.transport);
                for hop in sides(double, inbound, outbound) {
                    self.open(out);
                    out.extend_from_slice(address);
                    if double {
                        write_transport(hop.transport, out);
                        out.extend_from_slice(b";r2=on");
                    }
                    self.write_ftag(out);
                    self.write_lr(out);
                    self.close(out);
                }
            }
            Form::Sockets => {
                let double = self.is_double(inbound != outbound);
                for hop in sides(double, inbound, outbound) {
                    self.open(out);
                    hop.write(out);
                    if hop.transport != Transport::Udp {
                        write_transport(hop.transport, out);
                    }
                    if double {
                        out.extend_from_slice(b";r2=on");
                    }
                    self.write_lr(out);
                    self.write_ftag(out);
                    self.close(out);
                }
            }
        }
    }

    fn is_double(&self, changed: bool) -> bool {
        match self.double {
            Double::Off => false,
            Double::OnChange => changed,
            Double::Always => true,
        }
    }

    fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.sips {
            b"Record-Route: <sips:"
        } else {
            b"Record-Route: <sip:"
        });
        if !self.user.is_empty() {
            out.extend_from_slice(self.user);
            out.push(b'@');
        }
    }

    fn write_lr(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.full_lr { b";lr=on" } else { b";lr" });
    }

    fn write_ftag(&self, out: &mut Vec<u8>) {
        if !self.ftag.is_empty() {
            out.extend_from_slice(b";ftag=");
            out.extend_from_slice(self.ftag);
        }
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.params);
        out.extend_from_slice(b">\r\n");
    }
}

/// The header of the outbound side stands on top, as the callee reads the list from its top.
fn sides<'a>(double: bool, inbound: &'a Hop<'a>, outbound: &'a Hop<'a>) -> impl Iterator<Item = &'a Hop<'a>> {
    let first = if double { outbound } else { inbound };
    std::iter::once(first).chain(double.then_some(inbound))
}

fn write_transport(transport: Transport, out: &mut Vec<u8>) {
    out.extend_from_slice(b";transport=");
    out.extend_from_slice(transport.uri_name().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Hop<'static> = Hop {
        host: b"10.0.0.1",
        port: b"5060",
        transport: Transport::Udp,
    };
    const B: Hop<'static> = Hop {
        host: b"10.0.0.1",
        port: b"5080",
        transport: Transport::Udp,
    };
    const T: Hop<'static> = Hop {
        host: b"10.0.0.1",
        port: b"5060",
        transport: Transport::Tcp,
    };
    const W: Hop<'static> = Hop {
        host: b"[::1]",
        port: b"80",
        transport: Transport::Ws,
    };
    const S: Hop<'static> = Hop {
        transport: Transport::Wss,
        ..W
    };
    const PLAIN: RecordRoute<'static> = RecordRoute {
        form: Form::Sockets,
        sips: false,
        user: b"",
        ftag: b"f1",
        full_lr: false,
        params: b"",
        double: Double::OnChange,
    };

    #[test]
    fn kamailio_record_route() {
        let params = RecordRoute {
            params: b";a=1;nat=yes",
            ..PLAIN
        };
        let all = RecordRoute {
            user: b"tu",
            ftag: b"",
            full_lr: true,
            double: Double::Always,
            ..PLAIN
        };
        let preset = RecordRoute {
            form: Form::Preset(b"1.2.3.4:5090;x=y", None),
            params: b";nat=yes",
            ..PLAIN
        };
        let two = RecordRoute {
            form: Form::Preset(b"1.2.3.4;r2=on", Some(b"5.6.7.8;r2=on")),
            ..PLAIN
        };
        let advertised = RecordRoute {
            form: Form::Advertised(b"adv.example:99"),
            params: b";nat=yes",
            ..PLAIN
        };
        #[rustfmt::skip]
        let rows: &[(&RecordRoute<'_>, Hop<'_>, Hop<'_>, &[&str])] = &[
            (&PLAIN, A, A, &["<sip:10.0.0.1;lr;ftag=f1>"]),
            (&PLAIN, B, B, &["<sip:10.0.0.1:5080;lr;ftag=f1>"]),
            (&PLAIN, A, B, &["<sip:10.0.0.1:5080;r2=on;lr;ftag=f1>", "<sip:10.0.0.1;r2=on;lr;ftag=f1>"]),
            (&PLAIN, A, T, &["<sip:10.0.0.1;transport=tcp;r2=on;lr;ftag=f1>", "<sip:10.0.0.1;r2=on;lr;ftag=f1>"]),
            (&PLAIN, T, A, &["<sip:10.0.0.1;r2=on;lr;ftag=f1>", "<sip:10.0.0.1;transport=tcp;r2=on;lr;ftag=f1>"]),
            (&PLAIN, T, T, &["<sip:10.0.0.1;transport=tcp;lr;ftag=f1>"]),
            (&PLAIN, S, S, &["<sip:[::1]:80;transport=ws;lr;ftag=f1>"]),
            (&PLAIN, W, W, &["<sip:[::1]:80;transport=ws;lr;ftag=f1>"]),
            (&RecordRoute { double: Double::Off, ..PLAIN }, A, B, &["<sip:10.0.0.1;lr;ftag=f1>"]),
            (&RecordRoute { sips: true, ..PLAIN }, A, A, &["<sips:10.0.0.1;lr;ftag=f1>"]),
            (&params, A, A, &["<sip:10.0.0.1;lr;ftag=f1;a=1;nat=yes>"]),
            (&all, A, A, &["<sip:tu@10.0.0.1;r2=on;lr=on>", "<sip:tu@10.0.0.1;r2=on;lr=on>"]),
            (&preset, A, B, &["<sip:1.2.3.4:5090;x=y;ftag=f1;lr;nat=yes>"]),
            (&two, A, B, &["<sip:1.2.3.4;r2=on;ftag=f1;lr>", "<sip:5.6.7.8;r2=on;ftag=f1;lr>"]),
            (&advertised, A, B, &["<sip:adv.example:99;ftag=f1;lr;nat=yes>"]),
            (&advertised, A, T, &["<sip:adv.example:99;transport=tcp;r2=on;ftag=f1;lr;nat=yes>", "<sip:adv.example:99;transport=udp;r2=on;ftag=f1;lr;nat=yes>"]),
        ];
        for (wish, inbound, outbound, expected) in rows {
            let mut out = Vec::new();
            wish.write(inbound, outbound, &mut out);
            let expected: String = expected
                .iter()
                .map(|line| format!("Record-Route: {line}\r\n"))
                .collect();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
