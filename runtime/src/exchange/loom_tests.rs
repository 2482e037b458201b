//! Model checks of the gate and the wake-up, on the real structures: run with `RUSTFLAGS="--cfg tidegate_loom"`.
