//! What the machines ask for: carried out in order, or begun as an operation.

use mainstem_machine::OpId;
use mainstem_machine::history::ModelHistory;
use mainstem_machine::hub::{HubAction, HubEvent, LeaseEvent, Output};
use mainstem_machine::replica::{self, ReplicaAction, ReplicaEvent};
use mainstem_machine::store::Request;
use mainstem_oracles::{Evidence, Operation as Operated, RunEnd};

use crate::choice::{ChatAt, Kind, NodeAt};
use crate::hashed::Hashed;
use crate::node::{Label, Loaded, Model, Operation, Stage, Task};
use crate::tools::Call;
use crate::world::{World, chat_at, chat_id};

/// Something that a machine asked for.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Hub(NodeAt, ChatAt, HubAction),
    Replica(NodeAt, ReplicaAction),
    /// The hub has finished.
    End(NodeAt, ChatAt),
}

impl World {
    /// Queues what a hub asks for, and tells those who wait that there is news.
    pub(crate) fn settle_hub(&mut self, node: NodeAt, chat: ChatAt, said: Output) {
        let Some(open) = self.peek(node).and_then(|node| node.hubs.get(&chat)) else { return };
        let Output { actions, news, .. } = said;
        open.hub.assert_invariants();
        let finished = open.hub.is_finished();
        let asked = actions.len();
        self.work.extend(actions.into_iter().map(|action| Work::Hub(node, chat, action)));
        if self.laws {
            self.check_hub(node, chat, asked, news);
        }
        if finished {
            self.work.push_back(Work::End(node, chat));
        } else if news {
            self.spread_news(node, chat);
        }
        self.work_on();
    }

