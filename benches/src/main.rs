//! Benchmarks: each pipeline beside the fastest hand-written loop over the same records, in the same run.

mod data;
mod loops;
mod options;
mod report;

use tidegate_runtime::time::Clock;
use crate::data::{Work, bids, keys, mix};

fn main() {
    let clock = Clock::system();
    let keys = keys();
    let bids = bids();
    println!("made {:?}", clock.elapsed());
    for _ in 0..3 {
        let work = Work::new(keys.clone(), 100_000_000);
        let began = clock.elapsed();
        loops::keyed_count::run(&work, &mut |out| { std::hint::black_box(out); });
        println!("keyed {:.1}", work.total as f64 / (clock.elapsed() - began).as_secs_f64() / 1e6);
        let work = Work::new(bids.clone(), 100_000_000);
        let began = clock.elapsed();
        loops::map_filter::run(&work, &mut |out| { std::hint::black_box(out); });
        println!("map {:.1}", work.total as f64 / (clock.elapsed() - began).as_secs_f64() / 1e6);
        let began = clock.elapsed();
        loops::tumbling_max::run(&work, &mut |out| { std::hint::black_box(out); });
        println!("tumbling {:.1}", work.total as f64 / (clock.elapsed() - began).as_secs_f64() / 1e6);
        let began = clock.elapsed();
        let mut n=0; loops::sliding_count::run(&work, &mut |out| { n+=out.len(); std::hint::black_box(out); });
        println!("sliding {:.1} {n}", work.total as f64 / (clock.elapsed() - began).as_secs_f64() / 1e6);
        let began = clock.elapsed();
        let mut n=0; loops::session_count::run(&work, &mut |out| { n+=out.len(); std::hint::black_box(out); });
        println!("session {:.1} {n}", work.total as f64 / (clock.elapsed() - began).as_secs_f64() / 1e6);
    }
    let _ = mix(3);
}
