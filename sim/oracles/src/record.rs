//! The evidence: what the database committed, what the models produced, what each viewer received.

use std::collections::BTreeMap;

use mainstem_machine::{
    ChatId, ChatState, Cursor, Episode, Message, MessageId, ReplicaId, StreamEvent, Time,
};

/// Everything that a run left behind to be judged. Filled in the order of events.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub committed: Vec<Committed>,
    pub runs: Vec<Run>,
    pub streams: Vec<Stream>,
    pub sends: Vec<Send>,
}

/// A message that a user sent, under one key, however often it was asked for.
#[derive(Clone, Debug)]
pub struct Send {
    pub chat: ChatId,
    pub text: String,
    /// When it was acknowledged, and under which id (in the history or the queue).
    pub acknowledged: Option<(Time, MessageId)>,
}

/// One accepted change.
#[derive(Clone, Debug)]
pub struct Committed {
    pub at: Time,
    pub chat: ChatId,
    /// After it.
    pub state: ChatState,
    pub deleted: bool,
    pub cut_from: Option<MessageId>,
    pub inserted: Vec<Message>,
    /// What was asked, by its constant name.
    pub command: &'static str,
    /// The replica that asked.
    pub replica: ReplicaId,
}

/// One run of a model.
#[derive(Clone, Debug)]
pub struct Run {
    pub chat: ChatId,
    pub episode: Episode,
    pub replica: ReplicaId,
    pub started: Time,
    /// What was taken from it: the first is part 1.
    pub parts: Vec<String>,
    /// It said that the answer is complete.
    pub done: bool,
}

/// One stream, from connecting to its end.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who watches. Streams of one viewer and chat follow one another.
    pub viewer: String,
    pub chat: ChatId,
    /// The replica it was connected to.
    pub on: String,
    pub from: Begin,
    pub connected: Time,
    pub events: Vec<(Time, StreamEvent)>,
    pub ended: Option<Time>,
}

/// Where a stream was asked to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Fresh,
    /// With the messages up to this one.
    After(MessageId),
    /// Where an earlier stream of this viewer stopped.
    At(Cursor),
}

impl Record {
    /// The changes of each chat, in order.
    pub fn by_chat(&self) -> BTreeMap<ChatId, Vec<&Committed>> {
        let mut chats: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for change in &self.committed {
            chats.entry(change.chat).or_default().push(change);
        }
        chats
    }

    pub fn run(&self, chat: ChatId, episode: Episode) -> Option<&Run> {
        self.runs.iter().find(|run| run.chat == chat && run.episode == episode)
    }
}
