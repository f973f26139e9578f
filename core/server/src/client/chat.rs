//! `mainstem chat`: a terminal client that can send, watch, interrupt, edit and resume.

use std::io::{self, Write};

use clap::Args;
use mainstem_oracles::viewer::{Piece, WireBody, WireEvent, WireMessage, WireQueued};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use uuid::Uuid;

use super::blocks::{in_one_line, shown, sign};
use super::terminal::printable;
use super::{Api, CallError, Follow, TokenOptions};
use crate::failure::Failure;
use crate::limits::client::TRIES_MAX;

const HELP: &str = "/interrupt  /queue  /promote ID  /edit ID TEXT  /quit  and anything else is sent";

#[derive(Clone, Debug, Args)]
pub struct ChatOptions {
    /// The chat's id; a new chat if there is none
    chat: Option<String>,
    #[arg(long, env = "MAINSTEM_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    #[command(flatten)]
    token: TokenOptions,
}

pub async fn chat(options: ChatOptions) -> Result<(), Failure> {
    let api = Api::new(&options.server, options.token.token()?)?;
    let chat = match options.chat {
        Some(chat) => chat,
        None => {
            let created = ask(&api, Method::POST, "/v1/chats", Some(json!({}))).await;
            let created = created.map_err(Failure::environment)?;
            created["id"].as_str().ok_or_else(|| Failure::environment("the server made no chat"))?.to_owned()
        }
    };
    eprintln!("chat {}\n{HELP}", printable(&chat));
    let follow = Follow::new(vec![api.clone()], 0, &chat, None);
    Terminal { api, chat, screen: Screen::default(), lines: Some(BufReader::new(tokio::io::stdin()).lines()) }
        .run(follow)
        .await
}

async fn ask(api: &Api, method: Method, path: &str, body: Option<Value>) -> Result<Value, CallError> {
    let key = Uuid::now_v7().to_string();
    let mut tries = 0;
    loop {
        tries += 1;
        match api.call(method.clone(), path, body.as_ref(), Some(&key)).await {
            Err(error) if !error.is_final() && tries < TRIES_MAX => {
                tokio::time::sleep(std::time::Duration::from_millis(250 << tries)).await;
            }
            answer => return answer,
        }
    }
}

struct Terminal {
    api: Api,
    chat: String,
    screen: Screen,
    /// Lines from standard input, until its end.
    lines: Option<Lines<BufReader<Stdin>>>,
}

impl Terminal {
    async fn run(mut self, mut follow: Follow) -> Result<(), Failure> {
        loop {
            tokio::select! {
                data = follow.next() => {
                    let data = data.map_err(Failure::environment)?;
                    let mut out = io::stdout().lock();
                    let shown = self.screen.show(&data);
                    if write!(out, "{}", printable(&shown)).and_then(|()| out.flush()).is_err() {
                        return Ok(());
                    }
                }
                line = next_line(&mut self.lines) => match line {
                    Some(line) if line.trim() == "/quit" => return Ok(()),
                    Some(line) => self.on_line(line.trim()).await,
                    None => self.lines = None,
                },
                _ = tokio::signal::ctrl_c() => {
                    if self.screen.is_idle() {
                        return Ok(());
                    }
                    self.request(Method::POST, "/interrupt", Some(json!({}))).await;
                }
            }
            // All input is answered, and there is no more.
            if self.lines.is_none() && self.screen.is_idle() {
                return Ok(());
            }
        }
    }

    async fn on_line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" => {}
            "/interrupt" => self.request(Method::POST, "/interrupt", Some(json!({}))).await,
            "/promote" => self.request(Method::POST, &format!("/queue/{rest}/promote"), None).await,
            "/queue" => {
                for queued in &self.screen.queue {
                    let text: String = queued.content.iter().map(|part| part.text.as_str()).collect();
                    eprintln!("[{}] {}", queued.id, printable(&text));
                }
            }
            "/edit" => match rest.split_once(' ') {
                Some((id, text)) if id.parse::<u64>().is_ok() => {
                    let path = format!("/messages/{id}");
                    self.request(Method::PATCH, &path, Some(json!({"content": text}))).await;
                }
                _ => eprintln!("{HELP}"),
            },
            "/help" => eprintln!("{HELP}"),
            _ => self.request(Method::POST, "/messages", Some(json!({"content": line}))).await,
        }
    }

    async fn request(&mut self, method: Method, path: &str, body: Option<Value>) {
        match ask(&self.api, method, &format!("/v1/chats/{}{path}", self.chat), body).await {
            Ok(answer) => self.screen.answered(&answer),
            Err(error) => eprintln!("({})", printable(&error.to_string())),
        }
    }
}

