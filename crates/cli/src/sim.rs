//! `sota sim`: the deterministic world, from seeds.

use crate::failure::Failure;
use crate::out::Out;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sota_errors::ProgramError;
use sota_sim::draw::world_of;
use sota_sim::exhaustive::{self, Places, Which};
use sota_sim::fault::{Fault, clock};
use sota_sim::run::{run_many, shrink, story};
use sota_sim::setup::Setup;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Options of `sota sim`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Args {
    /// The world of this seed.
    #[arg(long, group = "what")]
    seed: Option<u64>,
    /// Tell its story, line by line.
    #[arg(long, requires = "seed")]
    story: bool,
    /// All seeds from A up to, not with, B.
    #[arg(long, group = "what", value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Power cut before, in the middle of and after every flash operation, datagram, frame and commit of a small
    /// upgrade; `pairs`: a second cut at every flash operation after the first; `all-pairs`: every combination; `link`:
    /// every flash operation and frame of upgrades over the binary link, confirmed (with a change of the baud rate and without) and reverted.
    #[arg(long, group = "what", value_enum)]
    exhaustive: Option<Cases>,
    /// Only every Nth case.
    #[arg(long, requires = "exhaustive", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    step: Option<u16>,
    /// Threads (default: one a core).
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Cases {
    Singles,
    Pairs,
    AllPairs,
    Link,
}

/// `A..B`, not empty.
fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text} is not A..B with A below B");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().ok(), to.parse().ok());
    match (from, to) {
        (Some(from), Some(to)) if from < to => Ok(from..to),
        _ => Err(wrong()),
    }
}

pub(crate) fn run(args: Args, out: Out) -> Result<(), Failure> {
    let threads = match args.threads {
        Some(threads) => threads.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    match (args.seed, args.seeds, args.exhaustive) {
        (Some(seed), ..) => one(seed, args.story, out),
        (_, Some(seeds), _) => many(seeds, threads, out),
        (_, _, Some(cases)) => every(cases, args.step.unwrap_or(1).into(), threads, out),
        _ => Ok(()),
    }
}

fn one(seed: u64, told: bool, out: Out) -> Result<(), Failure> {
    let (setup, faults) = world_of(seed);
    let (lines, outcome) = story(&setup, seed, &faults);
    if told {
        out.line(
            format!("{setup:#?}"),
            json!({"setup": format!("{setup:?}")}),
        );
        for fault in &faults {
            out.line(
                format!("fault: {fault}"),
                json!({"fault": fault.to_string()}),
            );
        }
        for line in lines {
            out.line(&line, json!({"line": line}));
        }
    }
    let ends = format!(
        "seed {seed}: {} at {}, Center says {:?}, MCU boots {:?}, {} datagrams, {} frames, {} flash operations",
        outcome
            .broken
            .as_ref()
            .map_or("every rule holds".into(), ToString::to_string),
        clock(outcome.at),
        outcome.states,
        outcome.boots,
        outcome.datagrams,
        outcome.frames,
        outcome.flash.0 + outcome.flash.1,
    );
    let object = json!({
        "seed": seed,
        "broken": outcome.broken.as_ref().map(ToString::to_string),
        "states": format!("{:?}", outcome.states),
        "datagrams": outcome.datagrams,
        "frames": outcome.frames,
        "flash_operations": [outcome.flash.0, outcome.flash.1],
        "virtual_seconds": outcome.at / 1_000_000,
    });
    out.line(ends, object);
    let Some(broken) = outcome.broken else {
        return Ok(());
    };
    for fault in shrink(&setup, seed, &faults) {
        out.line(
            format!("needs {fault:?}"),
            json!({"needs": format!("{fault:?}")}),
        );
    }
    Err(Failure::new(
        ProgramError::RuleBroken,
        format!("seed {seed}: {broken}"),
    ))
}

fn bar(length: u64, json: bool) -> ProgressBar {
    let bar = match json {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(length),
    };
    let style = "{bar:40} {pos}/{len}  {per_sec}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn many(seeds: Range<u64>, threads: usize, out: Out) -> Result<(), Failure> {
    let count = seeds.end - seeds.start;
    let bar = bar(count, out.json);
    let (faultless, virtual_s) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let failures = run_many(seeds.clone(), threads, &|seed, outcome| {
        let first = outcome.broken.is_none() && world_of(seed).1.is_empty();
        faultless.fetch_add(first.into(), Ordering::Relaxed);
        virtual_s.fetch_add(outcome.at / 1_000_000, Ordering::Relaxed);
        bar.inc(1);
    });
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    for failure in &failures {
        let faults: Vec<String> = failure.faults.iter().map(|f| format!("{f:?}")).collect();
        out.line(
            format!(
                "seed {}: {}; needs {faults:?}",
                failure.seed, failure.broken
            ),
            json!({"seed": failure.seed, "broken": failure.broken.to_string(), "needs": faults}),
        );
    }
    let (days, without) = (virtual_s.into_inner() / 86_400, faultless.into_inner());
    out.line(
        format!(
            "{count} seeds ({without} without a fault) in {seconds:.1} s, {:.0} a second; {days} virtual days; {} broke a rule",
            count as f64 / seconds,
            failures.len()
        ),
        json!({"seeds": count, "without_fault": without, "seconds": seconds, "virtual_days": days, "failures": failures.len()}),
    );
    match failures.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            ProgramError::RuleBroken,
            format!("seed {}: {}", first.seed, first.broken),
        )),
    }
}

