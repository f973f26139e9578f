//! A client of one replica.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstem_oracles::viewer::WireMessage;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_rustls::rustls::ClientConfig;

use crate::authority::Authority;
use crate::deadline::until;

/// Longer than any request takes that is answered at all.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
    /// What it trusts, over TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// An answer. `status` is 0 if there was none.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `Null` if the body is not JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Asserts the status, and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Asserts that it is a problem document with this code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, &self.body["code"]), (status, &code.into()), "{}", self.text);
        self.expect_document()
    }

    /// Asserts that it is a problem document with any code.
    #[track_caller]
    pub fn expect_document(self) -> Self {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some("application/problem+json"), "{}", self.text);
        assert_eq!(self.body["status"], self.status, "{}", self.text);
        for member in ["type", "title", "detail", "code"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{}", self.text);
        }
        assert_eq!(header("retry-after").is_some(), matches!(self.status, 429 | 503), "{}", self.text);
        self
    }
}

impl Client {
    pub fn new(base: &str) -> Self {
        Self::built(reqwest::Client::builder(), base)
    }

    fn built(builder: reqwest::ClientBuilder, base: &str) -> Self {
        let http = builder.no_proxy().timeout(CALL_TIMEOUT).build();
        Self { http: http.expect("a client"), base: base.to_owned(), token: None, tls: None }
    }

    /// One that trusts this authority alone. `takes_http2`: it offers HTTP/2.
    pub fn trusting(base: &str, authority: &Authority, takes_http2: bool) -> Self {
        let root = Certificate::from_pem(authority.pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(root);
        let http = if takes_http2 { http } else { http.http1_only() };
        Self { tls: Some(authority.trusting()), ..Self::built(http, base) }
    }

    /// The same from another address of this machine: all of 127.0.0.0/8 are.
    pub fn from_address(&self, address: [u8; 4]) -> Self {
        let builder = reqwest::Client::builder().local_address(IpAddr::from(address));
        Self { token: self.token.clone(), ..Self::built(builder, &self.base) }
    }

    /// The same client, as another user.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn ask(&self, request: RequestBuilder) -> Answer {
        match request.send().await {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let text = response.text().await.unwrap_or_default();
                Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
            }
            Err(error) => {
                let text = format!("no answer: {error:?}");
                Answer { status: 0, headers: HeaderMap::new(), body: Value::Null, text }
            }
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(self.request(Method::DELETE, path)).await
    }

    /// Creates a chat that runs with `content`, and returns its id.
    #[track_caller]
    pub fn create(&self, content: &str) -> impl Future<Output = String> {
        let body = if content.is_empty() { json!({}) } else { json!({"content": content}) };
        let (client, location) = (self.clone(), std::panic::Location::caller());
        async move {
            let answer = client.post("/v1/chats", body).await;
            assert_eq!(answer.status, 201, "{} at {location}", answer.text);
            answer.body["id"].as_str().expect("a chat has an id").to_owned()
        }
    }

    /// Sends to a chat, and returns the body of the answer.
    pub async fn send(&self, chat: &str, content: &str) -> Value {
        self.send_as(chat, content, "queue").await.expect(202).body
    }

    pub async fn send_as(&self, chat: &str, content: &str, busy: &str) -> Answer {
        let path = format!("/v1/chats/{chat}/messages");
        self.post(&path, json!({"content": content, "busy": busy})).await
    }

    pub async fn interrupt(&self, chat: &str) -> Answer {
        self.post(&format!("/v1/chats/{chat}/interrupt"), json!({})).await
    }

    pub async fn chat(&self, chat: &str) -> Value {
        self.get(&format!("/v1/chats/{chat}")).await.expect(200).body
    }

    /// The whole committed history.
    pub async fn messages(&self, chat: &str) -> Vec<WireMessage> {
        let (mut messages, mut after) = (vec![], 0);
        loop {
            let path = format!("/v1/chats/{chat}/messages?limit=100&after_id={after}");
            // As it came: a tree of values would not keep it byte for byte.
            let page: Page = serde_json::from_str(&self.get(&path).await.expect(200).text).expect("a page");
            messages.extend(page.messages);
            match page.next {
                Some(next) => after = next,
                None => return messages,
            }
        }
    }

    /// Waits until the chat is idle with an empty queue, and returns it.
    pub async fn until_idle(&self, chat: &str) -> Value {
        until("the chat comes to rest", async || {
            let chat = self.chat(chat).await;
            let is_idle = matches!(chat["status"].as_str(), Some("waiting" | "error"));
            (is_idle && chat["queue"] == json!([])).then_some(chat)
        })
        .await
    }

    /// Waits until a replica works on the chat, and returns its id.
    pub async fn until_running(&self, chat: &str) -> String {
        until("a worker takes the chat", async || {
            let chat = self.chat(chat).await;
            chat["worker"].as_str().filter(|_| chat["attempt"].as_u64() > Some(0)).map(str::to_owned)
        })
        .await
    }
}

/// What the demo generator answers with this many parts.
pub fn counted(parts: u64) -> String {
    (1..=parts).map(|part| format!("{part} ")).collect()
}

/// Whether it is a beginning of the demo generator's answer, cut after a part.
pub fn is_counted(text: &str) -> bool {
    text == counted(text.split(' ').count() as u64 - 1)
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<WireMessage>,
    next: Option<u64>,
}
