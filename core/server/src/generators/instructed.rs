//! A generator whose chats have a system prompt, unless they bring one.

use std::fmt;
use std::sync::Arc;

use mainstem_runtime::ports::{Conversation, Generation, Generator};

/// Another generator, and what it is told first.
pub struct Instructed {
    generator: Arc<dyn Generator>,
    instructions: Arc<str>,
}

impl Instructed {
    pub fn new(generator: Arc<dyn Generator>, instructions: impl Into<Arc<str>>) -> Self {
        Self { generator, instructions: instructions.into() }
    }
}

impl Generator for Instructed {
    fn start(&self, mut conversation: Conversation) -> Generation {
        conversation.instructions.get_or_insert_with(|| self.instructions.clone());
        self.generator.start(conversation)
    }
}

impl fmt::Debug for Instructed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instructed({} B)", self.instructions.len())
    }
}
