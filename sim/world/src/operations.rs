//! What the machines ask for, and what becomes of it: operations on the database and the bus.

use std::sync::Arc;

use mainstem_machine::hub::{HubAction, HubEvent, OpOutcome};
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::replica::{Heartbeat, ReplicaAction, ReplicaEvent, SyncResult};
use mainstem_machine::store::{Held, Request, SyncReport};
use mainstem_machine::{Applied, Change, ChatState, Effect, OpId, Rejection, Version, WallTime};
use mainstem_oracles::{Answer, Committed, Evidence, FaultKind, Operation as Operated, RunEnd};

use crate::choice::{ChatAt, How, Kind, NodeAt};
use crate::hashed::Hashed;
use crate::node::{Model, Notice, Operation, Reply, Stage, Task};
use crate::trace::Told;
use crate::world::{Asking, World, chat_at, chat_id};

/// The database's wall clock at [`Time::START`](mainstem_machine::Time::START).
const WALL_START: WallTime = WallTime(1_767_225_600_000);
/// Messages of a page. Fewer than a real store's, so that pages are common.
const PAGE_MESSAGES: usize = 2;

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
    pub(crate) fn settle_hub(&mut self, node: NodeAt, chat: ChatAt) {
        if self.peek(node).is_none_or(|node| !node.hubs.contains_key(&chat)) {
            return;
        }
        let open = self.state.nodes[usize::from(node.0)].hubs.get_mut(&chat).expect("it is there");
        let before = self.work.len();
        while let Some(action) = open.hub.poll_action() {
            self.work.push_back(Work::Hub(node, chat, action));
        }
        open.hub.assert_invariants();
        let (news, finished) = (open.hub.take_news(), open.hub.is_finished());
        if self.laws {
            self.check_hub(node, chat, self.work.len() - before, news);
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
        assert!(open.link.is_none() && open.model.is_none(), "B2: a hub that ends leaves nothing behind");
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
            HubAction::DropHistory { op } => {
                self.open(node, chat).histories.remove(&op);
            }
            HubAction::Apply { op, command } => {
                let request = Request { chat: id, command, by: None, idempotency_key: None };
                self.begin(node, Some(chat), op, Task::Apply(request));
            }
            HubAction::Dial { dial, worker, position } => self.dial(node, chat, dial, &worker, position),
            HubAction::CloseDial { dial } => self.close_dial(node, chat, dial),
            HubAction::Start { generation, episode, history, .. } => {
                let run = self.next_run();
                let open = self.open(node, chat);
                assert_eq!(
                    open.histories.get(&history),
                    Some(&episode.history_version),
                    "S1: a run starts over its own history"
                );
                open.model = Some(Model { generation, run: crate::node::Label(run), episode, parts: 0 });
                let replica = self.node(node).id.clone();
                self.observe(Evidence::RunStarted { run, replica, chat: id, episode });
            }
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
    pub(crate) fn settle_replica(&mut self, node: NodeAt) {
        let before = self.work.len();
        while let Some(action) = self.node(node).replica.poll_action() {
            self.work.push_back(Work::Replica(node, action));
        }
        if self.laws {
            self.check_replica(node, self.work.len() - before);
        }
        self.work_on();
    }

    fn perform_for_replica(&mut self, node: NodeAt, action: ReplicaAction) {
        if self.laws {
            self.check_asked_by_replica(node, &action);
        }
        match action {
            ReplicaAction::BusSubscribe { op } => self.begin(node, None, op, Task::Bus),
            ReplicaAction::Sync { op, runnable_max } => {
                let open = self.node(node).hubs.iter();
                let asked = open.map(|(chat, open)| (chat_id(*chat), open.hub.snapshot_version())).collect();
                self.begin(node, None, op, Task::Sync { asked, runnable_max });
            }
            ReplicaAction::Acquire { op, chat, command } => {
                let request = Request { chat, command, by: None, idempotency_key: None };
                self.begin(node, Some(chat_at(chat)), op, Task::Acquire(request));
            }
            ReplicaAction::Heartbeat { op, held } => self.begin(node, None, op, Task::Heartbeat(held)),
            ReplicaAction::To { chat, event } => {
                let (chat, now) = (chat_at(chat), self.state.now);
                if let HubEvent::Acquired { state, .. } = &event {
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

    /// Something becomes of the first operation of its kind.
    pub(crate) fn operation(&mut self, node: NodeAt, chat: Option<ChatAt>, kind: Kind, how: How) {
        let Some(here) = self.peek(node).filter(|node| node.is_there()) else { return };
        let Some(at) = here.find(chat, kind, how == How::Late) else { return };
        let (up, asked) = (here.is_up(), here.operations[at].stage == Stage::Asked);
        match how {
            How::Carry | How::Late if up => {
                if asked {
                    self.happen(node, at);
                }
                self.answer(node, at);
            }
            How::Happen if self.take_delay(node, kind) => {
                self.happen(node, at);
                self.node(node).operations[at].held = true;
            }
            How::Hold if self.take_delay(node, kind) => self.node(node).operations[at].held = true,
            How::Refuse if up && self.take_fault() => {
                self.strike(node, kind);
                let operation = self.node(node).operations.remove(at);
                self.fail_operation(node, &operation, false);
            }
            How::LoseRequest if up && self.take_fault() => {
                self.strike(node, kind);
                let operation = self.node(node).operations.remove(at);
                self.fail_operation(node, &operation, true);
                self.go_astray(node, operation);
            }
            How::LoseAnswer if up && self.take_fault() => {
                self.strike(node, kind);
                self.happen(node, at);
                let operation = self.node(node).operations.remove(at);
                self.fail_operation(node, &operation, true);
            }
            _ => {}
        }
    }

    fn strike(&mut self, node: NodeAt, kind: Kind) {
        let who = self.name(node);
        let fault = if matches!(kind, Kind::Bus | Kind::Publish) {
            FaultKind::BusRefused
        } else {
            FaultKind::DatabaseRefused
        };
        self.fault(fault, who, None);
    }

    fn take_delay(&mut self, node: NodeAt, kind: Kind) -> bool {
        if self.state.budget.delays == 0 {
            return false;
        }
        self.state.budget.delays -= 1;
        let who = self.name(node);
        let fault = if matches!(kind, Kind::Bus | Kind::Publish) {
            FaultKind::NoticeLate
        } else {
            FaultKind::DatabaseSlow
        };
        self.fault(fault, who, None);
        true
    }

    pub(crate) fn take_fault(&mut self) -> bool {
        let left = self.state.budget.faults > 0;
        self.state.budget.faults = self.state.budget.faults.saturating_sub(1);
        left
    }

    /// The operation takes effect.
    fn happen(&mut self, node: NodeAt, at: usize) {
        let Operation { chat, task, asked, .. } = self.node(node).operations[at].clone();
        let reply = self.effect(node, chat, &task, asked);
        self.node(node).operations[at].stage = Stage::Happened(reply);
    }

    fn effect(
        &mut self,
        node: NodeAt,
        chat: Option<ChatAt>,
        task: &Task,
        asked: mainstem_machine::Time,
    ) -> Reply {
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
            Task::History => Reply::History(id.and_then(|id| Some(rows.state(id)?.history_version))),
            Task::Sync { asked, runnable_max } => {
                let may_work = self.state.nodes[usize::from(node.0)].may_work;
                let runnable_max = if may_work { *runnable_max } else { 0 };
                let report = rows.sync(now, asked.iter().map(|(chat, _)| *chat), runnable_max);
                let SyncReport { versions, runnable, soonest_expiry } = report;
                Reply::Sync(SyncResult { news: SyncResult::news(asked, &versions), runnable, soonest_expiry })
            }
            Task::Heartbeat(held) => {
                let replica = self.node(node).id.clone();
                let held = held.iter().map(|(chat, lease)| Held { chat: *chat, lease: *lease });
                let renewed = self.state.rows.renew(now, &replica, held);
                let confirmed: Vec<_> = renewed.into_iter().map(|held| (held.chat, held.lease)).collect();
                for (chat, lease) in confirmed.iter().copied() {
                    self.observe(Evidence::Confirmed { replica: replica.clone(), chat, lease, sent: asked });
                }
                Reply::Heartbeat(Heartbeat::Confirmed(confirmed))
            }
            Task::Acquire(_) if !self.state.nodes[usize::from(node.0)].may_work => {
                let (answer, state) = (Err(Rejection::NotFree), None);
                Reply::Applied { answer, state, deleted: false, replayed: false }
            }
            Task::Apply(request) | Task::Acquire(request) | Task::User(_, request) => {
                self.commit(node, request, asked)
            }
            Task::Publish(notice) => {
                let (replica, chat, version) = (self.name(node), notice.chat, notice.version);
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

    fn commit(&mut self, node: NodeAt, request: &Request, asked: mainstem_machine::Time) -> Reply {
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
            return Reply::Applied { answer, state: None, deleted: false, replayed };
        };
        let Change { state, deleted, cut_from, inserted, .. } = change;
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
            accepted: accepted.clone(),
        })));
        Reply::Applied { answer, state: Some(state), deleted, replayed }
    }

    /// The answer comes.
    fn answer(&mut self, node: NodeAt, at: usize) {
        let Operation { chat, op, task, asked, stage, .. } = self.node(node).operations.remove(at);
        let Stage::Happened(reply) = stage else { unreachable!("an answer follows what happened") };
        if let Reply::Applied { state, deleted, replayed, answer } = &reply {
            self.announce(node, task_chat(&task), state.as_ref(), *deleted, *replayed && answer.is_ok());
        }
        match (task, reply) {
            (Task::Bus, _) => self.tell_bus(node, chat, op, true),
            (Task::Snapshot(_), Reply::Snapshot(read)) => {
                self.tell(node, chat, HubEvent::SnapshotRead { op, outcome: OpOutcome::Done(read) });
            }
            (Task::Page { .. }, Reply::Page(page)) => {
                self.tell(node, chat, HubEvent::PageRead { op, outcome: OpOutcome::Done(page) });
            }
            (Task::History, Reply::History(version)) => self.tell_history(node, chat, op, version),
            (Task::Apply(_), Reply::Applied { answer, state, .. }) => {
                let outcome = applied(answer.err(), state);
                self.tell(node, chat, HubEvent::Applied { op, outcome });
            }
            (Task::Acquire(_), Reply::Applied { answer, state, .. }) => {
                let outcome = applied(answer.err(), state);
                self.tell_replica(node, ReplicaEvent::Acquired { op, outcome });
            }
            (Task::Sync { .. }, Reply::Sync(result)) => {
                self.tell_replica(node, ReplicaEvent::Synced { op, outcome: OpOutcome::Done(result) });
            }
            (Task::Heartbeat(_), Reply::Heartbeat(heartbeat)) => {
                if let Heartbeat::Confirmed(confirmed) = &heartbeat {
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

    fn tell_bus(&mut self, node: NodeAt, chat: Option<ChatAt>, op: OpId, established: bool) {
        match chat {
            Some(chat) => self.handle(node, chat, HubEvent::BusSubscribed { op, established }),
            None => self.tell_replica(node, ReplicaEvent::BusSubscribed { op, established }),
        }
    }

    fn tell_history(&mut self, node: NodeAt, chat: Option<ChatAt>, op: OpId, version: Option<Version>) {
        let Some(version) = version else {
            return self.tell(node, chat, HubEvent::HistoryLoaded { op, outcome: OpOutcome::Refused });
        };
        let open = chat.and_then(|chat| self.node(node).hubs.get_mut(&chat));
        if let Some(open) = open {
            open.histories.insert(op, version);
        }
        self.tell(node, chat, HubEvent::HistoryLoaded { op, outcome: OpOutcome::Done(version) });
    }

    /// What was committed is announced: at once here, by the bus to the others.
    fn announce(
        &mut self,
        node: NodeAt,
        chat: ChatAt,
        state: Option<&Arc<ChatState>>,
        deleted: bool,
        again: bool,
    ) {
        let notice = match state {
            Some(state) => {
                if !deleted {
                    self.handle(node, chat, HubEvent::Committed { state: state.clone() });
                }
                Notice::of(state, deleted)
            }
            // It was committed, but could not be announced then.
            None if again => match self.state.rows.state(chat_id(chat)) {
                Some(state) => Notice::of(state, false),
                None => return,
            },
            None => return,
        };
        self.handle(node, chat, HubEvent::Hint { snapshot_version: notice.version });
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
            Some(waiting) if waiting.version < notice.version => *waiting = notice,
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
            Task::Snapshot(_) => self.tell(node, chat, HubEvent::SnapshotRead { op, outcome: lost(unknown) }),
            Task::Page { .. } => self.tell(node, chat, HubEvent::PageRead { op, outcome: lost(unknown) }),
            Task::History => self.tell(node, chat, HubEvent::HistoryLoaded { op, outcome: lost(unknown) }),
            Task::Apply(_) => self.tell(node, chat, HubEvent::Applied { op, outcome: lost(unknown) }),
            Task::Acquire(_) => {
                self.tell_replica(node, ReplicaEvent::Acquired { op, outcome: lost(unknown) })
            }
            Task::Sync { .. } => self.tell_replica(node, ReplicaEvent::Synced { op, outcome: lost(unknown) }),
            Task::Heartbeat(_) => {
                self.tell_replica(node, ReplicaEvent::HeartbeatResult { op, outcome: lost(unknown) });
            }
            Task::User(at, _) => self.state.asks[*at].stage = Asking::Unanswered,
            Task::Publish(_) => {}
        }
    }

    /// Nobody waits for it any more, and it may happen yet.
    pub(crate) fn go_astray(&mut self, node: NodeAt, operation: Operation) {
        if operation.task.writes() && operation.stage == Stage::Asked && self.state.strays.len() < 4 {
            self.state.strays.push_back((node, operation));
        }
    }

    /// The first operation that nobody waits for any more happens.
    pub(crate) fn stray(&mut self) {
        if let Some((node, operation)) = self.state.strays.pop_front() {
            // What it changes is announced by nobody.
            let who = self.name(node);
            self.fault(FaultKind::AnswerLost, who, None);
            self.effect(node, operation.chat, &operation.task, operation.asked);
        }
    }

    /// Operations that were not answered in time have an unknown outcome.
    pub(crate) fn time_out(&mut self, node: NodeAt) {
        let now = self.state.now;
        let late = |operation: &Operation| operation.asked + OP_TIMEOUT <= now;
        while let Some(at) = self.peek(node).and_then(|node| node.operations.iter().position(late)) {
            let operation = self.node(node).operations.remove(at);
            self.fail_operation(node, &operation, true);
            self.go_astray(node, operation);
        }
    }
}

/// Whether the operation is a hub's own, and ends with it.
fn is_of_hub(task: &Task) -> bool {
    matches!(task, Task::Bus | Task::Snapshot(_) | Task::Page { .. } | Task::History | Task::Apply(_))
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
