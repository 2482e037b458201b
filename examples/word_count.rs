//! The first program of the README: counts words and writes each new count to `out`, exactly once.

use tidegate::prelude::{Dataflow, Execute, files, json_lines};

fn main() -> tidegate::Result<()> {
    let flow = Dataflow::new("word-count");
    flow.source("lines", files("examples/data/words.txt"))
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .key_by(|word| word.clone())
        .stateful_map("count", |count: &mut u64, word| {
            *count += 1;
            (word, *count)
        })
        .sink("counts", json_lines("out"));
    flow.run()?;
    Ok(())
}
