//! The simulated tools of a server: how long they take, and whether they fail, says the script of the chat's model. Each
//! call that is begun, and each result, is told to the judges.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mainstem_machine::CallResult;
use mainstem_oracles::{Evidence, FaultKind, Name};
use mainstem_runtime::ports::{ServerTool, Tool, ToolCall, Tools};
use mainstem_story::{Carrying, TOOL_TIMEOUT, offered_tools, result_of};

use crate::model::ModelControl;
use crate::world::World;

/// The tools of one replica.
#[derive(Clone, Debug)]
pub(crate) struct SimTools {
    world: World,
    models: ModelControl,
    replica: String,
}

impl SimTools {
    pub(crate) fn new(world: &World, models: &ModelControl, replica: &str) -> Self {
        Self { world: world.clone(), models: models.clone(), replica: replica.to_owned() }
    }
}

impl Tools for SimTools {
    fn list(&self) -> Arc<[ServerTool]> {
        let tool = |name: Arc<str>| Tool {
            name,
            description: "does it".into(),
            input_schema: r#"{"type":"object"}"#.into(),
        };
        let offered = offered_tools(false);
        let offered = offered.iter().map(|offered| ServerTool {
            tool: tool(offered.name.clone()),
            is_repeatable: offered.is_repeatable,
            timeout: TOOL_TIMEOUT,
        });
        offered.collect()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'static, CallResult> {
        let (world, carrying) = (self.world.clone(), self.models.carrying(call.chat));
        let (replica, chat, of) = (Name::from(self.replica.as_str()), call.chat, call.of);
        world.trace(&self.replica, format_args!("calls {} of {chat}", call.name));
        let offered = offered_tools(false);
        let is_repeatable = offered.iter().any(|tool| tool.name == call.name && tool.is_repeatable);
        let (by, id) = (replica.clone(), call.id.clone());
        world.observe(Evidence::CallBegun { replica: by, chat, of, call: id, is_repeatable });
        async move {
            let (after, result) = match carrying {
                Carrying::Hangs => (TOOL_TIMEOUT, CallResult::error("The tool did not answer in time.")),
                Carrying::Fails(after) => (after, CallResult::error("The tool failed.")),
                Carrying::Returns(after) => (after, result_of(&call.id)),
            };
            world.sleep_until(world.now() + after).await;
            match carrying {
                Carrying::Hangs => world.landed(FaultKind::ToolHangs, &replica, format_args!("{}", call.id)),
                Carrying::Fails(_) => {
                    world.landed(FaultKind::ToolFails, &replica, format_args!("{}", call.id));
                }
                Carrying::Returns(_) => {}
            }
            let told = result.clone();
            world.observe(Evidence::CallReturned { replica, chat, of, call: call.id, result: told });
            result
        }
        .boxed()
    }
}
