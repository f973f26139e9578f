//! What a chat ought to do, told a second time: lists of numbered texts, a phase, a holder. Written from the
//! tables of docs/design.md and docs/protocol.md, and from no code. It knows no message ids, so it cannot
//! repeat a mistake with them; those have laws of their own.

use std::collections::BTreeMap;

use mainstem_machine::{Rejection, SendMode};

/// A user: 0 is the owner.
pub(crate) type Person = u8;

/// A unique text.
pub(crate) type Text = u32;
/// A replica.
pub(crate) type Who = u8;

/// A request, in the model's terms.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// What was said so far, and of each line whether the user said it.
    Create(Vec<(bool, Text)>),
    Send {
        text: Text,
        mode: SendMode,
        queue_max: usize,
    },
    /// `old` is the current text of the message, if there is such a message.
    Edit {
        old: Option<Text>,
        text: Text,
    },
    /// `old` is the text of the message that is to be answered again, if there is such a message.
    Regenerate {
        old: Option<Text>,
        mode: SendMode,
    },
    Interrupt {
        named: Option<(u64, u64)>,
    },
    DeleteQueued(Option<Text>),
    Promote(Option<Text>),
    /// Results of calls, by their places.
    Results(Vec<usize>),
    Delete,
    /// Whether nothing has changed for as long as was asked.
    Expire {
        is_old: bool,
    },
    /// Lets a user see the chat, and write in it or not.
    Share {
        user: Person,
        writes: bool,
    },
    Unshare(Person),
    Acquire {
        who: Who,
        expired: bool,
        stopping_only: bool,
    },
    Release {
        who: Who,
        term: u64,
    },
    Write {
        claim: Claim,
        write: Write,
    },
}

/// What a worker believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) who: Who,
    pub(crate) term: u64,
    pub(crate) history: u64,
    pub(crate) attempt: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Begin,
    Retry,
    /// A text that ends with calls.
    Step(Text, Vec<Call>),
    /// Results of calls, by their places.
    Results(Vec<usize>),
    Finish(Option<Text>),
    FinishInterruption(Option<Text>),
    Fail(Option<Text>),
}

/// An open call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) by: By,
    pub(crate) answered: bool,
}

/// Who carries a call out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Client,
    /// The worker, and no other after it.
    Once,
    /// The worker, and whoever comes after it.
    Again,
}

impl Call {
    fn waits_for_client(&self) -> bool {
        !self.answered && self.by == By::Client
    }

    fn waits_for_worker(&self) -> bool {
        !self.answered && self.by != By::Client
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Idle,
    Running,
    Stopping,
    /// Calls wait for the client.
    Asking,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Said,
    /// An answer that was given elsewhere.
    Told,
    Generated,
    /// Generated, and interrupted.
    Partial,
    /// What came of calls.
    Results,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chat {
    pub(crate) history: Vec<(Kind, Text)>,
    pub(crate) queue: Vec<Text>,
    pub(crate) calls: Vec<Call>,
    /// With whom it is shared, and whether to write.
    pub(crate) shares: BTreeMap<Person, bool>,
    pub(crate) phase: Phase,
    pub(crate) holder: Option<Who>,
    /// How often it was acquired.
    pub(crate) term: u64,
    pub(crate) attempt: u64,
    /// An attempt has begun under the current lease.
    pub(crate) live: bool,
    pub(crate) retrying: bool,
    pub(crate) version: u64,
    pub(crate) history_at: u64,
    pub(crate) queue_at: u64,
    pub(crate) cut_at: u64,
}

/// The model: a chat, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) Option<Chat>);

impl Model {
    /// Applies a request. Returns whether it changed anything, or why it is rejected.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<bool, Rejection> {
        match (&mut self.0, ask) {
            (None, Ask::Create(lines)) => self.0 = Some(Chat::create(lines)),
            (None, _) => return Err(Rejection::NoSuchChat),
            (Some(_), Ask::Create(_)) => return Err(Rejection::Exists),
            (Some(chat), Ask::Delete) if chat.is_busy() => return Err(Rejection::Busy),
            (Some(_), Ask::Delete) => self.0 = None,
            (Some(chat), Ask::Expire { is_old }) if chat.is_busy() || !is_old => return Err(Rejection::Busy),
            (Some(_), Ask::Expire { .. }) => self.0 = None,
            (Some(chat), ask) => {
                let mut next = Chat { version: chat.version + 1, ..chat.clone() };
                if !next.take(ask)? {
                    return Ok(false);
                }
                *chat = next;
            }
        }
        Ok(true)
    }
}

impl Chat {
    fn create(lines: &[(bool, Text)]) -> Self {
        let mut chat = Self {
            history: vec![],
            queue: vec![],
            calls: vec![],
            shares: BTreeMap::new(),
            phase: Phase::Idle,
            holder: None,
            term: 0,
            attempt: 0,
            live: false,
            retrying: false,
            version: 1,
            history_at: 0,
            queue_at: 0,
            cut_at: 0,
        };
        for (is_user, text) in lines {
            chat.phase = if *is_user { Phase::Running } else { Phase::Idle };
            chat.line(if *is_user { Kind::Said } else { Kind::Told }, *text);
        }
        chat
    }

