//! What a client measures of itself, and how it tells the parent.

use std::{fs, str::FromStr};

use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Nanoseconds of the clock that all processes share.
pub fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Taken when a client is ready, before the first message.
pub struct Meter {
    cpu: u64,
    allocations: usize,
}

impl Meter {
    pub fn start() -> Self {
        Self {
            cpu: nanos(ClockId::ProcessCPUTime),
            allocations: allocations(),
        }
    }

    /// The figures of a client that got `messages`, the first at `first`, and the last just now.
    pub fn stop(&self, messages: usize, first: u64, mut latencies: Vec<u64>) -> Figures {
        let wall = now() - first;
        let cpu = nanos(ClockId::ProcessCPUTime) - self.cpu;
        let allocated = allocations() - self.allocations;
        latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share) as usize;
            latencies.get(rank).map_or(0.0, |nanos| *nanos as f64 / 1e3)
        };
        Figures {
            rate: messages as f64 * 1e9 / wall as f64,
            cpu: cpu as f64 / messages as f64,
            allocations: allocated as f64 / messages as f64,
            memory: peak_memory(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// The most memory that the process ever had, in MiB.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or_default() / 1_024.0
}

/// What one run of one client came to.
#[derive(Clone, Copy)]
pub struct Figures {
    /// Messages per second, each to all consumers.
    pub rate: f64,
    /// Nanoseconds of the client's processor time, all its threads together, per message.
    pub cpu: f64,
    /// Per message.
    pub allocations: f64,
    /// MiB.
    pub memory: f64,
    /// From the server's write to the handler, in microseconds.
    pub p50: f64,
    pub p99: f64,
}

impl Figures {
    pub fn to_line(self) -> String {
        let Self {
            rate,
            cpu,
            allocations,
            memory,
            p50,
            p99,
        } = self;
        format!("{rate} {cpu} {allocations} {memory} {p50} {p99}")
    }

    pub fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(f64::from_str);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            rate: next()?,
            cpu: next()?,
            allocations: next()?,
            memory: next()?,
            p50: next()?,
            p99: next()?,
        })
    }

    /// Figure by figure, the middle one of the runs.
    pub fn median(runs: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            rate: middle(|run| run.rate),
            cpu: middle(|run| run.cpu),
            allocations: middle(|run| run.allocations),
            memory: middle(|run| run.memory),
            p50: middle(|run| run.p50),
            p99: middle(|run| run.p99),
        }
    }
}
