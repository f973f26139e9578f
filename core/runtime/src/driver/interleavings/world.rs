//! One replica with a chat, and those who do something to it at the same time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use mainstem_machine::hub::HubConfig;
use mainstem_machine::replica::ReplicaConfig;
use mainstem_machine::{
    Body, ChatId, Command, Completion, Content, Ending, NewMessage, ReplicaId, Resume, SendMode,
};
use uuid::Uuid;

use super::env::StillEnv;
use super::store::MemoryStore;
use crate::Viewer;
use crate::driver::{HubCell, Next, ReplicaCell, Shared, Watch, yield_now};
use crate::limits::driver::EVENTS_MAX;
use crate::ports::{
    Bus, BusError, BusSubscription, Conversation, Env, Generated, Generation, Generator, NoTools, Notice,
    Ports, ReplicaRow, Request, Topic, Untraced,
};

pub(super) const OWNER: &str = "ann";

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct World {
    pub(super) env: StillEnv,
    pub(super) store: Arc<MemoryStore>,
    pub(super) bus: Arc<SilentBus>,
    pub(super) shared: Arc<Shared<StillEnv>>,
    pub(super) chat: ChatId,
}

impl World {
    /// With an idle chat.
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    /// With a chat that is created with this message.
    pub(super) fn with(content: Option<&str>) -> Self {
        Self::with_model(content, Arc::new(TwoParts))
    }

    pub(super) fn with_model(content: Option<&str>, generator: Arc<dyn Generator>) -> Self {
        let env = StillEnv::default();
        let (store, bus) = (Arc::new(MemoryStore::new(env.clone())), Arc::<SilentBus>::default());
        let replica = ReplicaId::new("here").expect("an id");
        let hub_config = HubConfig {
            replica: replica.clone(),
            relays: false,
            lease_ttl: Duration::from_secs(15),
            episode_bytes_max: 1 << 20,
            tool_steps_max: 4,
        };
        let replica_config = ReplicaConfig {
            replica: replica.clone(),
            workers: 1,
            heartbeat: Duration::from_secs(5),
            poll_interval: Duration::from_secs(5),
        };
        let cell = ReplicaCell::new(env.now(), replica_config, None);
        let row = ReplicaRow { replica, address: String::new(), incarnation: 1 };
        let hub_config = Arc::new(hub_config);
        let ports = Ports {
            store: store.clone(),
            bus: bus.clone(),
            generator,
            tools: Arc::new(NoTools),
            hops: Arc::new(Untraced),
        };
        let shared = Shared::new(env.clone(), ports, hub_config, row, None, cell, None);
        let chat = ChatId(Uuid::from_u128(1));
        let (owner, content) = (OWNER.into(), content.map(Content::text));
        let create = Command::Create {
            chat,
            owner,
            settings: Default::default(),
            messages: NewMessage::opening(content),
        };
        let world = Self { env, store, bus, shared, chat };
        world.store.commit(&world.request(create)).answer.expect("the chat is created");
        world
    }

    pub(super) fn request(&self, command: Command) -> Request {
        Request { chat: self.chat, command, by: Some(OWNER.into()), idempotency_key: None }
    }

    pub(super) fn send(&self, text: &str) -> Request {
        let content = Content::text(text);
        self.request(Command::Send { content, mode: SendMode::Queue, queue_max: 8, client_id: None })
    }

    /// A viewer, and the hub that it came to.
    pub(super) fn subscribe(&self) -> Option<(Arc<HubCell<StillEnv>>, Watch<StillEnv>)> {
        let shared = &self.shared;
        let entered = shared.registry.enter(shared, self.chat, |cell, entry| {
            let subscription = entry.subscribe(Resume::Fresh, Some(OWNER.into()))?;
            Some((cell.clone(), Watch::new(shared.clone(), cell.clone(), subscription)))
        });
        entered.flatten()
    }

    /// Ends all hubs, and waits until nothing is left of them or of anything else (B2).
    pub(super) async fn end(&self) {
        self.shared.registry.end_all();
        self.env.all_tasks_ended().await;
        assert_eq!(self.shared.registry.chats(), [], "B2: no hub is left");
    }
}

/// A viewer's stream, at the hub or at the node.
pub(super) trait Events {
    async fn next(&mut self) -> Next;
}

impl Events for Watch<StillEnv> {
    async fn next(&mut self) -> Next {
        Watch::next(self).await
    }
}

impl Events for Viewer<StillEnv> {
    async fn next(&mut self) -> Next {
        Viewer::next(self).await
    }
}

/// Takes events until the last one that is waited for, or the end of the stream, which is returned.
pub(super) async fn until(events: &mut impl Events, is_last: impl Fn(&Body) -> bool) -> Option<Ending> {
    loop {
        match events.next().await {
            Next::Events(events) if events.iter().any(|event| is_last(&event.body)) => return None,
            Next::Events(_) => {}
            Next::End(ending) => return Some(ending),
        }
    }
}

pub(super) fn is_synced(body: &Body) -> bool {
    matches!(body, Body::Synced)
}

pub(super) fn is_message(text: &str) -> impl Fn(&Body) -> bool {
    move |body| matches!(body, Body::Message(message) if message.content.to_text() == text)
}

/// Tells nobody anything, and keeps what was published.
#[derive(Default)]
pub(super) struct SilentBus {
    pub(super) published: Mutex<Vec<Notice>>,
    /// Publishing panics, as nothing in a bus should.
    pub(super) is_broken: AtomicBool,
}

#[async_trait]
impl Bus for SilentBus {
    async fn subscribe(&self, _: Topic) -> Result<BusSubscription, BusError> {
        yield_now().await;
        Ok(stream::pending().boxed())
    }

    async fn publish(&self, notice: Notice) -> Result<(), BusError> {
        yield_now().await;
        if self.is_broken.load(SeqCst) {
            resume_unwind(Box::new("the bus is broken"));
        }
        self.published.lock().expect("no panic").push(notice);
        yield_now().await;
        Ok(())
    }
}

/// A model that always says the same.
pub(super) struct TwoParts;

impl Generator for TwoParts {
    fn start(&self, _: Conversation) -> Generation {
        let said = ["yes, ", "I do"].map(Generated::text);
        let said = said.into_iter().chain([Generated::Done(Completion::STOPPED)]);
        let spoken = stream::iter(said).then(|part| async {
            yield_now().await;
            part
        });
        spoken.boxed()
    }
}

/// One that says more at once than is taken at once.
pub(super) struct Fluent;

impl Fluent {
    pub(super) fn answer() -> String {
        "x".repeat(2 * EVENTS_MAX + 1)
    }
}

impl Generator for Fluent {
    fn start(&self, _: Conversation) -> Generation {
        let said = Self::answer().into_bytes().into_iter().map(|_| Generated::text("x"));
        stream::iter(said.chain([Generated::Done(Completion::STOPPED)])).boxed()
    }
}