    /// What comes of it if this user asks: nothing else than if the owner did, or this.
    pub(crate) fn refuses(&self, user: Person, ask: &Ask) -> Option<Rejection> {
        let shared = self.shares.get(&user);
        match (ask, shared) {
            _ if user == 0 => None,
            (_, None) => Some(Rejection::NoSuchChat),
            (Ask::Unshare(whose), _) if *whose == user => None,
            (Ask::Share { .. } | Ask::Unshare(_) | Ask::Delete, _) => Some(Rejection::NotOwner),
            (Ask::Create(_), _) | (_, Some(true)) => None,
            (_, Some(false)) => Some(Rejection::ReadOnly),
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping | Phase::Asking)
    }

    fn take(&mut self, ask: &Ask) -> Result<bool, Rejection> {
        match ask {
            Ask::Create(_) | Ask::Delete | Ask::Expire { .. } => unreachable!("the model takes these itself"),
            Ask::Send { text, mode, queue_max } => self.send(*text, *mode, *queue_max)?,
            Ask::Edit { old, text } => {
                let at = self.history.iter().position(|(_, line)| Some(*line) == *old);
                let at = at.ok_or(Rejection::NoSuchMessage)?;
                if self.history[at].0 != Kind::Said {
                    return Err(Rejection::NotEditable);
                }
                self.history.truncate(at);
                self.calls.clear();
                self.cut_at = self.version;
                if !self.queue.is_empty() {
                    self.queue.clear();
                    self.queue_at = self.version;
                }
                self.say(*text);
            }
            Ask::Regenerate { old, mode } => {
                let at = self.history.iter().position(|(_, line)| Some(*line) == *old);
                let at = at.ok_or(Rejection::NoSuchMessage)?;
                if self.history[at].0 != Kind::Said {
                    return Err(Rejection::NotEditable);
                }
                if self.is_busy() && *mode != SendMode::Interrupt {
                    return Err(Rejection::Busy);
                }
                self.history.truncate(at + 1);
                self.calls.clear();
                self.cut_at = self.version;
                self.history_at = self.version;
                self.attempt = 0;
                self.phase = Phase::Running;
                self.live = false;
                self.retrying = false;
            }
            Ask::Interrupt { named } => {
                let meant = named.is_none_or(|named| named == (self.history_at, self.attempt));
                match self.phase {
                    Phase::Running | Phase::Stopping | Phase::Asking if !meant => {
                        return Err(Rejection::NotRunning);
                    }
                    Phase::Stopping => return Ok(false),
                    Phase::Running if self.holder.is_some() => self.stop(),
                    Phase::Running | Phase::Asking => {
                        self.close();
                        self.go_on();
                    }
                    Phase::Idle | Phase::Broken => return Err(Rejection::NotRunning),
                }
            }
            Ask::DeleteQueued(text) => {
                self.unqueue(*text)?;
            }
            Ask::Promote(text) => {
                let text = self.unqueue(*text)?;
                if self.phase == Phase::Asking {
                    self.close();
                    self.say(text);
                } else if self.is_busy() {
                    self.queue.insert(0, text);
                    self.stop();
                } else {
                    self.say(text);
                }
            }
            Ask::Results(places) if places.is_empty() => return Err(Rejection::NotPending),
            Ask::Results(places) => self.answer(places, Call::waits_for_client)?,
            Ask::Share { user: 0, .. } => return Err(Rejection::OwnChat),
            Ask::Share { user, writes } => return Ok(self.shares.insert(*user, *writes) != Some(*writes)),
            Ask::Unshare(user) => return Ok(self.shares.remove(user).is_some()),
            Ask::Acquire { who, expired, stopping_only } => {
                let free = self.holder.is_none_or(|holder| holder == *who) || *expired;
                let wanted = match *stopping_only {
                    true => self.phase == Phase::Stopping,
                    false => matches!(self.phase, Phase::Running | Phase::Stopping),
                };
                if !free || !wanted {
                    return Err(Rejection::NotFree);
                }
                self.holder = Some(*who);
                self.term += 1;
                self.live = self.phase == Phase::Running && self.calls.is_empty() && !self.retrying;
                self.attempt += u64::from(self.live);
                // Nobody knows what became of them.
                let lost = self.calls.iter_mut().filter(|call| call.by == By::Once);
                lost.for_each(|call| call.answered = true);
            }
            Ask::Release { who, term } => {
                if self.holder != Some(*who) || self.term != *term {
                    return Err(Rejection::Fenced);
                }
                self.holder = None;
                self.live = false;
            }
            Ask::Write { claim, write } => self.write(claim, write)?,
        }
        Ok(true)
    }

