//! The generators: an OpenAI-compatible endpoint, an agent, or the demo, which is in the runtime because the simulator
//! uses it too.

mod agent;
mod calls;
mod events;
mod fault;
mod http;
mod instructed;
mod json;
mod openai;
mod patience;
mod report;
mod run;

pub use agent::{Agent, AgentConfig};
pub use events::event_bytes_max;
pub use http::{ApiKey, SetupError};
pub use instructed::Instructed;
pub use mainstem_runtime::demo::Demo;
pub use openai::{OpenAi, OpenAiConfig};
