//! Who tells: performs sentences by requests and signals, and waits for what is expected.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mainstem_story::{
    Absence, Expectation, Order, ReplicaFate, Said, Sentence, Sight, Step, Story, UserOrder, Workers,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::gate::Gate;
use super::puppet::{Provider, Puppets};
use crate::client::Client;
use crate::deadline::until;
use crate::postgres::Postgres;
use crate::process::{Replica, free_port};
use crate::viewer::{Kind, Viewer};

/// The interval at which expectations are checked.
const STEP: Duration = Duration::from_millis(10);
/// What is expected has this long: longer than a lease, an interval or a delay, on a busy machine.
const EXPECTED_WITHIN_MAX: Duration = Duration::from_secs(15);

/// The database asks this table who may take up chats.
const WORKERS: &str = "
    CREATE TABLE story_workers (id text PRIMARY KEY);
    CREATE FUNCTION story_may_work() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.worker IS NOT NULL AND (NEW.worker, NEW.lease) IS DISTINCT FROM (OLD.worker, OLD.lease)
            AND NOT EXISTS (SELECT FROM story_workers WHERE id = NEW.worker) THEN
            RAISE EXCEPTION 'the story lets % take up no chat', NEW.worker;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER story_may_work BEFORE UPDATE ON chats FOR EACH ROW EXECUTE FUNCTION story_may_work();";

struct Host {
    replica: Replica,
    gate: Gate,
    _provider: Provider,
    is_up: bool,
    is_paused: bool,
    is_draining: bool,
    /// When a pause ends.
    resumes: Option<Instant>,
}

struct Visitor {
    viewer: Viewer,
    on: String,
    present: bool,
    /// Events that expectations have consumed.
    mark: usize,
}

struct Telling<'a> {
    story: &'a Story,
    hosts: BTreeMap<String, Host>,
    viewers: BTreeMap<String, Visitor>,
    puppets: Puppets,
    postgres: Arc<Postgres>,
    database: String,
    chat: Option<String>,
    absences: Vec<(&'a Sentence, &'a Absence, usize)>,
}

/// Tells a story. Panics at the sentence that does not come true, or if a stream breaks a guarantee, so that the logs of
/// the replicas are printed.
pub async fn tell(story: &Story) {
    let mut telling = Telling::start(story).await;
    for sentence in &story.sentences {
        if let Err(why) = telling.perform(sentence).await {
            panic!("{}, line {}: {}: {why}", story.name, sentence.line, sentence.text);
        }
    }
    for (sentence, absence, since) in &telling.absences {
        if let Some(why) = telling.intruder(absence, *since) {
            panic!("{}, line {}: {}: {why}", story.name, sentence.line, sentence.text);
        }
    }
    telling.recover().await;
}

/// An address of the loopback that is no other replica's: a port that was free may be taken before it is used.
fn next_loopback() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    Ipv4Addr::new(127, 0, 1, 1 + TAKEN.fetch_add(1, Ordering::Relaxed) % 250)
}

fn id(name: &str) -> String {
    name.to_lowercase()
}

impl<'a> Telling<'a> {
    async fn start(story: &'a Story) -> Self {
        let postgres = Postgres::shared().expect("a PostgreSQL");
        let url = postgres.fresh_database().expect("a database");
        let database = url.rsplit('/').next().expect("a split has a last piece").to_owned();
        let puppets = Puppets::default();
        let mut hosts = BTreeMap::new();
        let settings = &story.settings;
        let ms = |span: Duration| format!("{}ms", span.as_millis());
        for name in &story.replicas {
            let relay = SocketAddr::from((next_loopback(), free_port()));
            let gate = Gate::to(relay).await;
            let provider = puppets.provide(name).await;
            let (listen, advertise) = (relay.to_string(), format!("127.0.0.1:{}", gate.port));
            let (lease, heartbeat) = (ms(settings.lease_ttl), ms(settings.heartbeat));
            let (poll, grace) = (ms(settings.poll_interval), ms(settings.drain_timeout));
            let workers = settings.workers.to_string();
            let flags = [
                ["--database", &url],
                ["--relay-listen", &listen],
                ["--relay-advertise", &advertise],
                ["--lease-ttl", &lease],
                ["--heartbeat", &heartbeat],
                ["--poll-interval", &poll],
                ["--drain-timeout", &grace],
                ["--workers", &workers],
                ["--generator", "openai"],
                ["--openai-model", "puppet"],
                ["--openai-base-url", &provider.base_url],
            ];
            let replica =
                Replica::start_with(&id(name), flags.as_flattened(), &[("OPENAI_API_KEY", "k")]).await;
            let (is_up, is_paused, is_draining, resumes) = (true, false, false, None);
            let host = Host { replica, gate, _provider: provider, is_up, is_paused, is_draining, resumes };
            hosts.insert(name.clone(), host);
        }
        postgres.sql(&database, WORKERS).expect("a trigger");
        let (viewers, chat, absences) = (BTreeMap::new(), None, vec![]);
        let telling = Self { story, hosts, viewers, puppets, postgres, database, chat, absences };
        telling.set_workers(&Workers::Everybody);
        telling
    }

