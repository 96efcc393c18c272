//! The generator's loop: begin what is due, judge what arrives, give up on what is late.

use std::io;
use std::process;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use super::Load;
use super::Outcome;
use super::Pace;
use super::Plan;
use super::batch;
use super::batch::Inbox;
use super::batch::Outbox;
use super::callee::Callee;
use super::flow::Flow;
use super::flow::Progress;
use super::flow::Slot;
use super::flow::session;
use super::histogram::Latency;
use super::process as server;

/// A transaction without final reply after this time is lost.
const DEADLINE_NS: u64 = 2_000_000_000;
/// While users are prepared a slow disk is no failure.
const PATIENT_DEADLINE_NS: u64 = 20_000_000_000;
/// How often late transactions are looked for.
const EXPIRY_NS: u64 = 200_000_000;
/// Slots of the fixed-rate mode: twice what half a second of the fastest server holds.
const SLOTS_AT_A_RATE: usize = 16_384;
/// A loop that takes longer than this was kept from running: it waits for a millisecond at most.
const STALL_NS: u64 = 5_000_000;
/// Registrations in flight while users are prepared.
const PREPARE_WINDOW: usize = 32;

/// Runs one plan from preparation to the last reply.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut engine = Engine::new(plan)?;
    if plan.prepare {
        engine.prepare(plan)?;
    }
    engine.measure(plan)
}

struct Engine {
    started: Instant,
    flow: Flow,
    callee: Callee,
    callers: (Inbox, Outbox),
    callees: (Inbox, Outbox),
    slots: Vec<Slot>,
    free: Vec<u32>,
    latency: Latency,
    done: u64,
    lost: u64,
    wrong: u64,
    overrun: u64,
    examples: Vec<String>,
    deadline: u64,
    next_expiry: u64,
    measuring: bool,
    measured_done: u64,
}

