//! The open hubs of a replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::hub::{HubEvent, Measure};
use mainstem_machine::{ChatId, Version};

use super::{HubCell, Shared, lock};
use crate::limits::driver::HUBS_MAX;
use crate::ports::Env;
use crate::sync::Mutex;

#[derive(Debug)]
pub(crate) struct Registry<E: Env> {
    hubs: Mutex<Hubs<E>>,
}

#[derive(Debug)]
struct Hubs<E: Env> {
    open: BTreeMap<ChatId, Arc<HubCell<E>>>,
    /// No more are opened.
    is_over: bool,
}

impl<E: Env> Default for Registry<E> {
    fn default() -> Self {
        Self { hubs: Mutex::new(Hubs { open: BTreeMap::new(), is_over: false }) }
    }
}

impl<E: Env> Shared<E> {
    /// Carries what a machine tells a hub.
    pub(super) fn tell_hub(self: &Arc<Self>, chat: ChatId, event: HubEvent) {
        let Some(otherwise) = event.unless_opened(chat) else {
            return self.registry.deliver(&self.env, chat, event);
        };
        if self.registry.enter(self, chat, |_, entry| entry.handle(event)).is_none() {
            self.replica.handle(&self.env, otherwise);
        }
    }
}

impl<E: Env> Registry<E> {
    /// Calls `act` with the chat's hub, which is opened if necessary. `None` if too many hubs are open, if no
    /// more are opened, or if it panics.
    pub(crate) fn enter<T>(
        &self,
        shared: &Arc<Shared<E>>,
        chat: ChatId,
        act: impl FnOnce(&Arc<HubCell<E>>, &mut super::hub::Entry<'_>) -> T,
    ) -> Option<T> {
        let mut act = Some(act);
        loop {
            let cell = self.open(shared, chat)?;
            let entered = cell.enter(&shared.env, |entry| act.take().map(|act| act(&cell, entry)));
            match entered {
                Some(done) => return done,
                // It panicked at this very event.
                None if act.is_none() => return None,
                // The hub finished in the meantime: open a new one.
                None => self.remove(&cell),
            }
        }
    }

    /// Delivers an event to the chat's hub, if it is open.
    pub(crate) fn enter_open<T>(
        &self,
        env: &E,
        chat: ChatId,
        act: impl FnOnce(&Arc<HubCell<E>>, &mut super::hub::Entry<'_>) -> T,
    ) -> Option<T> {
        let cell = self.find(chat)?;
        cell.enter(env, |entry| act(&cell, entry))
    }

    fn open(&self, shared: &Arc<Shared<E>>, chat: ChatId) -> Option<Arc<HubCell<E>>> {
        let mut hubs = lock(&self.hubs);
        if let Some(cell) = hubs.open.get(&chat) {
            return Some(cell.clone());
        }
        if hubs.is_over {
            return None;
        }
        if hubs.open.len() >= HUBS_MAX {
            tracing::warn!(hubs = HUBS_MAX, "too many chats are open here: refusing another one");
            return None;
        }
        let cell = HubCell::spawn(shared, chat);
        hubs.open.insert(chat, cell.clone());
        Some(cell)
    }

    pub(super) fn remove(&self, cell: &Arc<HubCell<E>>) {
        let mut hubs = lock(&self.hubs);
        if hubs.open.get(&cell.chat()).is_some_and(|present| Arc::ptr_eq(present, cell)) {
            hubs.open.remove(&cell.chat());
        }
    }

    pub(crate) fn find(&self, chat: ChatId) -> Option<Arc<HubCell<E>>> {
        lock(&self.hubs).open.get(&chat).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.hubs).open.len()
    }

    pub(crate) fn chats(&self) -> Vec<ChatId> {
        lock(&self.hubs).open.keys().copied().collect()
    }

    /// Delivers an event to the chat's hub, if it is open.
    pub(super) fn deliver(&self, env: &E, chat: ChatId, event: HubEvent) {
        if let Some(cell) = self.find(chat) {
            cell.enter(env, |entry| entry.handle(event));
        }
    }

    /// The chats of all open hubs, each with the version that its hub knows.
    pub(crate) fn versions(&self) -> Vec<(ChatId, Version)> {
        let cells: Vec<_> = lock(&self.hubs).open.values().cloned().collect();
        cells.iter().map(|cell| (cell.chat(), cell.snapshot_version())).collect()
    }

    /// Measures every hub, and asserts its invariants.
    pub(crate) fn inspect(&self) -> Vec<Measure> {
        let cells: Vec<_> = lock(&self.hubs).open.values().cloned().collect();
        let mut measures = vec![Measure { what: "hubs of a replica", value: cells.len(), max: HUBS_MAX }];
        for cell in cells {
            measures.extend(cell.inspect());
        }
        measures
    }

    /// Delivers an event to every hub.
    pub(crate) fn deliver_all(&self, env: &E, event: &HubEvent) {
        let cells: Vec<_> = lock(&self.hubs).open.values().cloned().collect();
        for cell in cells {
            cell.enter(env, |entry| entry.handle(event.clone()));
        }
    }

    /// Ends every hub's task, whatever it is doing, and opens no more.
    pub(crate) fn end_all(&self) {
        let cells = {
            let mut hubs = lock(&self.hubs);
            hubs.is_over = true;
            std::mem::take(&mut hubs.open)
        };
        for cell in cells.values() {
            cell.end();
        }
    }
}