    fn set_workers(&self, workers: &Workers) {
        let all = || self.story.replicas.iter().map(|name| format!("('{}')", id(name))).collect::<Vec<_>>();
        let (forget, who) = match workers {
            Workers::Only(only) => (true, vec![format!("('{}')", id(only))]),
            Workers::Also(also) => (false, vec![format!("('{}')", id(also))]),
            Workers::Everybody => (false, all()),
            Workers::Nobody => (true, vec![]),
        };
        let mut sql = if forget { "DELETE FROM story_workers;".to_owned() } else { String::new() };
        if !who.is_empty() {
            sql += &format!("INSERT INTO story_workers VALUES {} ON CONFLICT DO NOTHING;", who.join(","));
        }
        self.postgres.sql(&self.database, &sql).expect("who may work is written");
    }

    fn client(&self, replica: &str) -> Client {
        self.hosts[replica].replica.client()
    }

    /// A replica that answers.
    fn anybody(&self) -> Client {
        let up = self.hosts.values().find(|host| host.is_up && !host.is_paused && !host.is_draining);
        up.expect("a replica is up").replica.client()
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).expect("the parser knows all replicas")
    }

    fn viewer(&mut self, name: &str) -> &mut Visitor {
        self.viewers.get_mut(name).expect("the parser knows all viewers")
    }

    async fn perform(&mut self, sentence: &'a Sentence) -> Result<(), String> {
        match &sentence.step {
            Step::Wait(span) => {
                let over = Instant::now() + *span;
                while Instant::now() < over {
                    self.go_on().await;
                }
            }
            Step::Within { expectation, .. } | Step::Assert(expectation) => {
                let over = Instant::now() + EXPECTED_WITHIN_MAX;
                while let Err(why) = self.hold(expectation).await {
                    if Instant::now() >= over {
                        return Err(format!("not within {EXPECTED_WITHIN_MAX:?}: {why}"));
                    }
                    self.go_on().await;
                }
            }
            Step::For { absence, .. } => {
                let since = self.since(absence);
                self.go_on().await;
                return self.intruder(absence, since).map_or(Ok(()), Err);
            }
            Step::FromNowOn(absence) => {
                let since = self.since(absence);
                self.absences.push((sentence, absence, since));
            }
            Step::Watch { viewer, replica, .. } => {
                let chat = self.chat.clone().ok_or("nobody has created the chat yet")?;
                let stream = Viewer::open(&self.client(replica), &chat, Kind::EventStream).await;
                let visitor = Visitor { viewer: stream, on: replica.clone(), present: true, mark: 0 };
                self.viewers.insert(viewer.clone(), visitor);
            }
            Step::Leave { viewer } => {
                // Its stream ends when it is dropped.
                self.viewers.remove(viewer);
            }
            Step::Move { viewer, replica } => {
                let client = self.client(replica);
                let visitor = self.viewer(viewer);
                visitor.on.clone_from(replica);
                visitor.viewer.resume_on(&client).await;
            }
            Step::Order { order, replica, .. } => return self.order(order, replica.as_deref()).await,
            Step::Model { replica, line, .. } => {
                until("a model runs", async || self.puppets.runs(replica).then_some(())).await;
                match line {
                    Said::Parts(count) => self.puppets.say_parts(replica, *count),
                    Said::Done => self.finish(replica).await,
                    Said::Failed { retryable } => self.puppets.fail(replica, *retryable),
                    Said::Text(_) | Said::IgnoresCancellation => return Err("it is not told here".into()),
                }
            }
            Step::Work(workers) => self.set_workers(workers),
            Step::Dials { to, rule, next_only, .. } => self.host(to).gate.set(*rule, *next_only),
            Step::Link { one, other, .. } => {
                self.host(one).gate.break_all();
                self.host(other).gate.break_all();
            }
            Step::Replica { replica, fate } => self.befall(replica, *fate).await,
            step => return Err(format!("{step:?} is not told here")),
        }
        Ok(())
    }

    /// Ends an answer. What users do next comes after its commit, as where commits take no time.
    async fn finish(&self, replica: &str) {
        let Some(chat) = self.chat.as_ref().filter(|_| !self.hosts[replica].is_paused) else {
            return self.puppets.finish(replica);
        };
        let client = self.anybody();
        let before = client.chat(chat).await["snapshot_version"].clone();
        self.puppets.finish(replica);
        let is_new = async || (client.chat(chat).await["snapshot_version"] != before).then_some(());
        until("the answer is committed", is_new).await;
    }

    async fn befall(&mut self, replica: &str, fate: ReplicaFate) {
        let host = self.host(replica);
        match fate {
            ReplicaFate::Crashes => {
                host.replica.kill();
                host.is_up = false;
            }
            ReplicaFate::Drains => {
                host.replica.terminate();
                host.is_draining = true;
            }
            ReplicaFate::Pauses(span) => {
                host.replica.pause();
                host.is_paused = true;
                host.resumes = span.map(|span| Instant::now() + span);
            }
            ReplicaFate::Resumes => host.resume(),
            ReplicaFate::Restarts => host.come_back().await,
            ReplicaFate::Vanishes | ReplicaFate::RestartsWithWrongSecret | ReplicaFate::Drifts(_) => {
                panic!("{fate:?} is not told here")
            }
        }
    }

    async fn order(&mut self, order: &UserOrder, replica: Option<&str>) -> Result<(), String> {
        let client = self.client(replica.unwrap_or(&self.story.replicas[0]));
        let Some(chat) = self.chat.clone() else {
            let UserOrder::Send { text, .. } = order else {
                return Err("nobody has created the chat yet".into());
            };
            self.chat = Some(client.create(text).await);
            return Ok(());
        };
        let path = format!("/v1/chats/{chat}");
        let state = client.chat(&chat).await;
        let queued = |but: usize| {
            let queue = state["queue"].as_array().map(Vec::as_slice).unwrap_or_default();
            queue
                .iter()
                .rev()
                .nth(but)
                .and_then(|queued| queued["id"].as_u64())
                .ok_or("the queue has no such")
        };
        let edit = async |message: u64, text: &str| {
            client.patch(&format!("{path}/messages/{message}"), json!({"content": text})).await
        };
        let promote = async |id: u64| client.post(&format!("{path}/queue/{id}/promote"), json!({})).await;
        let withdraw = async |id: u64| client.delete(&format!("{path}/queue/{id}")).await;
        let answer = match order {
            UserOrder::Send { text, interrupting } => {
                client.send_as(&chat, text, if *interrupting { "interrupt" } else { "queue" }).await
            }
            UserOrder::EditLast { but, text } => {
                let messages = client.messages(&chat).await;
                let mine = messages.iter().rev().filter(|message| message.role == "user").nth(*but);
                edit(mine.ok_or("the history has no such")?.id, text).await
            }
            UserOrder::PromoteLast { but } => promote(queued(*but)?).await,
            UserOrder::WithdrawLast { but } => withdraw(queued(*but)?).await,
            UserOrder::Other(Order::Edit { message, text }) => edit(message.0, text).await,
            UserOrder::Other(Order::Promote { queued }) => promote(queued.0).await,
            UserOrder::Other(Order::Withdraw { queued }) => withdraw(queued.0).await,
            UserOrder::Other(Order::Interrupt) => client.interrupt(&chat).await,
            UserOrder::Other(Order::Delete) => client.delete(&path).await,
            UserOrder::Other(other) => return Err(format!("{other:?} is not told here")),
        };
        let accepted = (200..300).contains(&answer.status);
        if accepted { Ok(()) } else { Err(format!("the user is refused: {} {}", answer.status, answer.text)) }
    }

    /// Reads what comes for a moment, and lets what is due happen.
    async fn go_on(&mut self) {
        let now = Instant::now();
        for host in self.hosts.values_mut() {
            if host.resumes.is_some_and(|at| at <= now) {
                host.resume();
            }
        }
        let over = now + STEP;
        let clients: BTreeMap<_, _> = self
            .hosts
            .iter()
            .map(|(name, host)| (name.clone(), (host.replica.client(), host.serves())))
            .collect();
        for visitor in self.viewers.values_mut().filter(|visitor| visitor.present) {
            loop {
                match timeout_at(over, visitor.viewer.next()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => {
                        let (client, serves) = &clients[&visitor.on];
                        visitor.present = *serves;
                        if *serves {
                            visitor.viewer.resume_on(client).await;
                        }
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        tokio::time::sleep_until(over).await;
    }

    /// `Err`: why it does not hold yet. Events of a viewer up to the expected one are consumed.
    async fn hold(&mut self, expectation: &Expectation) -> Result<(), String> {
        let exactly = |found: u64, wanted: u64| {
            if found == wanted { Ok(()) } else { Err(format!("there are {found}")) }
        };
        match expectation {
            Expectation::Sees { viewer, sight: Sight::End } => {
                let gone = self.viewers.get(viewer).is_none_or(|visitor| !visitor.present);
                if gone { Ok(()) } else { Err(format!("the stream of {viewer} goes on")) }
            }
            Expectation::Sees { viewer, sight } => {
                let visitor = &self.viewers[viewer];
                let news = &visitor.viewer.events[visitor.mark..];
                match self.find(news, sight) {
                    Some(behind) => {
                        self.viewer(viewer).mark += behind;
                        Ok(())
                    }
                    None => {
                        let seen: Vec<_> = news.iter().map(Value::to_string).collect();
                        Err(format!("since the last expectation, {viewer} saw {}", seen.join("; ")))
                    }
                }
            }
            Expectation::Chat { status, worker, .. } => {
                let chat = self.chat.clone().ok_or("there is no chat")?;
                let state = self.anybody().chat(&chat).await;
                let on = worker.as_deref().map(id);
                let fits = state["status"] == **status
                    && (on.is_none() || state["worker"].as_str() == on.as_deref());
                if fits { Ok(()) } else { Err(format!("it is {} on {}", state["status"], state["worker"])) }
            }
            Expectation::Connections { to, count, .. } => exactly(self.hosts[to].gate.open(), *count),
            Expectation::DialsInFlight { to, count, .. } => exactly(self.hosts[to].gate.dialing(), *count),
            Expectation::Dialed { to, count, .. } => exactly(self.hosts[to].gate.dialed(), *count),
            Expectation::ModelRuns { replica, runs, .. } => {
                if self.puppets.runs(replica) == *runs {
                    Ok(())
                } else {
                    Err(format!("runs: {}", !runs))
                }
            }
            // Of what a process keeps, dials that never end are seen from outside.
            Expectation::NothingLeft { .. } => {
                exactly(self.hosts.values().map(|host| host.gate.dialing()).sum(), 0)
            }
        }
    }

    fn find(&self, news: &[Value], sight: &Sight) -> Option<usize> {
        let Sight::Parts { first, last, worker } = sight else {
            return news.iter().position(|event| self.is_seen(event, sight)).map(|at| at + 1);
        };
        let (mut need, mut of) = (*first, &Value::Null);
        for (at, event) in news.iter().enumerate().filter(|(_, event)| event["type"] == "message_part") {
            if worker.is_some() && self.producer(event) != *worker {
                continue;
            }
            if of != &event["episode"] {
                need = *first;
            }
            of = &event["episode"];
            let [from, to] = ["first_seq", "last_seq"].map(|seq| event[seq].as_u64().unwrap_or_default());
            if from <= need && need <= to {
                need = to + 1;
            }
            if need > *last {
                return Some(if to > *last { at } else { at + 1 });
            }
        }
        None
    }

    fn producer(&self, event: &Value) -> Option<String> {
        self.puppets.who_said(event["part"]["text"].as_str()?)
    }

    fn is_seen(&self, event: &Value, sight: &Sight) -> bool {
        let message = &event["message"];
        let text = || {
            let parts = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<String>()
        };
        let kind = event["type"].as_str().unwrap_or_default();
        match (sight, kind) {
            (Sight::Status { status, worker }, "status") => {
                let on = worker.as_deref().map(id);
                event["status"] == **status && (on.is_none() || event["worker"].as_str() == on.as_deref())
            }
            (Sight::Message { text: wanted }, "message") => text() == *wanted,
            (Sight::Answer { parts, interrupted }, "message") => {
                message["role"] == "assistant"
                    && message["interrupted"] == *interrupted
                    && self.puppets.is_beginning(&text(), *parts)
            }
            (Sight::PreviewReset { reason }, "preview_reset") => {
                reason.as_deref().is_none_or(|reason| event["reason"] == reason)
            }
            (Sight::Queue { length }, "queue_update") => {
                event["queue"].as_array().map(Vec::len) == Some(*length)
            }
            (Sight::Retry { over }, "retry") => event["retry"].is_null() == *over,
            (Sight::HistoryReset, "history_reset") | (Sight::Synced, "synced") => true,
            (Sight::Error { code: None }, "error") => true,
            _ => false,
        }
    }

    fn since(&self, absence: &Absence) -> usize {
        match absence {
            Absence::SeesNothing { viewer }
            | Absence::SeesNoPart { viewer, .. }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer } => {
                self.viewers.get(viewer).map_or(0, |visitor| visitor.viewer.events.len())
            }
            Absence::Dials { .. } => self.dialed(),
        }
    }

    fn dialed(&self) -> usize {
        self.hosts.values().map(|host| host.gate.dialed() as usize).sum()
    }

    /// What happened although it must not.
    fn intruder(&self, absence: &Absence, since: usize) -> Option<String> {
        let viewer = match absence {
            Absence::Dials { from } => {
                let dials = self.dialed() - since;
                return (dials > 0).then(|| format!("{from} dialed {dials} times"));
            }
            Absence::SeesNothing { viewer }
            | Absence::SeesNoPart { viewer, .. }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer } => viewer,
        };
        let breaks = |event: &&Value| match (absence, event["type"].as_str().unwrap_or_default()) {
            (Absence::SeesNothing { .. }, _)
            | (Absence::SeesNoReset { .. }, "preview_reset")
            | (Absence::SeesNoRetry { .. }, "retry") => true,
            (Absence::SeesNoPart { worker, .. }, "message_part") => {
                worker.is_none() || self.producer(event) == *worker
            }
            _ => false,
        };
        let news = self.viewers.get(viewer)?.viewer.events.get(since..)?;
        news.iter().find(breaks).map(|event| format!("{viewer} saw {event}"))
    }

    /// Everything recovers, models finish, and what viewers were shown is the history.
    async fn recover(mut self) {
        self.set_workers(&Workers::Everybody);
        for host in self.hosts.values_mut() {
            host.gate.set(mainstem_story::DialRule::Through, false);
            host.come_back().await;
        }
        self.puppets.finish_all();
        let anybody = self.anybody();
        if let Some(chat) = &self.chat {
            anybody.until_idle(chat).await;
        }
        let mut viewers = std::mem::take(&mut self.viewers);
        for visitor in viewers.values_mut() {
            // Its stream may have ended with its replica.
            visitor.viewer.resume_on(&self.client(&visitor.on)).await;
            visitor.viewer.until_idle().await;
            visitor.viewer.finish(&anybody).await;
        }
    }
}

impl Host {
    fn serves(&self) -> bool {
        self.is_up && !self.is_draining
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.replica.resume();
        }
        self.resumes = None;
    }

    /// Whatever befell it is over.
    async fn come_back(&mut self) {
        self.resume();
        if std::mem::take(&mut self.is_draining) {
            assert_eq!(self.replica.ended().await.code(), Some(0), "a drain ends in order");
            self.is_up = false;
        }
        if !std::mem::replace(&mut self.is_up, true) {
            self.replica.start_again().await;
        }
    }
}
