//! The frame of a micro bench: named cases, timed by default, or run a given number of times without a clock so
//! that `instructions` can count under callgrind. What is measured lives in `bin/*_micro.rs`.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One case: a name that stays (it is the key in `instructions.json`) and what makes its work.
pub struct Case {
    name: String,
    prepare: Box<dyn FnOnce() -> Work>,
}

/// One iteration.
type Work = Box<dyn FnMut()>;

/// A case. `prepare` runs only if the case does, and returns one iteration's work, whose result is kept from the
/// optimizer.
pub fn case<T, W: FnMut() -> T + 'static>(
    name: impl Into<String>,
    prepare: impl FnOnce() -> W + 'static,
) -> Case {
    let prepare = move || -> Work {
        let mut work = prepare();
        Box::new(move || drop(black_box(work())))
    };
    Case {
        name: name.into(),
        prepare: Box::new(prepare),
    }
}

/// How long one case is timed, in rounds of a tenth of it.
const TIMED: Duration = Duration::from_millis(500);

/// The `main` of a micro bench. No argument: time every case (the least of the rounds counts); a word: only cases
/// whose name contains it; `--list`: names only; `--once N NAME`: run that one case N times.
pub fn main(cases: Vec<Case>) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["--list"] => cases.iter().for_each(|case| println!("{}", case.name)),
        ["--once", times, name] => return once(cases, times, name),
        [] => time(cases, ""),
        [part] if !part.starts_with('-') => time(cases, part),
        _ => {
            eprintln!("usage: [PART OF A NAME] | --list | --once N NAME");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn once(cases: Vec<Case>, times: &str, name: &str) -> ExitCode {
    let case = cases.into_iter().find(|case| case.name == name);
    let (Some(case), Ok(times)) = (case, times.parse::<u64>()) else {
        eprintln!("no case {name}, or {times} is no number");
        return ExitCode::from(2);
    };
    repeat(&mut (case.prepare)(), times);
    ExitCode::SUCCESS
}

/// A function of its own: `instructions` counts only what runs inside it.
#[inline(never)]
fn repeat(work: &mut Work, times: u64) {
    for _ in 0..times {
        work();
    }
}

fn time(cases: Vec<Case>, part: &str) {
    for case in cases.into_iter().filter(|case| case.name.contains(part)) {
        let mut work = (case.prepare)();
        let mut batch = 1u64;
        while timed(&mut work, batch) < TIMED / 10 && batch < 1 << 40 {
            batch *= 2;
        }
        let best = (0..10).map(|_| timed(&mut work, batch)).min().unwrap_or_default();
        println!(
            "{:<40} {:>12.1} ns",
            case.name,
            best.as_nanos() as f64 / batch as f64
        );
    }
}

fn timed(work: &mut Work, batch: u64) -> Duration {
    let start = Instant::now();
    repeat(work, batch);
    start.elapsed()
}
