//! Computes what the pipeline must have committed, without the pipeline: it reads the input files itself, sorts,
//! scans, and compares with the committed lines as bags. Nothing here uses Tidegate.

mod compare;
mod expect;
mod input;
#[cfg(test)]
mod tests;

pub(crate) use compare::verify;
