//! The counters of the core, sl and tm, as `stats.*` and `tm.stats` show them (inventory of Kamailio's statistics).

use crate::stats::Counter;
use crate::stats::Statistics;
use shared::sip::Method;
use std::sync::Arc;

macro_rules! counters {
    ($($field:ident: $group:literal $name:literal,)*) => {
        /// Every counter that the runtime itself keeps.
        pub(crate) struct Counters {
            $($field: Arc<Counter>,)*
            sl_codes: Vec<(u16, Arc<Counter>)>,
            sl_classes: [Arc<Counter>; 6],
            tm_classes: [Arc<Counter>; 5],
            by_method: [[Arc<Counter>; 8]; 6],
        }

        impl Counters {
            /// Registers them.
            pub(crate) fn new(statistics: &Statistics) -> Self {
                // Kamailio: those of tmx are functions of tm's own, which nobody resets.
                let make = |group: &str, name: &str| match group {
                    "tmx" => statistics.lasting(group, name),
                    _ => statistics.counter(group, name),
                };
                let tmx = |name: &str| make("tmx", name);
                let (received, relayed) = (tmx("rpl_received"), tmx("rpl_relayed"));
                statistics.gauge("tmx", "rpl_absorbed", move || received.value() - relayed.value());
                let code = |code: &u16| (*code, statistics.counter("sl", &format!("{code}_replies")));
                Self {
                    $($field: make($group, $name),)*
                    sl_codes: SL_CODES.iter().map(code).collect(),
                    sl_classes: ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"].map(|class| statistics.counter("sl", &format!("{class}_replies"))),
                    by_method: ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"].map(|class| {
                        METHODS.map(|method| statistics.counter("core", &format!("rcv_replies_{class}_{method}")))
                    }),
                    tm_classes: ["2xx", "3xx", "4xx", "5xx", "6xx"].map(|class| tmx(&format!("{class}_transactions"))),
                }
            }
        }
    };
}

/// Methods whose replies are counted by themselves as well.
const METHODS: [&str; 8] = [
    "invite", "cancel", "bye", "reg", "message", "prack", "update", "refer",
];

/// Statuses that `sl` counts by themselves, and not with their class.
const SL_CODES: [u16; 13] = [200, 202, 300, 301, 302, 400, 401, 403, 404, 407, 408, 483, 500];

counters! {
    rcv_requests: "core" "rcv_requests",
    rcv_invite: "core" "rcv_requests_invite",
    rcv_ack: "core" "rcv_requests_ack",
    rcv_bye: "core" "rcv_requests_bye",
    rcv_cancel: "core" "rcv_requests_cancel",
    rcv_register: "core" "rcv_requests_register",
    rcv_options: "core" "rcv_requests_options",
    rcv_message: "core" "rcv_requests_message",
    rcv_subscribe: "core" "rcv_requests_subscribe",
    rcv_notify: "core" "rcv_requests_notify",
    rcv_publish: "core" "rcv_requests_publish",
    rcv_info: "core" "rcv_requests_info",
    rcv_prack: "core" "rcv_requests_prack",
    rcv_refer: "core" "rcv_requests_refer",
    rcv_update: "core" "rcv_requests_update",
    rcv_unsupported: "core" "unsupported_methods",
    rcv_replies: "core" "rcv_replies",
    rcv_1xx: "core" "rcv_replies_1xx",
    rcv_2xx: "core" "rcv_replies_2xx",
    rcv_3xx: "core" "rcv_replies_3xx",
    rcv_4xx: "core" "rcv_replies_4xx",
    rcv_5xx: "core" "rcv_replies_5xx",
    rcv_6xx: "core" "rcv_replies_6xx",
    rcv_18x: "core" "rcv_replies_18x",
    rcv_401: "core" "rcv_replies_401",
    rcv_404: "core" "rcv_replies_404",
    rcv_407: "core" "rcv_replies_407",
    rcv_480: "core" "rcv_replies_480",
    rcv_486: "core" "rcv_replies_486",
    fwd_requests: "core" "fwd_requests",
    fwd_replies: "core" "fwd_replies",
    drop_requests: "core" "drop_requests",
    bad_msg: "core" "bad_msg_hdr",
    overload: "core" "overload",
    sl_sent: "sl" "sent_replies",
    sl_failures: "sl" "failures",
    sl_acks: "sl" "received_ACKs",
    tm_inuse: "tmx" "inuse_transactions",
    tm_active: "tmx" "active_transactions",
    tm_uas: "tmx" "UAS_transactions",
    tm_uac: "tmx" "UAC_transactions",
    tm_received: "tmx" "rpl_received",
    tm_relayed: "tmx" "rpl_relayed",
    tm_answered: "tmx" "rpl_generated",
    tm_sent: "tmx" "rpl_sent",
}

