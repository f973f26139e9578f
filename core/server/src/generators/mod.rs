//! The generators: an OpenAI-compatible endpoint, or the demo, which is in the runtime because the simulator
//! uses it too.

mod openai;

pub use mainstem_runtime::demo::Demo;
pub use openai::{ApiKey, OpenAi, OpenAiConfig, SetupError, event_bytes_max};
