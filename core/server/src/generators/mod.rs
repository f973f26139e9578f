//! The generators: an OpenAI-compatible endpoint, or the demo, which is in the runtime because the simulator
//! uses it too.

mod instructed;
mod openai;

pub use instructed::Instructed;
pub use mainstem_runtime::demo::Demo;
pub use openai::{ApiKey, OpenAi, OpenAiConfig, SetupError, event_bytes_max};
