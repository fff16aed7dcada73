//! `omadm-sim lives`: many lives, or the story of one.

use omadm_sim::lives::crowd::{News, live_all, story};
use std::process::ExitCode;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The most failing lives whose stories are told.
const STORIES: usize = 3;

/// `--seed N` tells one life; `--count N` lives many, beginning with the seed `--from`.
pub(crate) fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let (mut seed, mut from, mut count) = (None, None, 1_000_000);
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        match (word.as_str(), number) {
            ("--seed", Some(number)) => seed = Some(number),
            ("--from", Some(number)) => from = Some(number),
            ("--count", Some(number)) => count = number,
            ("--threads", Some(number)) => threads = usize::try_from(number).unwrap_or(threads),
            (word, _) => {
                eprintln!("omadm-sim lives: --seed N, --from N, --count N or --threads N is expected, not {word}");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(seed) = seed {
        let (held, text) = story(seed);
        eprint!("{text}");
        return if held { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    many(from.unwrap_or_else(fresh), count, threads)
}

fn many(from: u64, count: u64, threads: usize) -> ExitCode {
    eprintln!("{count} lives on {threads} threads; the same again with --from {from}");
    let began = Instant::now();
    let tell = |news: News<'_>| match news {
        News::Lived(lived) => {
            let seconds = began.elapsed().as_secs_f64();
            let rate = lived as f64 / seconds.max(0.001);
            let left = (count - lived) as f64 / rate.max(0.001);
            eprint!("\r{lived} lives, {rate:.0} a second, {left:.0} s to go   ");
        }
        News::Failed(seed, broken) => eprintln!("\nlife {seed}: {broken}"),
    };
    let sum = live_all(from, count, threads, &tell);
    let seconds = began.elapsed().as_secs_f64();
    let each = seconds * 1000.0 * threads as f64 / sum.lives.max(1) as f64;
    eprintln!("\n{}{:<14}  {seconds:.0} s, {each:.2} ms of one core for each life", sum.table(), "time");
    for (seed, _) in sum.failures.iter().take(STORIES) {
        eprintln!("\n{}", story(*seed).1);
    }
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fresh() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() << 20)
}
