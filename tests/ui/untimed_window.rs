//! An untimed stream can't be windowed by event time.
use tidegate::prelude::*;

fn main() {
    let flow = Dataflow::new("untimed");
    let _ = flow.source("numbers", collection(vec![1_u64, 2])).key_by(|n| *n).window(Tumbling::of(seconds(10)));
}
