//! A server: a separate process on a free port, with its own database.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::{Method, Response};
use serde_json::Value;

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    folder: PathBuf,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("mainstem-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstem"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .arg(format!("--database=sqlite:{}", folder.join("chats.db").display()))
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("no address: {line:?}"));
        Self { child, url: url.to_owned(), folder }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("HTTP")
    }

    /// A new chat's path.
    pub(crate) async fn chat(&self, body: Value) -> String {
        let (status, chat) = self.ask(Method::POST, "/v1/chats", &body).await;
        assert_eq!(status, 201, "{chat}");
        format!("/v1/chats/{}", chat["id"].as_str().expect("an id"))
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        received(self.request(method, path).body(body).send().await.expect("an answer")).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", self.url))
    }
}

/// The status, and the JSON body if there is one. Asserts that every error is a problem document.
pub(crate) async fn received(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("ASCII").to_owned());
    let body = response.bytes().await.expect("a body");
    if status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status}");
    }
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
