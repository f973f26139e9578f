//! The requests of users, from the sentence in a story to the recorded answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstem_machine::{ChatId, MessageId, Role, SendMode};
use mainstem_oracles::FaultKind;
use mainstem_runtime::ports::{Env, within};

use super::runner::{StoryRun, WAIT_MAX};
use crate::client::{self, Answered};
use mainstem_story::Order;
use mainstem_story::UserOrder;

/// One request, ready to be sent, also again under its key.
#[derive(Clone)]
struct Request {
    chat: ChatId,
    order: Order,
    key: String,
}

impl StoryRun {
    /// Sends a request and waits for the answer.
    pub(super) async fn order(
        &mut self,
        order: &UserOrder,
        chat: &str,
        replica: Option<&str>,
    ) -> Result<(), String> {
        let Some(request) = self.request(order, chat) else {
            return Err("there is nothing to ask that of".into());
        };
        let asking = self.ask(&request, replica);
        match within(&self.user, WAIT_MAX, asking).await {
            Ok(Answered::Accepted(_)) => Ok(()),
            Ok(Answered::Rejected(why)) => Err(format!("the user is refused: {why}")),
            Err(_) => Err(format!("the user is not answered within {WAIT_MAX:?}")),
        }
    }

    /// Sends a request, also at `again` under the same key, without waiting.
    pub(super) fn order_at_once(
        &mut self,
        order: &UserOrder,
        chat: &str,
        replica: Option<&str>,
        again: Option<&str>,
    ) {
        let Some(request) = self.request(order, chat) else { return };
        if again.is_some() {
            self.cluster.world.landed(FaultKind::AskedTwice, "user", format_args!("{}", request.key));
        }
        for target in std::iter::once(replica).chain(again.map(Some)) {
            let asking = self.ask(&request, target);
            let asked = Asked::new(&self.unanswered);
            let (tally, lands_as) = (self.cluster.world.tally().clone(), request.order.lands_as());
            self.user
                .spawn(async move {
                    let _asked = asked;
                    if let (Answered::Accepted(_), Some(lands_as)) = (asking.await, lands_as) {
                        tally.landed(lands_as);
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
        async move {
            let Request { chat, order, key } = request;
            client::ask(&env, &replica, &roams, chat, order, key).await
        }
    }

    /// `None` if the target does not exist.
    fn request(&mut self, order: &UserOrder, name: &str) -> Option<Request> {
        let chat = self.chat(name);
        let order = self.resolve(order, chat)?;
        self.asked += 1;
        Some(Request { chat, order, key: format!("order-{}", self.asked) })
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
