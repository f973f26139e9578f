//! The edge of a simulated replica: it does over lines of JSON what `server` does over HTTP.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{ChatId, Command};
use mainstem_oracles::{Evidence, StreamId};
use mainstem_runtime::ports::{Env, IdempotencyKey, Keep, within};
use mainstem_runtime::{EdgeError, Next, Node};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, BufReader};

use crate::env::SimEnv;
use crate::net::Stream;
use crate::wire::{Ask, Event, Order, Reply, read_line, write_line};

/// A viewer that does not take what is written within this time is cut off, as the product does.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of keep-alives on a stream, like the product's SSE comments and WebSocket pings.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// The address at which clients reach a replica.
pub fn address(replica: &str) -> String {
    format!("{replica}:edge")
}

/// A key as the product has it: it belongs to the method and the path that it came with, besides its caller.
pub fn scoped(chat: ChatId, order: &Order, key: &str) -> String {
    format!("{} {chat} {key}", order.path())
}

/// Serves clients until the replica ends.
pub async fn serve(env: SimEnv, node: Node<SimEnv>) -> std::io::Result<()> {
    let mut listener = env.listen(&address(env.name())).await?;
    loop {
        let stream = env.accept(&mut listener).await?;
        let (node, serving) = (node.clone(), env.clone());
        env.spawn(async move {
            // A broken connection of a client needs no report.
            let _ = answer(stream, node, &serving).await;
        })
        .detach();
    }
}

async fn answer(stream: Stream, node: Node<SimEnv>, env: &SimEnv) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    match read_line(&mut stream).await? {
        None => Ok(()),
        Some(Ask::Execute { by, chat, order, key }) => {
            let by: Arc<str> = by.into();
            let body = Sha256::digest(format!("{chat} {order:?}")).into();
            let mut command = order.clone().into_command(chat, &by);
            let client_id = key.clone().filter(|key| is_named(&order, key));
            let key = match &mut command {
                Command::Send { client_id: name, .. } if client_id.is_some() => {
                    *name = client_id.map(Into::into);
                    None
                }
                _ => key,
            };
            let idempotency_key = key.map(|key| IdempotencyKey {
                caller: by.clone(),
                key: scoped(chat, &order, &key).into(),
                body,
                keep: Keep::Answer,
            });
            let reply = match node.execute(&by.into(), chat, command, idempotency_key).await {
                Ok(accepted) => Reply::Accepted(accepted),
                Err(error) => rejected(&error),
            };
            write_line(&mut stream, &reply).await
        }
        Some(Ask::Subscribe { by, chat, from, stream: id }) => match from.into_resume() {
            None => write_line(&mut stream, &Reply::Rejected("not a cursor".into())).await,
            Some(from) => watch(stream, node, env, StreamId(id), by.into(), chat, from).await,
        },
    }
}

/// Whether a client calls its message by its key, and has no other: every other one does.
pub fn is_named(order: &Order, key: &str) -> bool {
    let number = key.strip_prefix("order-").and_then(|number| number.parse::<u64>().ok());
    matches!(order, Order::Send { .. }) && number.is_some_and(|number| number % 2 == 0)
}

async fn watch(
    mut stream: BufReader<Stream>,
    node: Node<SimEnv>,
    env: &SimEnv,
    id: StreamId,
    by: Arc<str>,
    chat: ChatId,
    from: mainstem_machine::Resume,
) -> std::io::Result<()> {
    let mut viewer = match node.subscribe(&by.into(), chat, from).await {
        Ok(viewer) => viewer,
        Err(error) => return write_line(&mut stream, &rejected(&error)).await,
    };
    let world = env.world();
    let mut alarm = std::pin::pin!(world.sleep(ALIVE_INTERVAL));
    loop {
        let mut byte = [0];
        let next = tokio::select! {
            biased;
            // Clients send nothing more: anything that arrives means that they have gone.
            _ = stream.read(&mut byte) => return Ok(()),
            next = viewer.next() => next,
            () = &mut alarm => {
                alarm.set(world.sleep(ALIVE_INTERVAL));
                tell(env, &mut stream, &Reply::Alive).await?;
                continue;
            }
        };
        match next {
            Next::Events(events) => {
                for event in &events {
                    world.observe(Evidence::Sent { stream: id, event: event.clone() });
                }
                let events = events.into_iter().map(Event::from).collect();
                tell(env, &mut stream, &Reply::Events(events)).await?;
            }
            Next::End(ending) => return tell(env, &mut stream, &Reply::end(ending)).await,
        }
    }
}

/// Writes to a viewer, which may be slow to read, but not for ever.
async fn tell(env: &SimEnv, stream: &mut BufReader<Stream>, reply: &Reply) -> std::io::Result<()> {
    let written = within(env, CLIENT_TIMEOUT, write_line(stream, reply)).await;
    if written.is_err() {
        env.world().tally().landed("viewer cut off");
        env.world().trace(env.name(), format_args!("cuts off a viewer that takes nothing"));
    }
    written?
}

fn rejected(error: &EdgeError) -> Reply {
    match error {
        EdgeError::Rejected(_) | EdgeError::Forbidden(_) => Reply::Rejected(error.to_string()),
        EdgeError::Unavailable(_) | EdgeError::Overloaded(_) => Reply::Unavailable(error.to_string()),
    }
}
