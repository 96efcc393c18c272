//! What a daemon costs: processor time and resident memory of a process and all its children, from proc(5).

use std::collections::BTreeMap;
use std::fs;

/// Processor time used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Nanoseconds on a processor, exact, of every thread that is alive (`schedstat`).
    pub on_cpu_ns: u64,
    /// User and system time in clock ticks of a hundredth of a second (`stat`).
    pub ticks: u64,
}

impl Cost {
    /// Returns what was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns.saturating_sub(earlier.on_cpu_ns),
            ticks: self.ticks.saturating_sub(earlier.ticks),
        }
    }
}

/// Returns the process and all its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = stat_field(child, 1) {
            children.entry(parent as u32).or_default().push(child);
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(children.get(&parent).into_iter().flatten());
        next += 1;
    }
    found
}

/// Adds up the processor time of the given processes.
pub fn cost(processes: &[u32]) -> Cost {
    let mut cost = Cost::default();
    for &pid in processes {
        cost.ticks += stat_field(pid, 11).unwrap_or(0) + stat_field(pid, 12).unwrap_or(0);
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let line = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            cost.on_cpu_ns += line
                .split(' ')
                .next()
                .and_then(|field| field.parse().ok())
                .unwrap_or(0_u64);
        }
    }
    cost
}

/// Adds up the resident memory of the given processes in bytes; a page that several share counts once (`Pss`).
pub fn resident(processes: &[u32]) -> u64 {
    let mut kilobytes = 0;
    for pid in processes {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .unwrap_or_default();
        kilobytes += line.trim().trim_end_matches(" kB").parse().unwrap_or(0_u64);
    }
    kilobytes * 1024
}

/// Whether every thread of the given processes sleeps: none runs or wants to.
pub fn are_asleep(processes: &[u32]) -> bool {
    let tasks = processes
        .iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
    let mut states = tasks.flatten().flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ")
            .and_then(|(_, fields)| fields.chars().next())
    });
    !states.any(|state| matches!(state, Some('R' | 'D')))
}

/// Returns the processor time spent in the whole family of `pid`.
pub fn family_cost(pid: u32) -> Cost {
    cost(&family(pid))
}

/// Numbers the fields of `/proc/PID/stat` from the one after the command's name: 0 is the state.
fn stat_field(pid: u32, index: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::are_asleep;
    use super::cost;
    use super::family;
    use super::resident;

    #[test]
    fn this_process_costs_something() {
        let family = family(std::process::id());
        assert_eq!(family[0], std::process::id());
        assert!(cost(&family).on_cpu_ns > 0);
        assert!(resident(&family) > 100_000);
        assert!(!are_asleep(&family), "this thread runs");
    }
}