impl Counters {
    pub(crate) fn request_in(&self, method: Method<'_>) {
        self.rcv_requests.inc();
        match method {
            Method::Invite => &self.rcv_invite,
            Method::Ack => &self.rcv_ack,
            Method::Bye => &self.rcv_bye,
            Method::Cancel => &self.rcv_cancel,
            Method::Register => &self.rcv_register,
            Method::Options => &self.rcv_options,
            Method::Message => &self.rcv_message,
            Method::Subscribe => &self.rcv_subscribe,
            Method::Notify => &self.rcv_notify,
            Method::Publish => &self.rcv_publish,
            Method::Info => &self.rcv_info,
            Method::Prack => &self.rcv_prack,
            Method::Refer => &self.rcv_refer,
            Method::Update => &self.rcv_update,
            Method::Other(_) => &self.rcv_unsupported,
        }
        .inc();
    }

    pub(crate) fn reply_in(&self, status: u16, method: Method<'_>) {
        self.rcv_replies.inc();
        let column = match method {
            Method::Invite => Some(0),
            Method::Cancel => Some(1),
            Method::Bye => Some(2),
            Method::Register => Some(3),
            Method::Message => Some(4),
            Method::Prack => Some(5),
            Method::Update => Some(6),
            Method::Refer => Some(7),
            _ => None,
        };
        let class = self.by_method.get(usize::from(status / 100).saturating_sub(1));
        if let Some(counter) = class.zip(column).and_then(|(class, column)| class.get(column)) {
            counter.inc();
        }
        match status / 100 {
            1 => &self.rcv_1xx,
            2 => &self.rcv_2xx,
            3 => &self.rcv_3xx,
            4 => &self.rcv_4xx,
            5 => &self.rcv_5xx,
            _ => &self.rcv_6xx,
        }
        .inc();
        match status {
            180..=189 => self.rcv_18x.inc(),
            401 => self.rcv_401.inc(),
            404 => self.rcv_404.inc(),
            407 => self.rcv_407.inc(),
            480 => self.rcv_480.inc(),
            486 => self.rcv_486.inc(),
            _ => {}
        }
    }

    pub(crate) fn bad_message(&self) {
        self.bad_msg.inc();
    }

    pub(crate) fn overload(&self) {
        self.overload.inc();
        self.drop_requests.inc();
    }

    pub(crate) fn fwd_request(&self) {
        self.fwd_requests.inc();
    }

    pub(crate) fn fwd_reply(&self) {
        self.fwd_replies.inc();
    }

    pub(crate) fn sl_ack(&self) {
        self.sl_acks.inc();
    }

    pub(crate) fn sl_failed(&self) {
        self.sl_failures.inc();
    }

    pub(crate) fn sl_reply(&self, status: u16) {
        self.sl_sent.inc();
        let own = self.sl_codes.iter().find(|(code, _)| *code == status);
        let class = || self.sl_classes.get(usize::from(status / 100).saturating_sub(1));
        if let Some(counter) = own.map(|(_, counter)| counter).or_else(class) {
            counter.inc();
        }
    }

    pub(crate) fn tm_created(&self) {
        self.tm_inuse.inc();
        self.tm_active.inc();
        self.tm_uas.inc();
    }

    pub(crate) fn tm_local(&self) {
        self.tm_inuse.inc();
        self.tm_active.inc();
        self.tm_uac.inc();
    }

    /// A transaction is answered and only absorbs late copies.
    pub(crate) fn tm_waits(&self) {
        self.tm_active.dec();
    }

    pub(crate) fn tm_freed(&self, waiting: bool) {
        self.tm_inuse.dec();
        if !waiting {
            self.tm_active.dec();
        }
    }

    pub(crate) fn rpl_received(&self) {
        self.tm_received.inc();
    }

    /// A reply went upstream: made here, or passed on.
    pub(crate) fn rpl_sent(&self, status: u16, local: bool) {
        self.tm_sent.inc();
        if local {
            self.tm_answered.inc()
        } else {
            self.tm_relayed.inc()
        }
        if status >= 200
            && let Some(class) = self.tm_classes.get(usize::from(status / 100) - 2)
        {
            class.inc();
        }
    }
}
