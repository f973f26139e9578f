//! The models a server can be given: an OpenAI-compatible endpoint, or the demo, which lives in the runtime
//! because the simulator runs it too.

mod openai;

pub use mainstem_runtime::demo::Demo;
pub use openai::{
    ApiKey, CONNECT_TIMEOUT, EVENT_BYTES_MAX, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, OpenAi, OpenAiConfig,
    SetupError, event_bytes_max,
};
