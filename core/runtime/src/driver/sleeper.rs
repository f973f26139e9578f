//! A timer that is reset only when its deadline changes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use mainstem_machine::Time;

use crate::ports::Env;

pub(super) struct Sleeper<E: Env> {
    set: Option<(Time, Pin<Box<E::Sleep>>)>,
}

impl<E: Env> Sleeper<E> {
    pub(super) fn new() -> Self {
        Self { set: None }
    }

    pub(super) fn set(&mut self, env: &E, deadline: Option<Time>) {
        match (deadline, &self.set) {
            (Some(at), Some((present, _))) if at == *present => {}
            (Some(at), _) => self.set = Some((at, Box::pin(env.sleep(at.since(env.now()))))),
            (None, _) => self.set = None,
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((_, sleep)) = &mut self.set else { return Poll::Pending };
        let due = sleep.as_mut().poll(context);
        if due.is_ready() {
            self.set = None;
        }
        due
    }
}
