//! Living many lives at once, and what came of them all.

use super::broken::Broken;
use super::device::{Life, Options, live};
use super::plan::{Plan, moment};
use super::shrink::shrink;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many failing lives are kept.
const KEPT: usize = 20;

/// What came of many lives.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    /// How many were lived.
    pub lives: u64,
    /// Sessions that ended as they should.
    pub sessions: u64,
    /// Requests over the network.
    pub requests: u64,
    /// Times that the power went.
    pub cuts: u64,
    /// Virtual seconds.
    pub seconds: u64,
    /// Accounts that card, factory and bootstrap server brought.
    pub installed: [u64; 3],
    /// The reasons that were given.
    pub reasons: BTreeSet<String>,
    /// How many lives failed.
    pub failed: u64,
    /// Some of them: seed and what was broken.
    pub failures: Vec<(u64, Broken)>,
}

impl Sum {
    fn add(&mut self, seed: u64, life: Life) {
        self.lives += 1;
        self.sessions += life.counts.sessions;
        self.requests += life.counts.requests;
        self.cuts += life.counts.cuts;
        self.seconds += life.seconds;
        for (sum, one) in self.installed.iter_mut().zip(life.installed) {
            *sum += one;
        }
        self.reasons.extend(life.reasons);
        if let Some(broken) = life.broken {
            self.failed += 1;
            if self.failures.len() < KEPT {
                self.failures.push((seed, broken));
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.lives += other.lives;
        self.sessions += other.sessions;
        self.requests += other.requests;
        self.cuts += other.cuts;
        self.seconds += other.seconds;
        for (sum, one) in self.installed.iter_mut().zip(other.installed) {
            *sum += one;
        }
        self.reasons.extend(other.reasons);
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(KEPT);
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let years = self.seconds / (365 * 24 * 3600);
        let [card, factory, server] = self.installed;
        let rows = [
            ("lives", self.lives.to_string()),
            ("virtual years", years.to_string()),
            ("sessions", self.sessions.to_string()),
            ("requests", self.requests.to_string()),
            ("power cuts", self.cuts.to_string()),
            ("bootstraps", format!("{card} by card, {factory} by factory file, {server} by bootstrap server")),
            ("reasons seen", self.reasons.iter().cloned().collect::<Vec<_>>().join(" ")),
            ("failures", self.failed.to_string()),
        ];
        for (name, value) in rows {
            let _ = writeln!(text, "{name:<14}  {value}");
        }
        text
    }
}

/// What is told while many lives are being lived.
#[derive(Debug)]
pub enum News<'a> {
    /// So many were lived; told at every thousandth.
    Lived(u64),
    /// The life of this seed failed; told at once.
    Failed(u64, &'a Broken),
}

/// Lives the lives of these seeds on as many threads and tells how it goes.
///
/// # Panics
/// With the panic of a life: a sum without it would count for less than it says.
pub fn live_all(first: u64, count: u64, threads: usize, tell: &(dyn Fn(News<'_>) + Sync)) -> Sum {
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return sum;
            }
            let seed = first.wrapping_add(number);
            let life = live(&Arc::new(Plan::of(seed)), Options::default());
            if let Some(broken) = &life.broken {
                tell(News::Failed(seed, broken));
            }
            sum.add(seed, life);
            if number % 1000 == 999 {
                tell(News::Lived(number + 1));
            }
        }
    };
    let mut sum = Sum::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => sum.join(part),
                Err(panic) => resume_unwind(panic),
            }
        }
    });
    sum
}

/// The story of a life, shrunk if it fails, with the command that tells it again.
pub fn story(seed: u64) -> (bool, String) {
    let plan = Plan::of(seed);
    let first = live(&Arc::new(plan.clone()), Options::default());
    let plan = match &first.broken {
        Some(broken) => shrink(&plan, broken.invariant, Options::default()),
        None => plan,
    };
    let life = live(&Arc::new(plan.clone()), Options { story: true, ..Options::default() });
    let mut text = format!("life {seed}: {:?}, in the end by the {:?}\n", plan.device, plan.way);
    text += "what it meets:\n";
    for trouble in &plan.troubles {
        let _ = writeln!(text, "  {trouble}");
    }
    text += "what happens:\n";
    let last = life.story.len().saturating_sub(200);
    for (at, line) in life.story.iter().skip(last) {
        let _ = writeln!(text, "  {}  {line}", moment(*at));
    }
    match &life.broken {
        Some(broken) => {
            let _ = writeln!(text, "BROKEN: {broken}");
        }
        None => text += "all held\n",
    }
    let _ = writeln!(text, "again: cargo run --release -p omadm-sim -- lives --seed {seed}");
    (life.broken.is_none(), text)
}
