//! `mainstem tail`: prints a chat's stream until the chat is deleted.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::Args;
use mainstem_oracles::viewer::{WireBody, WireEvent};

use super::blocks::in_one_line;
use super::terminal::{printable, printable_json};
use super::{Api, Follow, TokenOptions};
use crate::failure::Failure;

#[derive(Clone, Debug, Args)]
pub struct TailOptions {
    /// The chat's id
    chat: String,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
    /// Begin after this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[arg(long, env = "MAINSTEM_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    #[command(flatten)]
    token: TokenOptions,
}

pub async fn tail(options: TailOptions) -> Result<(), Failure> {
    let api = Api::new(&options.server, options.token.token()?)?;
    let mut follow = Follow::new(vec![api], 0, options.chat, options.after);
    loop {
        let data = follow.next().await.map_err(Failure::environment)?;
        let rendered = if options.json { Cow::Borrowed(&*data) } else { rendered(&data).into() };
        let line = if options.json { printable_json(&rendered) } else { printable(&rendered) };
        let mut out = io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            // The reader of standard output has closed it.
            return Ok(());
        }
    }
}

fn rendered(data: &str) -> String {
    match WireEvent::parse(data).map(|event| event.body) {
        Err(_) => format!("? {data}"),
        Ok(WireBody::Message(message)) => {
            let cut = if message.interrupted { " (interrupted)" } else { "" };
            format!("message {} {}{cut}: {}", message.id, message.role, in_one_line(&message.content))
        }
        Ok(WireBody::QueueUpdate(queue)) => {
            let ids: Vec<u64> = queue.iter().map(|queued| queued.id).collect();
            format!("queue {ids:?}")
        }
        Ok(WireBody::Status { status, worker, episode }) => {
            format!("status {status} {episode} at {}", worker.as_deref().unwrap_or("nobody"))
        }
        Ok(WireBody::Parts { episode, first_seq, last_seq, block, piece }) => {
            let of = match &*piece.kind {
                "text" => String::new(),
                kind => format!(" {kind} {block}"),
            };
            format!("part {episode} {first_seq}-{last_seq}{of}: {}", piece.text)
        }
        Ok(WireBody::PreviewReset { episode }) => format!("preview {episode} reset"),
        Ok(WireBody::HistoryReset) => "history reset".to_owned(),
        Ok(WireBody::Synced) => "synced".to_owned(),
        Ok(WireBody::Other) => data.to_owned(),
    }
}
