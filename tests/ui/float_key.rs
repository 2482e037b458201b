//! A key must be hashable: a floating point number is not.
use tidegate::prelude::*;

fn main() {
    let flow = Dataflow::new("float");
    let _ = flow.source("numbers", collection(vec![1.5_f64])).key_by(|n| *n);
}