async fn next_line(lines: &mut Option<Lines<BufReader<Stdin>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// The state of the screen.
#[derive(Debug, Default)]
struct Screen {
    queue: Vec<WireQueued>,
    status: String,
    snapshot_owed: u64,
    last_revision: u64,
    /// The history version of the status.
    status_history: u64,
    /// The part of the current answer that is shown, and how many blocks it has.
    preview: String,
    blocks: usize,
}

impl Screen {
    /// Whether nothing runs, and everything that was sent is shown.
    fn is_idle(&self) -> bool {
        let shown = self.last_revision.min(self.status_history);
        matches!(self.status.as_str(), "waiting" | "error") && shown >= self.snapshot_owed
    }

    /// A request was accepted: its change will come on the stream.
    fn answered(&mut self, answer: &Value) {
        if let Some(revision) = answer["message"]["revision"].as_u64() {
            self.snapshot_owed = self.snapshot_owed.max(revision);
        }
        if answer["queued"].is_object() {
            self.status = "running".into();
        }
    }

    /// Applies an event, and returns the text to print.
    fn show(&mut self, data: &str) -> String {
        match WireEvent::parse(data).map(|event| event.body) {
            Err(breach) => self.line(&format!("({breach})")),
            Ok(WireBody::Message(message)) => self.message(&message),
            Ok(WireBody::Parts { block, piece, .. }) => self.piece(block, &piece),
            Ok(WireBody::PreviewReset { .. }) => self.line("(begins again)"),
            Ok(WireBody::HistoryReset) => self.line("(the history was changed)"),
            Ok(WireBody::Status { status, episode, .. }) => {
                self.status = status;
                self.status_history = episode.history_version;
                String::new()
            }
            Ok(WireBody::QueueUpdate(queue)) => {
                self.queue = queue;
                String::new()
            }
            Ok(WireBody::Synced) => String::new(),
            Ok(WireBody::Other) => self.other(data),
        }
    }

    fn piece(&mut self, block: usize, piece: &Piece<'_>) -> String {
        let mut more = String::new();
        if block >= self.blocks {
            more.push_str(if self.preview.is_empty() { "" } else { "\n" });
            more.push_str(&sign(&piece.kind, &piece.name));
            self.blocks = block + 1;
        }
        more.push_str(&piece.text);
        self.preview.push_str(&more);
        more
    }

    fn message(&mut self, message: &WireMessage) -> String {
        self.last_revision = self.last_revision.max(message.revision);
        let cut = if message.interrupted { " (interrupted)" } else { "" };
        if message.role == "user" {
            return self.line(&format!("> [{}] {}", message.id, in_one_line(&message.content)));
        }
        let text = shown(&message.content);
        match text.strip_prefix(&self.leave()) {
            Some(rest) => format!("{rest}{cut}\n"),
            None => format!("\n{text}{cut}\n"),
        }
    }

    fn other(&mut self, data: &str) -> String {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let error = match event["type"].as_str() {
            Some("error") => &event["error"],
            Some("retry") => &event["retry"]["error"],
            _ => return String::new(),
        };
        match error["message"].as_str() {
            Some(message) => self.line(&format!("(error: {message})")),
            None => String::new(),
        }
    }

    /// The preview is over.
    fn leave(&mut self) -> String {
        self.blocks = 0;
        std::mem::take(&mut self.preview)
    }

    /// Prints a separate line, after leaving the current answer.
    fn line(&mut self, text: &str) -> String {
        let end = if self.leave().is_empty() { "" } else { "\n" };
        format!("{end}{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"type":"message","cursor":"c","message":{"id":2,"revision":3,"role":"assistant",
        "content":[{"type":"text","text":"1 2 3 "}],"interrupted":true,"episode":null,"created_at":"x"}}"#;

    fn part(first: u64, last: u64, text: &str) -> String {
        json!({"type": "message_part", "cursor": "c", "episode": {"history_version": 1, "attempt": 1},
            "first_seq": first, "last_seq": last, "block": 0, "part": {"type": "text", "text": text}})
        .to_string()
    }

    #[test]
    fn an_answer_is_shown_once_whether_it_was_watched_or_not() {
        let mut watched = Screen::default();
        let shown: String =
            [part(1, 1, "1 "), part(2, 2, "2 "), MESSAGE.into()].iter().map(|e| watched.show(e)).collect();
        assert_eq!(shown, "< 1 2 3  (interrupted)\n");
        assert_eq!(Screen::default().show(MESSAGE), shown);
    }

    #[test]
    fn a_screen_is_idle_when_all_that_was_sent_was_shown() {
        let mut screen = Screen::default();
        let status = |status: &str, history_version: u64| {
            json!({"type": "status", "cursor": "c", "status": status, "worker": null,
            "history_version": history_version, "attempt": 0})
            .to_string()
        };
        assert!(!screen.is_idle());
        screen.show(&status("waiting", 1));
        assert!(screen.is_idle());
        screen.answered(&json!({"message": {"revision": 2}, "queued": null}));
        assert!(!screen.is_idle());
        // The message comes before the status that it led to.
        screen.show(&MESSAGE.replace("\"revision\":3", "\"revision\":2"));
        assert!(!screen.is_idle());
        screen.show(&status("running", 2));
        screen.show(MESSAGE);
        assert!(!screen.is_idle());
        screen.show(&status("waiting", 3));
        assert!(screen.is_idle());
        screen.answered(&json!({"message": null, "queued": {"id": 4}}));
        assert!(!screen.is_idle());
    }
}
