//! All that a pipeline's program needs: `use tidegate::prelude::*`.

pub use crate::Execute;
pub use tidegate_connectors::{
    Collected, OnBadRecord, channel, channel_sink, collect, collection, csv, discard, files, generate,
    json_lines, lines,
};
pub use tidegate_derive::States;
pub use tidegate_operators::{
    CoProcess, Context, Dataflow, Found, KeyedStream, Pattern, Process, Session, SideOutput, SideOutputs,
    Sliding, Stream, Timed, Tumbling, Untimed, WatermarkGenerator, WatermarkStrategy, Window, WindowedStream,
};
pub use tidegate_runtime::config::{
    AfterLastRecord, CheckpointConfig, Endpoint, JobConfig, RestartPolicy, StateBackend,
};
pub use tidegate_runtime::error::BoxError;
pub use tidegate_runtime::source::DeadLetter;
pub use tidegate_runtime::state::{
    Aggregate, AggregatingState, ListState, MapState, Reduce, ReducingState, States, ValueState,
};
pub use tidegate_runtime::time::{Timestamp, hours, millis, minutes, seconds};
pub use tidegate_supervisor::{Job, JobReport, JobState, StopMode};
