//! Tools that this server carries out itself: HTTP endpoints and MCP servers, as the file of `--tools` says. It
//! promises that every call has a result within its time and its size, whatever the other side does, and that no
//! result and no log line carries a secret of the file. Whether a call is made at all, and how often, is decided
//! elsewhere.

mod file;
mod http;
mod mcp;
mod output;
mod secrets;
mod shelf;

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use mainstem_machine::CallResult;
use mainstem_runtime::ports::{ServerTool, ToolCall, Tools};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

pub use self::file::{FileError, ToolFile};
pub use self::secrets::Environment;

use self::file::Entry;
use self::http::HttpTool;
use self::mcp::Keeper;
use self::shelf::{Carrier, Shelf};
use crate::limits::mcp::START_TIMEOUT;

/// The tools of a file. Dropping it gives up all that runs for it, and kills the programs that it started.
#[derive(Debug)]
pub struct Toolbox {
    shelf: Arc<Shelf>,
    result_bytes_max: usize,
    stop: watch::Sender<bool>,
    keepers: Mutex<Vec<JoinHandle<()>>>,
}

/// Why the tools cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct SetupError(String);

impl Toolbox {
    /// Connects all MCP servers, and waits a little for them. Those that are not there are tried again for ever.
    pub async fn start(file: ToolFile, result_bytes_max: usize) -> Result<Self, SetupError> {
        let started = tokio::time::Instant::now();
        let (stop, stopped) = watch::channel(false);
        let shelf = Arc::new(Shelf::default());
        let toolbox = Self { shelf, result_bytes_max, stop, keepers: Mutex::default() };
        let mut tried = vec![];
        for (place, entry) in file.entries.into_iter().enumerate() {
            match entry {
                Entry::Http(entry) => {
                    let tool = HttpTool::new(entry, result_bytes_max);
                    let tool = Arc::new(tool.map_err(|error| SetupError(output::cause_of(&error)))?);
                    let entry = tool.entry();
                    let offered = ServerTool {
                        tool: entry.tool.clone(),
                        is_repeatable: entry.is_repeatable,
                        timeout: entry.timeout,
                    };
                    toolbox.shelf.put(place, vec![offered], Some(Carrier::Http(tool)));
                }
                Entry::Mcp(entry) => {
                    let (is_tried, mut first) = watch::channel(false);
                    let shelf = toolbox.shelf.clone();
                    let keeper = Keeper { entry: Arc::new(entry), place, shelf, result_bytes_max, is_tried };
                    toolbox.keepers().push(tokio::spawn(keeper.run(stopped.clone())));
                    tried.push(async move { first.wait_for(|is_tried| *is_tried).await.map(|_| ()) });
                }
            }
        }
        // Those that take longer come when they come.
        let _ = timeout_at(started + START_TIMEOUT, join_all(tried)).await;
        Ok(toolbox)
    }

    /// Ends the connections to all MCP servers, and the programs that were started.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let keepers = std::mem::take(&mut *self.keepers());
        join_all(keepers).await;
    }

    fn keepers(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Toolbox {
    fn drop(&mut self) {
        for keeper in &*self.keepers() {
            keeper.abort();
        }
    }
}

impl Tools for Toolbox {
    fn list(&self) -> Arc<[ServerTool]> {
        self.shelf.offer().tools.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'static, CallResult> {
        let refused = |why: String| ready(output::error(&why, self.result_bytes_max)).boxed();
        let offer = self.shelf.offer();
        let Some((offered, carrier)) = offer.find(&call.name) else {
            return refused(format!("the tool was not called: no tool {:?} is available now", call.name));
        };
        // S11: who begins it for the first time refuses it too. It cannot know that it is the first, and whoever comes
        // after it may find a tool that is repeatable again.
        if call.is_repeatable && !offered.is_repeatable {
            return refused(format!(
                "the tool was not called: {:?} was repeatable when the model was asked, and is not any more. Nobody \
                 knows whether it was called before by a server that went away.",
                call.name
            ));
        }
        match carrier {
            Carrier::Http(tool) => tool.call(call).boxed(),
            Carrier::Mcp(link) => link.call(call).boxed(),
        }
    }
}
