//! What an operation does when it happens: to the rows, and to who listens.

use mainstem_machine::history::ModelHistory;
use mainstem_machine::replica::{Heartbeat, SyncResult};
use mainstem_machine::store::{HeartbeatReport, Held, Request, SyncReport};
use mainstem_machine::{Applied, Change, ChatId, Effect, Rejection, Time, WallTime};
use mainstem_oracles::{Committed, Evidence};
use mainstem_rows::Rows;

use crate::choice::{ChatAt, NodeAt};
use crate::node::{Label, Loaded, Reply, Task};
use crate::trace::Told;
use crate::world::{World, chat_at, chat_id};

/// The database's wall clock at [`Time::START`](mainstem_machine::Time::START).
const WALL_START: WallTime = WallTime(1_767_225_600_000);
/// Messages of a page. Fewer than a real store's, so that pages are common.
const PAGE_MESSAGES: usize = 2;

/// What a model is given of a chat.
fn loaded(rows: &Rows, chat: ChatId) -> Option<Loaded> {
    let version = rows.state(chat)?.history_version;
    let history = ModelHistory::of(rows.history(chat).iter().cloned()).messages;
    Some(Loaded { version, history: Label(history) })
}

impl World {
    /// An operation that was asked for at `asked` takes effect.
    pub(crate) fn effect(&mut self, node: NodeAt, chat: Option<ChatAt>, task: &Task, asked: Time) -> Reply {
        let (now, id) = (self.state.now, chat.map(chat_id));
        let rows = &self.state.rows;
        match task {
            Task::Bus => {
                let here = self.node(node);
                match chat {
                    None => here.work_bus = true,
                    Some(chat) => {
                        if let Some(open) = here.hubs.get_mut(&chat) {
                            open.bus = true;
                        }
                    }
                }
                Reply::Bus
            }
            Task::Snapshot(cached) => Reply::Snapshot(id.and_then(|id| rows.snapshot(id, *cached))),
            Task::Page { after, until } => {
                Reply::Page(id.and_then(|id| rows.page(id, *after, Some(*until), PAGE_MESSAGES)))
            }
            Task::History => Reply::History(id.and_then(|id| loaded(rows, id))),
            Task::Sync { asked, runnable_max } => {
                let may_work = self.state.nodes[usize::from(node.0)].may_work;
                let runnable_max = if may_work { *runnable_max } else { 0 };
                let report = rows.sync(now, asked.iter().map(|(chat, _)| *chat), runnable_max);
                let SyncReport { versions, runnable, soonest_expiry } = report;
                Reply::Sync(SyncResult { news: SyncResult::news(asked, &versions), runnable, soonest_expiry })
            }
            Task::Heartbeat(_) | Task::LookUp => {
                let held = if let Task::Heartbeat(held) = task { held.as_slice() } else { &[] };
                let row = self.node(node).row.clone();
                let held = held.iter().map(|(chat, lease)| Held { chat: *chat, lease: *lease });
                let HeartbeatReport { confirmed, peers, .. } = self.state.rows.heartbeat(now, &row, held);
                let leases: Vec<_> = confirmed.into_iter().map(|held| (held.chat, held.lease)).collect();
                for (chat, lease) in leases.iter().copied() {
                    let replica = row.replica.clone();
                    self.observe(Evidence::Confirmed { replica, chat, lease, sent: asked });
                }
                Reply::Heartbeat(Heartbeat::Confirmed { leases, peers })
            }
            Task::Acquire(_) if !self.state.nodes[usize::from(node.0)].may_work => {
                let (answer, state) = (Err(Rejection::NotFree), None);
                Reply::Applied {
                    answer,
                    state,
                    appended: None,
                    next_row: None,
                    deleted: false,
                    replayed: false,
                }
            }
            Task::Apply(request) | Task::Acquire(request) | Task::User(_, request) => {
                self.commit(node, request, asked)
            }
            Task::Publish(notice) => {
                let (replica, chat, version) = (self.name(node), notice.chat, notice.snapshot_version);
                self.observe(Evidence::Announced { replica, chat, version });
                let chat = chat_at(chat);
                for other in self.state.nodes.iter_mut().filter(|node| node.is_there()) {
                    let listens = other.hubs.get(&chat).is_some_and(|open| open.bus);
                    if listens || (other.work_bus && notice.free) {
                        other.notices.push_back(notice.clone());
                    }
                }
                Reply::Published
            }
        }
    }

    fn commit(&mut self, node: NodeAt, request: &Request, asked: Time) -> Reply {
        let now = self.state.now;
        let wall = WALL_START.after_ms(now.as_micros() / 1000);
        let Applied { answer, effect } = self.state.rows.apply(now, wall, request);
        let replayed = effect == Effect::Replayed;
        if replayed {
            let replica = self.name(node);
            self.observe(Evidence::Replayed { replica, chat: request.chat });
        }
        self.note(Told::Happened, || {
            let told = answer.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
            ("database".into(), format!("{} of {node}: {told}", request.command.name()))
        });
        let (Effect::Changed(change), Ok(accepted)) = (effect, &answer) else {
            return Reply::Applied {
                answer,
                state: None,
                appended: None,
                next_row: None,
                deleted: false,
                replayed,
            };
        };
        let appended = change.appended();
        let Change { state, next_row, deleted, cut_from, inserted, ended, .. } = change;
        self.observe(Evidence::Committed(Box::new(Committed {
            chat: request.chat,
            by: self.name(node),
            asked,
            caller: request.by.clone(),
            key: request.idempotency_key.as_ref().map(|idempotency_key| idempotency_key.key.clone()),
            command: request.command.clone(),
            state: state.clone(),
            deleted,
            cut_from,
            inserted,
            ended,
            accepted: accepted.clone(),
        })));
        Reply::Applied { answer, state: Some(state), appended, next_row, deleted, replayed }
    }
}
