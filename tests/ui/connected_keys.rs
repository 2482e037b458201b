//! Two connected streams must have one type of key.
use tidegate::prelude::*;

fn main() {
    let flow = Dataflow::new("keys");
    let numbers = flow.source("numbers", collection(vec![1_u64])).key_by(|n| *n);
    let words = flow.source("words", collection(vec!["one".to_owned()])).key_by(|word| word.clone());
    let _ = numbers.connect(words);
}
