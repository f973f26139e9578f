//! What a test does on a stage of its own: it has the models say what it wants, lets replicas die and drain, and waits for
//! what the judges know. Whatever waits panics as soon as a guarantee is broken, with its id.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{Block, ChatId, ChatState, FinishReason, Message, StreamEvent};
use mainstem_oracles::RunId;
use mainstem_story::{Carrying, Order, ReplicaFate, Settings};
use tokio::time::Instant;

use super::asking::{self, Request};
use super::stage::{Between, Stage};
use super::tools::{Called, Tools};
use super::visitor::Visitor;
use crate::cluster::{LEASE_TTL, POLL_INTERVAL};
use crate::deadline::WAIT_MAX;
use crate::transport::Kind;

/// Often enough for [`LEASE_TTL`].
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A model that a replica asks.
#[derive(Clone, Debug)]
pub struct Model {
    pub replica: String,
    run: RunId,
}

impl Stage {
    /// Starts these replicas, which have short leases. Everybody may work.
    pub async fn open(replicas: &[&str], tools: Tools) -> Self {
        let names: Vec<_> = replicas.iter().map(|name| (*name).to_owned()).collect();
        let settings = Settings {
            lease_ttl: LEASE_TTL,
            heartbeat: HEARTBEAT,
            poll_interval: POLL_INTERVAL,
            ..Settings::default()
        };
        Self::set(&names, &settings, tools, Between::default()).await
    }

    /// Creates a chat whose user says this.
    pub async fn create(&mut self, on: &str, text: &str) -> ChatId {
        let (key, ledger) = (self.next_key(), self.court.ledger());
        asking::create(&self.client(on), on, text, &key, &ledger).await
    }

    /// A user asks for this, until there is an answer, which accepts it.
    pub async fn ask(&mut self, on: &str, chat: ChatId, order: Order) {
        let request = Request { chat, order, key: self.next_key() };
        let (client, ledger, unanswered) = (self.client(on), self.court.ledger(), self.unanswered.clone());
        let asked = asking::ask(client, on.to_owned(), request, ledger, unanswered).await;
        asked.unwrap_or_else(|why| panic!("{why}"));
    }

    /// A viewer comes, and returns whenever its stream ends.
    pub fn watch(&mut self, (viewer, kind): (&str, Kind), chat: ChatId, on: &str) {
        let (client, ledger) = (self.client(on), self.court.ledger());
        let visitor = Visitor::come((viewer, kind), chat, on, client, ledger);
        self.viewers.insert(viewer.to_owned(), visitor);
    }

    /// What a viewer was shown so far.
    pub fn seen(&self, viewer: &str) -> Vec<StreamEvent> {
        self.viewers[viewer].received(0).into_iter().map(|(_, event)| event).collect()
    }

    /// The chat as it is committed, as far as the judges have heard.
    pub fn state(&self, chat: ChatId) -> Option<Arc<ChatState>> {
        let past = self.court.judge().index().past(chat)?;
        past.present().map(|moment| moment.state.clone())
    }

    pub fn history(&self, chat: ChatId) -> Vec<Arc<Message>> {
        let past = self.court.judge().index().past(chat);
        past.and_then(|past| past.present()).map(|moment| moment.history.to_vec()).unwrap_or_default()
    }

    /// Waits until there is such a thing. Panics if there is none within [`WAIT_MAX`].
    pub async fn until<T>(&mut self, what: &str, find: impl Fn(&Self) -> Option<T>) -> T {
        let over = Instant::now() + WAIT_MAX;
        loop {
            self.go_on().await.unwrap_or_else(|found| panic!("{found}, while this is waited for: {what}"));
            if let Some(found) = find(self) {
                return found;
            }
            assert!(Instant::now() < over, "not within {WAIT_MAX:?}: {what}");
        }
    }

    /// Waits until the model of the chat's present attempt runs.
    pub async fn until_asked(&mut self, chat: ChatId) -> Model {
        self.until("a model is asked", |stage| {
            let worker = stage.state(chat)?.worker.clone()?;
            let is_meant = |run| stage.is_meant(run, worker.as_str(), chat);
            let (replica, run) = stage.puppets.running(is_meant)?;
            (replica == worker.as_str()).then_some(Model { replica, run })
        })
        .await
    }

    /// Has a model say this piece of the block before it, or of one that it begins.
    pub fn say(&self, model: &Model, begins: Option<Block>, text: &str) {
        assert!(self.puppets.say(&model.replica, model.run, begins, text), "{model:?} has ended");
    }

    /// Has it end for this reason.
    pub fn end(&self, model: &Model, reason: FinishReason) {
        assert!(self.puppets.end(&model.replica, model.run, reason), "{model:?} has ended");
    }

    /// The names of the tools that it was offered.
    pub fn offered(&self, model: &Model) -> Vec<String> {
        self.puppets.asked(model.run).map(|asked| asked.tools).unwrap_or_default()
    }

    /// How the call of this name is carried out from now on, also where a tool has begun with it. Before, calls return at
    /// once.
    pub fn carry(&self, call: &str, carrying: Carrying) {
        self.puppets.carry(call, carrying);
    }

    /// What the tools of all replicas were called with so far.
    pub fn called(&self) -> Vec<Called> {
        self.puppets.called()
    }

    pub fn befall(&mut self, replica: &str, fate: ReplicaFate) {
        self.host(replica).befall(fate);
    }

    /// Waits until a replica that drains has ended, in order.
    pub async fn ended(&mut self, replica: &str) {
        self.host(replica).ended().await;
    }

    /// Everybody comes back, nothing is left, and all judges are content; else it panics.
    pub async fn close(self) {
        self.recover().await.unwrap_or_else(|found| panic!("recovering: {found}"));
    }
}