fn every(cases: Cases, step: usize, threads: usize, out: Out) -> Result<(), Failure> {
    let which = match cases {
        Cases::Singles => Which::Singles,
        Cases::Pairs => Which::Pairs,
        Cases::AllPairs => Which::AllPairs,
        Cases::Link => return link(step, threads, out),
    };
    let setup = exhaustive::setup();
    let places = exhaustive::places(&setup);
    let cases = exhaustive::cases(which, &places);
    run_every("", &setup, &places, &every_nth(cases, step), threads, out)
}

/// Sizes of the packages whose upgrades over the link are cut everywhere.
const LINK_SIZES: [u32; 2] = [3_000, 32 * 1024];
/// The rate that it changes to while a package comes.
const LINK_BAUD: u32 = 921_600;

fn link(step: usize, threads: usize, out: Out) -> Result<(), Failure> {
    for size in LINK_SIZES {
        let setup = exhaustive::link_setup(size, true, LINK_BAUD);
        let places = exhaustive::places(&setup);
        let cases = exhaustive::link_cases(&places, None);
        let name = format!("link, {size} bytes, from 115200 to {LINK_BAUD} baud, confirmed: ");
        run_every(
            &name,
            &setup,
            &places,
            &every_nth(cases, step),
            threads,
            out,
        )?;
        let setup = exhaustive::link_setup(size, true, 0);
        let confirmed = exhaustive::places(&setup);
        let cases = exhaustive::link_cases(&confirmed, None);
        let name = format!("link, {size} bytes, confirmed: ");
        run_every(
            &name,
            &setup,
            &confirmed,
            &every_nth(cases, step),
            threads,
            out,
        )?;
        let setup = exhaustive::link_setup(size, false, 0);
        let places = exhaustive::places(&setup);
        // What comes before the confirmation was cut already.
        let from = confirmed.mcu_flash - 1;
        let cases = exhaustive::link_cases(&places, Some(from));
        let name =
            format!("link, {size} bytes, reverted, the MCU from flash operation {from} on: ");
        run_every(
            &name,
            &setup,
            &places,
            &every_nth(cases, step),
            threads,
            out,
        )?;
    }
    Ok(())
}

fn every_nth(cases: Vec<Vec<Fault>>, step: usize) -> Vec<Vec<Fault>> {
    cases.into_iter().step_by(step).collect()
}

fn run_every(
    name: &str,
    setup: &Setup,
    places: &Places,
    cases: &[Vec<Fault>],
    threads: usize,
    out: Out,
) -> Result<(), Failure> {
    let bar = bar(cases.len() as u64, out.json);
    let began = Instant::now();
    let failed = exhaustive::run_cases(setup, cases, threads, &|_| bar.inc(1));
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    for (faults, broken) in &failed {
        out.line(
            format!("{faults:?}: {broken}"),
            json!({"faults": format!("{faults:?}"), "broken": broken.to_string()}),
        );
    }
    out.line(
        format!(
            "{name}{} cases over {places:?} in {seconds:.1} s; {} broke a rule",
            cases.len(),
            failed.len()
        ),
        json!({"world": name, "cases": cases.len(), "places": format!("{places:?}"), "seconds": seconds, "failures": failed.len()}),
    );
    match failed.first() {
        None => Ok(()),
        Some((faults, broken)) => Err(Failure::new(
            ProgramError::RuleBroken,
            format!("{faults:?}: {broken}"),
        )),
    }
}
