//! The requests of users, from the sentence in a story to the recorded answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstem_machine::{ChatId, MessageId, Rejection, Role, SendMode};
use mainstem_oracles::{FaultKind, Name};
use mainstem_runtime::ports::{Env, within};

use super::runner::{StoryRun, WAIT_MAX};
use crate::client::{self, Answered, Request};
use crate::edge;
use mainstem_story::{Keyed, Order, USER, UserOrder};

/// Who asks for what, and how.
pub(super) struct Asking<'a> {
    pub(super) caller: &'a str,
    pub(super) order: &'a UserOrder,
    pub(super) chat: &'a str,
    pub(super) key: &'a Keyed,
}

/// What keys were used for: in whose name, where, and each of the bodies.
pub(super) type Used = BTreeMap<(Name, String), Vec<Order>>;

impl StoryRun {
    /// Sends a request and waits for the answer.
    pub(super) async fn order(
        &mut self,
        asking: &Asking<'_>,
        replica: Option<&str>,
        refused: bool,
    ) -> Result<(), String> {
        let Some(request) = self.request(asking) else {
            return Err("there is nothing to ask that of".into());
        };
        let asking = self.ask(&request, replica);
        match within(&self.user, WAIT_MAX, asking).await {
            Ok(Answered::Accepted(_)) if refused => Err("the user is not refused".into()),
            Ok(Answered::Rejected(_)) if refused => Ok(()),
            Ok(Answered::Accepted(_)) => Ok(()),
            Ok(Answered::Rejected(why)) => Err(format!("the user is refused: {why}")),
            Ok(Answered::Lost) => Err("the answer to the user is lost".into()),
            Err(_) => Err(format!("the user is not answered within {WAIT_MAX:?}")),
        }
    }

    /// Sends a request, also at `again` under the same key, without waiting.
    pub(super) fn order_at_once(&mut self, asking: &Asking<'_>, replica: Option<&str>, again: Option<&str>) {
        let Some(request) = self.request(asking) else { return };
        if again.is_some() {
            self.cluster.world.landed(FaultKind::AskedTwice, "user", format_args!("{}", request.name));
        }
        for target in std::iter::once(replica).chain(again.map(Some)) {
            let asking = self.ask(&request, target);
            let asked = Asked::new(&self.unanswered);
            let (tally, lands_as) = (self.cluster.world.tally().clone(), request.order.lands_as());
            let keyless = request.key.is_none();
            self.user
                .spawn(async move {
                    let _asked = asked;
                    let answered = asking.await;
                    if let (Answered::Accepted(_), Some(lands_as)) = (&answered, lands_as) {
                        tally.landed(lands_as);
                    }
                    match answered {
                        Answered::Accepted(_) if keyless => tally.landed("asked without a key"),
                        Answered::Rejected(why) if why == Rejection::KeyReused.to_string() => {
                            tally.landed("key used again");
                        }
                        _ => {}
                    }
                })
                .detach();
        }
    }

    /// The number of unanswered requests.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    fn ask(&self, request: &Request, replica: Option<&str>) -> impl Future<Output = Answered> + 'static {
        let (env, request) = (self.user.clone(), request.clone());
        let (replica, roams) = (replica.unwrap_or(&self.first_replica).to_owned(), self.roams.clone());
        async move { client::ask(&env, &replica, &roams, request).await }
    }

    /// `None` if the target does not exist.
    fn request(&mut self, asking: &Asking<'_>) -> Option<Request> {
        let chat = self.chat(asking.chat);
        let caller = Name::from(asking.caller);
        let order = self.resolve(asking.order, chat)?;
        let found = self.cluster.database.chat(chat);
        let may = found.as_ref().is_some_and(|state| state.is_there_for(&caller));
        let owner = found.map(|state| state.owner);
        if *caller != *USER && owner.as_ref().is_none_or(|owner| *owner == caller) {
            self.cluster.world.tally().landed("chat of another account");
        }
        if owner.is_some_and(|owner| owner != caller) && !may {
            let asked = format_args!("{} of {}", order.name(), asking.chat);
            self.cluster.world.landed(FaultKind::StrangerTries, asking.caller, asked);
            self.cluster.world.tally().landed("asked for another's chat");
        }
        self.asked += 1;
        let key = match asking.key {
            Keyed::Fresh => Some(format!("order-{}", self.asked)),
            Keyed::Named(key) => Some(key.clone()),
            Keyed::Without => None,
        };
        let name = match &key {
            None => format!("order-{} without a key", self.asked),
            Some(key) => self.name_of(&caller, edge::scoped(chat, &order, key), &order),
        };
        Some(Request { caller, chat, order, key, name: name.into() })
    }

    /// The judges' name of a request: its key, and which of the bodies it is that came with it.
    fn name_of(&mut self, caller: &Name, key: String, order: &Order) -> String {
        if self.others_used(caller, &key) {
            self.cluster.world.tally().landed("key of another caller");
        }
        let bodies = self.used.entry((caller.clone(), key.clone())).or_default();
        let at = bodies.iter().position(|body| body == order).unwrap_or_else(|| {
            bodies.push(order.clone());
            bodies.len() - 1
        });
        if at == 0 { key } else { format!("{key}, used again for {}", order.name()) }
    }

    fn others_used(&self, caller: &Name, key: &str) -> bool {
        self.used.keys().any(|(other, used)| other != caller && used == key)
    }

    fn resolve(&mut self, order: &UserOrder, chat: ChatId) -> Option<Order> {
        let found = match order {
            UserOrder::Send { text, .. } if self.created.insert(chat) => {
                Some(Order::Create { text: Some(text.clone()) })
            }
            UserOrder::Send { text, interrupting } => {
                let mode = if *interrupting { SendMode::Interrupt } else { SendMode::Queue };
                Some(Order::Send { text: text.clone(), mode })
            }
            UserOrder::Other(order) => Some(order.clone()),
            UserOrder::EditLast { but, text } => {
                let history = self.cluster.database.history(chat);
                let mine = history.iter().rev().filter(|message| message.role == Role::User);
                let message = mine.map(|message| message.id).nth(*but);
                message.map(|message| Order::Edit { message, text: text.clone() })
            }
            UserOrder::RegenerateLast { but, mode } => {
                let history = self.cluster.database.history(chat);
                let mine = history.iter().rev().filter(|message| message.role == Role::User);
                let message = mine.map(|message| message.id).nth(*but);
                message.map(|message| Order::Regenerate { message: Some(message), mode: *mode })
            }
            UserOrder::AnswerCalls => {
                let state = self.cluster.database.chat(chat)?;
                let open = state.calls.iter().filter(|call| call.waits_for_client());
                let calls: Vec<_> = open.map(|call| call.id.to_string()).collect();
                (!calls.is_empty()).then_some(Order::Answer { calls })
            }
            UserOrder::PromoteLast { but } => self.queued(chat, *but).map(|queued| Order::Promote { queued }),
            UserOrder::WithdrawLast { but } => {
                self.queued(chat, *but).map(|queued| Order::Withdraw { queued })
            }
        };
        if found.is_none() {
            self.cluster.world.trace("user", format_args!("finds nothing to ask that of"));
        }
        found
    }

    fn queued(&self, chat: ChatId, but: usize) -> Option<MessageId> {
        let state = self.cluster.database.chat(chat)?;
        state.queue.iter().rev().nth(but).map(|queued| queued.id)
    }
}

/// Counts a request while it is unanswered.
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