impl Engine {
    fn new(plan: &Plan) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = now.subsec_nanos() ^ (now.as_secs() as u32) ^ process::id().rotate_left(16);
        let slots = match plan.pace {
            Pace::Window(width) => width.max(PREPARE_WINDOW),
            Pace::Rate(_) => SLOTS_AT_A_RATE,
        };
        Ok(Self {
            started: Instant::now(),
            flow: Flow::new(plan, run),
            callee: Callee::new(
                format!("sip:callee@{}", plan.callee),
                session(&plan.callee.ip().to_string()),
            ),
            callers: batch::open(plan.caller, plan.server)?,
            callees: batch::open(plan.callee, plan.server)?,
            slots: vec![Slot::default(); slots],
            free: (0..slots as u32).rev().collect(),
            latency: Latency::default(),
            done: 0,
            lost: 0,
            wrong: 0,
            overrun: 0,
            examples: Vec::new(),
            deadline: DEADLINE_NS,
            next_expiry: 0,
            measuring: false,
            measured_done: 0,
        })
    }

    /// Registers every user that the load needs, one after the other until the server has them all.
    fn prepare(&mut self, plan: &Plan) -> io::Result<()> {
        let load = plan.load;
        let first = match load {
            Load::RegisterRefresh | Load::Call if plan.challenged => Load::RegisterDigest,
            Load::RegisterRefresh | Load::Call => Load::RegisterNew,
            Load::RegisterNonceReused => Load::RegisterNonceReused,
            Load::Options | Load::RegisterNew | Load::RegisterDigest | Load::InviteUnknown => return Ok(()),
        };
        self.flow.switch(first);
        self.deadline = PATIENT_DEADLINE_NS;
        let mut left = plan.users;
        while left > 0 || self.open() > 0 {
            while left > 0 && self.open() < PREPARE_WINDOW {
                self.begin(self.now());
                left -= 1;
            }
            self.exchange(1000)?;
        }
        self.flow.switch(load);
        self.deadline = DEADLINE_NS;
        if self.lost + self.wrong > 0 {
            let example = self.examples.first().cloned().unwrap_or_default();
            let (lost, wrong) = (self.lost, self.wrong);
            return Err(io::Error::other(format!(
                "preparation: {lost} lost, {wrong} wrong {example}"
            )));
        }
        (self.done, self.callee.acknowledged) = (0, 0);
        Ok(())
    }

    fn measure(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let warm_up = (plan.warm_up * 1e9) as u64;
        let length = (plan.seconds * 1e9) as u64;
        let processes: Vec<u32> = plan.pids.iter().flat_map(|&pid| server::family(pid)).collect();
        let own = [process::id()];
        let resident_before = server::resident(&processes);
        let origin = self.now();
        let mut cost = (server::cost(&processes), server::cost(&own));
        let (mut begun, mut next_due) = (0_u64, origin);
        let (mut since, mut until) = (origin, u64::MAX);
        if warm_up == 0 {
            self.measuring = true;
            until = origin + length;
        }
        let mut last = origin;
        loop {
            let now = self.now();
            if !self.measuring && now >= origin + warm_up {
                self.latency.restart(now);
                (self.measured_done, self.lost, self.wrong, self.overrun) = (0, 0, 0, 0);
                cost = (server::cost(&processes), server::cost(&own));
                since = self.now();
                until = since + length;
                self.measuring = true;
            }
            let finished = now >= until || plan.count.is_some_and(|count| begun >= count);
            if finished && (plan.count.is_none() || self.open() == 0) {
                break;
            }
            let mut pause = 1000;
            if !finished {
                match plan.pace {
                    Pace::Window(width) => {
                        while self.open() < width && plan.count.is_none_or(|count| begun < count) {
                            self.begin(now);
                            begun += 1;
                        }
                    }
                    Pace::Rate(rate) => {
                        let interval = (1e9 / rate) as u64;
                        // Time in which the generator itself did not run is not made up for in a burst: that would
                        // overflow the server's socket through no fault of the server.
                        let away = now.saturating_sub(last);
                        if away > STALL_NS {
                            next_due += away;
                            self.overrun += away / interval.max(1);
                        }
                        let mut burst = 0;
                        while next_due <= now && burst < batch::BATCH {
                            // The latency counts from the due time: a server that stalls is not excused.
                            if self.free.is_empty() {
                                self.overrun += 1;
                            } else {
                                self.begin(next_due);
                                begun += 1;
                            }
                            next_due += interval.max(1);
                            burst += 1;
                        }
                        // Sleeping would add the kernel's timer slack, and the waking of this processor, to every latency.
                        pause = 0;
                    }
                }
            }
            last = now;
            self.exchange(pause)?;
        }
        let cost = (
            server::cost(&processes).since(cost.0),
            server::cost(&own).since(cost.1),
        );
        let seconds = (self.now() - since) as f64 / 1e9;
        let done = self.measured_done;
        self.measuring = false;
        while self.open() > 0 {
            self.exchange(1000)?;
        }
        let per = |nanoseconds: f64| {
            if done == 0 {
                0.0
            } else {
                nanoseconds / 1e3 / done as f64
            }
        };
        let calls = plan.load == Load::Call && self.callee.acknowledged < self.done;
        let unacknowledged = if calls && warm_up == 0 {
            self.done - self.callee.acknowledged
        } else {
            0
        };
        Ok(Outcome {
            done,
            lost: self.lost + unacknowledged + batch::refused(),
            wrong: self.wrong,
            wrong_examples: std::mem::take(&mut self.examples),
            overrun: self.overrun,
            overtaken: self.flow.overtaken,
            seconds,
            rate: done as f64 / seconds,
            cpu_us: per(cost.0.on_cpu_ns as f64),
            cpu_us_by_ticks: per(cost.0.ticks as f64 * 1e7),
            cpu_share: cost.0.on_cpu_ns as f64 / 1e9 / seconds,
            own_cpu_share: cost.1.on_cpu_ns as f64 / 1e9 / seconds,
            p50_us: self.latency.quantile(0.5) as f64 / 1e3,
            p99_us: self.latency.quantile(0.99) as f64 / 1e3,
            usual_p99_us: self.latency.usual_tail() as f64 / 1e3,
            resident: (resident_before, server::resident(&processes)),
        })
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn begin(&mut self, at: u64) {
        let Some(index) = self.free.pop() else { return };
        let slot = &mut self.slots[index as usize];
        slot.began = at;
        slot.measured = self.measuring;
        self.flow.begin(index, slot, &mut self.callers.1);
    }

    /// Sends what is queued, waits for something to arrive, and handles all of it.
    fn exchange(&mut self, pause_us: u64) -> io::Result<()> {
        self.callers.1.flush();
        self.callees.1.flush();
        let mut arrived = self.receive()?;
        if arrived == 0 && pause_us > 0 {
            batch::wait(
                &[self.callers.0.descriptor(), self.callees.0.descriptor()],
                pause_us,
            );
            arrived = self.receive()?;
        }
        let now = self.now();
        if arrived == 0 && now >= self.next_expiry {
            self.expire(now);
            self.next_expiry = now + EXPIRY_NS;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let at_callee = if self.flow.load() == Load::Call {
            self.callees.0.receive()?
        } else {
            0
        };
        for index in 0..at_callee {
            let request = self.callees.0.datagram(index);
            if let Err(reason) = self.callee.receive(request, &mut self.callees.1) {
                self.wrong += 1;
                remember(&mut self.examples, reason, request);
            }
        }
        let at_caller = self.callers.0.receive()?;
        let now = self.now();
        for index in 0..at_caller {
            let message = self.callers.0.datagram(index);
            let (progress, slot) = self.flow.receive(message, &mut self.slots, &mut self.callers.1);
            match progress {
                Progress::Continues | Progress::Late => continue,
                Progress::Done => {}
                Progress::Refused => self.lost += 1,
                Progress::Wrong(reason) => {
                    self.wrong += 1;
                    remember(&mut self.examples, reason, message);
                }
            }
            let Some(number) = slot else { continue };
            let ended = &mut self.slots[number];
            ended.busy = false;
            self.free.push(number as u32);
            if progress == Progress::Done {
                self.done += 1;
                self.measured_done += u64::from(self.measuring);
                if ended.measured {
                    self.latency.record(now, now.saturating_sub(ended.began));
                }
            }
        }
        Ok(at_callee + at_caller)
    }

    fn expire(&mut self, now: u64) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.busy && now.saturating_sub(slot.began) > self.deadline {
                slot.busy = false;
                self.free.push(index as u32);
                self.lost += 1;
            }
        }
    }
}

fn remember(examples: &mut Vec<String>, reason: &str, message: &[u8]) {
    if examples.len() < 5 {
        examples.push(format!("{reason}: {}", String::from_utf8_lossy(message)));
    }
}