    /// Carries out what was asked for, in order. What that leads to comes after it.
    fn work_on(&mut self) {
        if std::mem::replace(&mut self.working, true) {
            return;
        }
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Hub(node, chat, action) => self.perform(node, chat, action),
                Work::Replica(node, action) => self.perform_for_replica(node, action),
                Work::End(node, chat) => self.end_hub(node, chat),
            }
        }
        self.working = false;
    }

    fn end_hub(&mut self, node: NodeAt, chat: ChatAt) {
        let Some(open) = self.node(node).hubs.remove(&chat) else { return };
        let is_bare = open.link.is_none() && open.model.is_none() && open.calls.is_empty();
        assert!(is_bare, "B2: a hub that ends leaves nothing behind");
        let here = self.node(node);
        here.operations.retain(|operation| operation.chat != Some(chat) || !is_of_hub(&operation.task));
        if let Some(lease) = open.assigned {
            self.tell_replica(node, ReplicaEvent::RunnerGone { chat: chat_id(chat), lease });
        }
    }

    fn spread_news(&mut self, node: NodeAt, chat: ChatAt) {
        for viewer in self.state.viewers.iter_mut().filter(|viewer| viewer.chat == chat) {
            if let Some(stream) = viewer.stream.as_mut().filter(|stream| stream.on == node) {
                stream.idle = false;
            }
        }
        for other in &mut self.state.nodes {
            let link = other.hubs.get(&chat).and_then(|open| open.link.as_ref());
            if link.is_some_and(|link| link.idle && link.worker == Some(node))
                && let Some(link) = other.hubs.get_mut(&chat).and_then(|open| open.link.as_mut())
            {
                link.idle = false;
            }
        }
    }

    fn perform(&mut self, node: NodeAt, chat: ChatAt, action: HubAction) {
        if self.laws {
            self.check_asked(node, chat, &action);
        }
        let id = chat_id(chat);
        match action {
            HubAction::BusSubscribe { op } => self.begin(node, Some(chat), op, Task::Bus),
            HubAction::BusUnsubscribe => self.open(node, chat).bus = false,
            HubAction::ReadSnapshot { op, cached } => {
                self.begin(node, Some(chat), op, Task::Snapshot(cached))
            }
            HubAction::ReadPage { op, after, until } => {
                self.begin(node, Some(chat), op, Task::Page { after, until });
            }
            HubAction::LoadHistory { op } => self.begin(node, Some(chat), op, Task::History),
            HubAction::KeepHistory { op, version, messages } => {
                let history = Label(ModelHistory::of(messages).messages);
                self.open(node, chat).histories.insert(op, Loaded { version, history });
            }
            HubAction::DropHistory { op } => {
                self.open(node, chat).histories.remove(&op);
            }
            HubAction::Apply { op, command } => {
                let request = Request { chat: id, command, by: None, idempotency_key: None };
                self.begin(node, Some(chat), op, Task::Apply(request));
            }
            HubAction::Dial { dial, worker, address, position } => {
                self.dial(node, chat, dial, &worker, &address, position);
            }
            HubAction::CloseDial { dial } => self.close_dial(node, chat, dial),
            HubAction::Start { generation, episode, history, .. } => {
                let run = self.next_run();
                let open = self.open(node, chat);
                let Loaded { version, history } =
                    open.histories.get(&history).expect("a history is kept until it is dropped").clone();
                assert_eq!(version, episode.history_version, "S1: a run starts over its own history");
                open.model = Some(Model { generation, run: Label(run), episode, parts: 0 });
                let replica = self.node(node).id.clone();
                self.observe(Evidence::RunStarted { run, replica, chat: id, episode });
                self.observe(Evidence::Prompted { run, history: history.0 });
            }
            HubAction::Call { op, of, id, name, .. } => {
                let asked = self.state.now;
                self.begin_call(node, chat, Call { op, of, id, name, asked });
            }
            HubAction::GiveUpCall { op } => self.give_up_call(node, chat, op),
            HubAction::Cancel { generation } => {
                let model = self.open(node, chat).model.take_if(|model| model.generation == generation);
                if let Some(model) = model {
                    self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Cancelled });
                }
            }
            HubAction::ToReplica(event) => {
                if let ReplicaEvent::RunnerGone { lease, .. } = event {
                    let open = self.open(node, chat);
                    open.assigned.take_if(|assigned| *assigned == lease);
                }
                self.tell_replica(node, event);
            }
        }
    }

    pub(crate) fn open(&mut self, node: NodeAt, chat: ChatAt) -> &mut crate::node::Open {
        self.node(node).hubs.get_mut(&chat).expect("a hub that asks is open")
    }

    /// Queues what a replica's machine asks for.
    pub(crate) fn settle_replica(&mut self, node: NodeAt, said: replica::Output) {
        let asked = said.actions.len();
        self.work.extend(said.actions.into_iter().map(|action| Work::Replica(node, action)));
        if self.laws {
            self.check_replica(node, asked);
        }
        self.work_on();
    }

    fn perform_for_replica(&mut self, node: NodeAt, action: ReplicaAction) {
        if self.laws {
            self.check_asked_by_replica(node, &action);
        }
        match action {
            ReplicaAction::BusSubscribe { op } => self.begin(node, None, op, Task::Bus),
            ReplicaAction::Sync { op, runnable_max, versions } => {
                let open = self.node(node).hubs.iter().filter(|_| versions);
                let asked = open.map(|(chat, open)| (chat_id(*chat), open.hub.snapshot_version())).collect();
                self.begin(node, None, op, Task::Sync { asked, runnable_max });
            }
            ReplicaAction::Acquire { op, chat, command } => {
                let request = Request { chat, command, by: None, idempotency_key: None };
                self.begin(node, Some(chat_at(chat)), op, Task::Acquire(request));
            }
            ReplicaAction::Heartbeat { op, held } => self.begin(node, None, op, Task::Heartbeat(held)),
            ReplicaAction::LookUp { op } => self.begin(node, None, op, Task::LookUp),
            ReplicaAction::To { chat, event } => {
                let (chat, now) = (chat_at(chat), self.local(node));
                if let HubEvent::Lease(LeaseEvent::Acquired { state, .. }) = &event {
                    let here = self.node(node);
                    let config = here.config.clone();
                    let open = here
                        .hubs
                        .entry(chat)
                        .or_insert_with(|| Hashed::new(crate::node::Open::new(now, config)));
                    open.assigned = Some(state.lease);
                }
                self.handle(node, chat, event);
            }
        }
    }

    pub(crate) fn begin(&mut self, node: NodeAt, chat: Option<ChatAt>, op: OpId, task: Task) {
        let what = match task.kind() {
            Kind::Bus | Kind::Publish => Operated::Bus,
            _ => Operated::Database,
        };
        let (replica, asked) = (self.name(node), self.state.now);
        self.observe(Evidence::Operated { replica, what });
        self.node(node).operations.push(Operation {
            chat,
            op,
            task,
            asked,
            stage: Stage::Asked,
            held: false,
        });
    }
}

/// Whether the operation is a hub's own, and ends with it.
fn is_of_hub(task: &Task) -> bool {
    matches!(task, Task::Bus | Task::Snapshot(_) | Task::Page { .. } | Task::History | Task::Apply(_))
}
