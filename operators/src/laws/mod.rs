//! The laws of every stateful operator, held up to random steps and to models of the rules themselves.

mod tests;
