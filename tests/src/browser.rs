//! A real browser, headless Chromium, with one page open, driven by its DevTools protocol. It knows nothing
//! of the server but its address: what it does with what it is answered is its own.

use std::fs;
use std::process::{Child, Command, Stdio};

use futures::{SinkExt, StreamExt};
use mainstem_programs::{CHROMIUM, CHROMIUM_FLAGS};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::Client;
use crate::deadline::{until, within};
use crate::last_will::LastWill;
use crate::scratch::Scratch;

const FLAGS: [&str; 2] = ["--no-proxy-server", "--remote-debugging-port=0"];

/// A page in a browser of its own.
#[derive(Debug)]
pub struct Page {
    child: Child,
    _last_will: LastWill,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
    _directory: Scratch,
}

impl Page {
    pub async fn open(url: &str) -> Self {
        Self::open_with(url, &[]).await
    }

    /// The same in a browser that was told that this host name is at 127.0.0.1, as an attacker's DNS would say.
    pub async fn open_rebound(url: &str, name: &str) -> Self {
        Self::open_with(url, &[&format!("--host-resolver-rules=MAP {name} 127.0.0.1")]).await
    }

    async fn open_with(url: &str, flags: &[&str]) -> Self {
        let directory = Scratch::new();
        let child = Command::new(CHROMIUM.path().unwrap_or_else(|missing| panic!("{missing}")))
            .args(CHROMIUM_FLAGS)
            .args(FLAGS)
            .args(flags)
            .arg(format!("--user-data-dir={}", directory.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let will = LastWill::new("kill -KILL \"$1\"", &[&child.id().to_string()]);
        let last_will = will.expect("a shell starts");
        let port = directory.path().join("DevToolsActivePort");
        let debugger = until("the browser has a page", async || {
            let port = fs::read_to_string(&port).ok()?.lines().next()?.to_owned();
            let targets = Client::new(&format!("http://127.0.0.1:{port}")).get("/json").await.body;
            let page = targets.as_array()?.iter().find(|target| target["type"] == "page")?;
            page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
        })
        .await;
        let connected = within("the browser takes a debugger", connect_async(debugger)).await;
        let (socket, _) = connected.expect("a WebSocket");
        let mut page = Self { child, _last_will: last_will, socket, asked: 0, _directory: directory };
        let is_loaded = "document.readyState == 'complete' ? location.href : ''";
        until("the page is loaded", async || (page.evaluate(is_loaded).await == url).then_some(())).await;
        page
    }

    /// What an expression of JavaScript comes to in the page, in the end, as JSON.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.asked += 1;
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let asked = json!({"id": self.asked, "method": "Runtime.evaluate", "params": params});
        self.socket.send(Message::text(asked.to_string())).await.expect("the browser lives");
        loop {
            let message = within("the browser answers", self.socket.next()).await;
            let message = message.expect("the browser lives").expect("a message");
            let Ok(text) = message.to_text() else { continue };
            let answer: Value = serde_json::from_str(text).unwrap_or_default();
            if answer["id"] == self.asked {
                assert!(answer["result"]["exceptionDetails"].is_null(), "{answer}");
                return answer["result"]["result"]["value"].clone();
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
