//! How whoever asked learns what became of an operation.

use std::sync::Arc;

use mainstem_machine::announce::Notice;
use mainstem_machine::hub::{BusEvent, ChatEvent, DatabaseEvent, HubEvent, OpOutcome};
use mainstem_machine::replica::{Heartbeat, ReplicaEvent};
use mainstem_machine::{Appended, ChatState, NextRow, OpId, Rejection, Time};
use mainstem_oracles::{Answer, Evidence};

use crate::choice::{ChatAt, NodeAt};
use crate::node::{Loaded, Operation, Reply, Stage, Task};
use crate::world::{World, chat_at, chat_id};

/// What a change is announced by: the row after it, what it appended to the history, and what it made of the row before if that
/// is all.
type Written<'a> = (&'a Arc<ChatState>, Option<&'a Appended>, Option<Box<NextRow>>);

impl World {
    /// The answer comes to what a machine asked for at `asked`, about a chat or none.
    pub(crate) fn answer(
        &mut self,
        node: NodeAt,
        (chat, op): (Option<ChatAt>, OpId),
        task: Task,
        asked: Time,
        reply: Reply,
    ) {
        if let Reply::Applied { state, appended, next_row, deleted, replayed, answer } = &reply {
            let change = state.as_ref().map(|state| (state, appended.as_ref(), next_row.clone()));
            self.announce(node, task_chat(&task), change, *deleted, *replayed && answer.is_ok());
        }
        match (task, reply) {
            (Task::Bus, _) => self.tell_bus(node, chat, op, true),
            (Task::Snapshot(_), Reply::Snapshot(read)) => {
                self.tell(
                    node,
                    chat,
                    HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome: OpOutcome::Done(read) }),
                );
            }
            (Task::Page { .. }, Reply::Page(page)) => {
                self.tell(
                    node,
                    chat,
                    HubEvent::Database(DatabaseEvent::PageRead { op, outcome: OpOutcome::Done(page) }),
                );
            }
            (Task::History, Reply::History(loaded)) => self.tell_history(node, chat, op, loaded),
            (Task::Apply(_), Reply::Applied { answer, state, .. }) => {
                let outcome = applied(answer.err(), state);
                self.tell(node, chat, HubEvent::Database(DatabaseEvent::Applied { op, outcome }));
            }
            (Task::Acquire(_), Reply::Applied { answer, state, .. }) => {
                let outcome = applied(answer.err(), state);
                self.tell_replica(node, ReplicaEvent::Acquired { op, outcome });
            }
            (Task::Sync { .. }, Reply::Sync(result)) => {
                self.tell_replica(node, ReplicaEvent::Synced { op, outcome: OpOutcome::Done(result) });
            }
            (Task::Heartbeat(_) | Task::LookUp, Reply::Heartbeat(heartbeat)) => {
                if let Heartbeat::Confirmed { leases: confirmed, .. } = &heartbeat {
                    let replica = self.node(node).id.clone();
                    for (chat, lease) in confirmed.clone() {
                        self.observe(Evidence::Assured {
                            replica: replica.clone(),
                            chat,
                            lease,
                            sent: asked,
                        });
                    }
                }
                self.tell_replica(
                    node,
                    ReplicaEvent::HeartbeatResult { op, outcome: OpOutcome::Done(heartbeat) },
                );
            }
            (Task::User(at, _), Reply::Applied { answer, .. }) => {
                self.answered(at, answer.map_or(Answer::Refused, Answer::Accepted));
            }
            (Task::Publish(_), _) => {}
            (task, reply) => unreachable!("{reply:?} answers {task:?}"),
        }
    }

    fn tell(&mut self, node: NodeAt, chat: Option<ChatAt>, event: HubEvent) {
        self.handle(node, chat.expect("a hub's operation is about its chat"), event);
    }

    /// A subscription that ended before its answer came is found to be at its end as soon as it is there.
    fn tell_bus(&mut self, node: NodeAt, chat: Option<ChatAt>, op: OpId, established: bool) {
        let here = self.node(node);
        match chat {
            Some(chat) => {
                let is_in_force = here.hubs.get(&chat).is_some_and(|open| open.bus);
                self.handle(node, chat, HubEvent::Bus(BusEvent::Subscribed { op, established }));
                if established && !is_in_force {
                    self.handle(node, chat, HubEvent::Bus(BusEvent::Lost));
                }
            }
            None => {
                let is_in_force = here.work_bus;
                self.tell_replica(node, ReplicaEvent::BusSubscribed { op, established });
                if established && !is_in_force {
                    self.tell_replica(node, ReplicaEvent::BusLost);
                }
            }
        }
    }

    fn tell_history(&mut self, node: NodeAt, chat: Option<ChatAt>, op: OpId, loaded: Option<Loaded>) {
        let Some(loaded) = loaded else {
            return self.tell(
                node,
                chat,
                HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome: OpOutcome::Refused }),
            );
        };
        let version = loaded.version;
        let open = chat.and_then(|chat| self.node(node).hubs.get_mut(&chat));
        if let Some(open) = open {
            open.histories.insert(op, loaded);
        }
        self.tell(
            node,
            chat,
            HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome: OpOutcome::Done(version) }),
        );
    }

    /// What was committed is announced: at once here, by the bus to the others.
    fn announce(
        &mut self,
        node: NodeAt,
        chat: ChatAt,
        change: Option<Written<'_>>,
        deleted: bool,
        again: bool,
    ) {
        let notice = match change {
            Some((state, appended, next_row)) => {
                if !deleted {
                    let (state, appended) = (state.clone(), appended.cloned());
                    self.handle(node, chat, HubEvent::Chat(ChatEvent::Committed { state, appended }));
                }
                Notice::of(state, next_row, deleted)
            }
            // It was committed, but could not be announced then.
            None if again => match self.state.rows.state(chat_id(chat)) {
                Some(state) => Notice::of(state, None, false),
                None => return,
            },
            None => return,
        };
        self.handle(
            node,
            chat,
            HubEvent::Chat(ChatEvent::Hint { snapshot_version: notice.snapshot_version }),
        );
        if notice.free {
            let (chat, status) = (notice.chat, notice.status);
            self.tell_replica(node, ReplicaEvent::Free { chat, status });
        }
        let waiting = self.node(node).operations.iter_mut().find_map(|operation| match &mut operation.task {
            Task::Publish(waiting) if waiting.chat == notice.chat && operation.stage == Stage::Asked => {
                Some(waiting)
            }
            _ => None,
        });
        match waiting {
            Some(waiting) if waiting.snapshot_version < notice.snapshot_version => *waiting = notice,
            Some(_) => {}
            None => self.begin(node, Some(chat), OpId(0), Task::Publish(notice)),
        }
    }

    /// Whoever asked is told that it did not happen, or that nobody knows.
    pub(crate) fn fail_operation(&mut self, node: NodeAt, operation: &Operation, unknown: bool) {
        fn lost<T>(unknown: bool) -> OpOutcome<T> {
            if unknown { OpOutcome::Unknown } else { OpOutcome::Refused }
        }
        let Operation { chat, op, task, .. } = operation;
        let (chat, op) = (*chat, *op);
        match task {
            Task::Bus => self.tell_bus(node, chat, op, false),
            Task::Snapshot(_) => self.tell(
                node,
                chat,
                HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome: lost(unknown) }),
            ),
            Task::Page { .. } => self.tell(
                node,
                chat,
                HubEvent::Database(DatabaseEvent::PageRead { op, outcome: lost(unknown) }),
            ),
            Task::History => self.tell(
                node,
                chat,
                HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome: lost(unknown) }),
            ),
            Task::Apply(_) => self.tell(
                node,
                chat,
                HubEvent::Database(DatabaseEvent::Applied { op, outcome: lost(unknown) }),
            ),
            Task::Acquire(_) => {
                self.tell_replica(node, ReplicaEvent::Acquired { op, outcome: lost(unknown) })
            }
            Task::Sync { .. } => self.tell_replica(node, ReplicaEvent::Synced { op, outcome: lost(unknown) }),
            Task::Heartbeat(_) | Task::LookUp => {
                self.tell_replica(node, ReplicaEvent::HeartbeatResult { op, outcome: lost(unknown) });
            }
            Task::User(at, _) => self.lose_ask(*at),
            Task::Publish(_) => {}
        }
    }
}

fn task_chat(task: &Task) -> ChatAt {
    match task {
        Task::Apply(request) | Task::Acquire(request) | Task::User(_, request) => chat_at(request.chat),
        task => unreachable!("{task:?} changes no chat"),
    }
}

fn applied(
    rejection: Option<Rejection>,
    state: Option<Arc<ChatState>>,
) -> OpOutcome<Result<Arc<ChatState>, Rejection>> {
    match (rejection, state) {
        (Some(rejection), _) => OpOutcome::Done(Err(rejection)),
        (None, Some(state)) => OpOutcome::Done(Ok(state)),
        // A runner's command always changes something if it is accepted.
        (None, None) => OpOutcome::Refused,
    }
}