    fn send(&mut self, text: Text, mode: SendMode, queue_max: usize) -> Result<(), Rejection> {
        if !self.is_busy() {
            if mode != SendMode::Interrupt && !self.queue.is_empty() {
                self.queue.push(text);
                let head = self.queue.remove(0);
                self.queue_at = self.version;
                self.say(head);
            } else {
                self.say(text);
            }
            return Ok(());
        }
        if mode == SendMode::Reject {
            return Err(Rejection::Busy);
        }
        if mode == SendMode::Interrupt && self.phase == Phase::Asking {
            self.close();
            self.say(text);
            return Ok(());
        }
        if self.queue.len() >= queue_max {
            return Err(Rejection::QueueFull);
        }
        self.queue_at = self.version;
        if mode == SendMode::Interrupt {
            self.queue.insert(0, text);
            self.stop();
        } else {
            self.queue.push(text);
        }
        Ok(())
    }

    fn write(&mut self, claim: &Claim, write: &Write) -> Result<(), Rejection> {
        let present = (self.holder, self.term, self.history_at, self.attempt);
        let wanted =
            if matches!(write, Write::FinishInterruption(_)) { Phase::Stopping } else { Phase::Running };
        if present != (Some(claim.who), claim.term, claim.history, claim.attempt) || self.phase != wanted {
            return Err(Rejection::Fenced);
        }
        if self.calls.is_empty() == matches!(write, Write::Results(_)) {
            return Err(Rejection::Fenced);
        }
        match write {
            Write::Results(places) => {
                self.answer(places, Call::waits_for_worker)?;
                // With the last one, the worker goes on.
                if self.calls.is_empty() {
                    (self.attempt, self.live) = (1, true);
                }
            }
            // A wait that was announced is not announced anew.
            Write::Retry if self.retrying => return Err(Rejection::Fenced),
            Write::Begin => {
                self.attempt += 1;
                self.live = true;
                self.retrying = false;
            }
            Write::Retry => {
                self.live = false;
                self.retrying = true;
            }
            Write::Step(text, calls) => {
                self.live = false;
                self.retrying = false;
                self.line(Kind::Generated, *text);
                self.calls = calls.clone();
                self.settle_calls();
            }
            Write::Finish(answer) => {
                answer.iter().for_each(|text| self.line(Kind::Generated, *text));
                self.go_on();
            }
            Write::FinishInterruption(partial) => {
                partial.iter().for_each(|text| self.line(Kind::Partial, *text));
                self.go_on();
            }
            Write::Fail(partial) => {
                partial.iter().for_each(|text| self.line(Kind::Partial, *text));
                self.phase = Phase::Broken;
                self.holder = None;
                self.live = false;
                self.retrying = false;
            }
        }
        Ok(())
    }

    /// The run has ended: the turn of the queue's head begins, or the chat becomes idle.
    fn go_on(&mut self) {
        self.live = false;
        self.retrying = false;
        if self.queue.is_empty() {
            self.phase = Phase::Idle;
            self.holder = None;
        } else {
            let head = self.queue.remove(0);
            self.queue_at = self.version;
            self.say(head);
        }
    }

    fn answer(&mut self, places: &[usize], waits: impl Fn(&Call) -> bool) -> Result<(), Rejection> {
        for at in places {
            let call = self.calls.get_mut(*at).filter(|call| waits(call));
            call.ok_or(Rejection::NotPending)?.answered = true;
        }
        self.settle_calls();
        Ok(())
    }

    /// While a call waits for the worker, the chat is the worker's.
    fn settle_calls(&mut self) {
        let [client, worker] = [Call::waits_for_client, Call::waits_for_worker];
        self.phase = Phase::Running;
        if !self.calls.iter().any(worker) {
            if self.calls.iter().any(client) {
                self.phase = Phase::Asking;
                self.holder = None;
                self.live = false;
            } else {
                self.close();
            }
        }
    }

    fn stop(&mut self) {
        self.close();
        self.phase = Phase::Stopping;
    }

    /// Each call gets its result, if there is any.
    fn close(&mut self) {
        if !self.calls.is_empty() {
            self.calls.clear();
            self.line(Kind::Results, 0);
        }
    }

    /// A user's message is added to the history, and has to be answered.
    fn say(&mut self, text: Text) {
        self.line(Kind::Said, text);
        self.phase = Phase::Running;
        self.live = false;
        self.retrying = false;
    }

    fn line(&mut self, kind: Kind, text: Text) {
        self.history.push((kind, text));
        self.history_at = self.version;
        self.attempt = 0;
    }

    fn unqueue(&mut self, text: Option<Text>) -> Result<Text, Rejection> {
        let at = self.queue.iter().position(|queued| Some(*queued) == text).ok_or(Rejection::NoSuchQueued)?;
        self.queue_at = self.version;
        Ok(self.queue.remove(at))
    }
}
