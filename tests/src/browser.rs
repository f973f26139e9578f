//! A real browser, headless Chromium, with one page open, driven by its DevTools protocol. It knows nothing
//! of the server but its address: what it does with what it is answered is its own.

use std::fs;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

    /// Goes to another page.
    pub async fn go(&mut self, url: &str) {
        self.evaluate(&format!("void (location.href = {})", json!(url))).await;
        until("the page is there", async || (self.evaluate("location.href").await == url).then_some(()))
            .await;
    }

    /// What an expression of JavaScript comes to in the page, in the end, as JSON; null while there is no page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", params).await;
        let between_pages = [
            "Cannot find default execution context",
            "Execution context was destroyed.",
            "Inspected target navigated or closed",
        ];
        if answer["error"]["message"].as_str().is_some_and(|message| between_pages.contains(&message)) {
            return Value::Null;
        }
        assert!(answer["error"].is_null() && answer["result"]["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["result"]["value"].clone()
    }

    /// Types this text where the focus is.
    pub async fn type_text(&mut self, text: &str) {
        self.command("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key, by its name (UI Events, "Named Key Attribute Values"), with these others held: `Control`, `Shift`.
    pub async fn press(&mut self, key: &str, held: &[&str]) {
        let modifiers: u8 = held.iter().map(|held| if *held == "Shift" { 8 } else { 2 }).sum();
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "ArrowUp" => 38,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    /// The size of the window in pixels, and `light` or `dark`.
    pub async fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", scheme).await;
    }

    /// What it looks like, as a PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let taken = self.command("Page.captureScreenshot", json!({})).await;
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("Base64")
    }

    /// Has a method of the DevTools protocol carried out, and returns its result.
    pub async fn command(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let asked = json!({"id": self.asked, "method": method, "params": params});
        self.socket.send(Message::text(asked.to_string())).await.expect("the browser lives");
        loop {
            let message = within("the browser answers", self.socket.next()).await;
            let message = message.expect("the browser lives").expect("a message");
            let Ok(text) = message.to_text() else { continue };
            let answer: Value = serde_json::from_str(text).unwrap_or_default();
            if answer["id"] == self.asked {
                return answer;
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
