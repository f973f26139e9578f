//! What kind of state things are in around each hub: what the chat does, what its replica knows of it, what is under
//! way and who watches, without times, versions, texts and names. Of states there are always new ones; of situations
//! there is an end.

use std::hash::Hash;

use crate::choice::{ChatAt, NodeAt};
use crate::hashed::fingerprint;
use crate::node::{LinkStage, Node, Operation, Stage};
use crate::world::{World, chat_id};

/// More of a kind than these are as many as these.
const MANY: usize = 2;

impl World {
    /// Adds the situation of each chat at each replica.
    pub(crate) fn situations(&self, into: &mut Vec<u64>) {
        for (at, node) in self.state.nodes.iter().enumerate() {
            for chat in (0..self.setup.chats).map(ChatAt) {
                into.push(self.situation(NodeAt(at as u8), node, chat));
            }
        }
    }

    fn situation(&self, at: NodeAt, node: &Node, chat: ChatAt) -> u64 {
        let row = self.state.rows.state(chat_id(chat));
        let situation = fingerprint(|hasher| {
            let draining = (node.drain.has_begun(), node.drain.is_patient());
            (node.life, draining, node.notices_held, node.notices.is_empty()).hash(hasher);
            let about = |operation: &&Operation| operation.chat == Some(chat);
            for operation in node.operations.iter().filter(about) {
                let happened = operation.stage != Stage::Asked;
                (operation.task.kind(), happened, operation.held).hash(hasher);
            }
            let row_now = row.map(|row| {
                let held = row.worker.as_ref().map(|worker| *worker == node.id);
                (row.status, held, row.queue.len().min(MANY), row.retry.is_some())
            });
            row_now.hash(hasher);
            if let Some(open) = node.hubs.get(&chat) {
                let knows = row.map(|row| open.hub.snapshot_version().cmp(&row.snapshot_version));
                (knows, open.bus, open.assigned.is_some(), open.hub.is_finished()).hash(hasher);
                open.model.as_ref().map(|model| model.parts.min(MANY as u64)).hash(hasher);
                let link = open.link.as_ref().map(|link| {
                    let stage = match link.stage {
                        LinkStage::Dialing(position) => u8::from(position.is_some()),
                        LinkStage::Following(_) => 2,
                        LinkStage::Over => 3,
                    };
                    (stage, link.frames.len(), link.idle, link.held)
                });
                link.hash(hasher);
            }
            let viewers = self.state.viewers.iter().filter(|viewer| viewer.chat == chat);
            for viewer in viewers {
                let Some(stream) = viewer.stream.as_ref().filter(|stream| stream.on == at) else { continue };
                let behind = viewer.cursor.zip(row).map(|(cursor, row)| {
                    (cursor.snapshot_version.cmp(&row.snapshot_version), cursor.preview.is_some())
                });
                (behind, stream.idle, viewer.stalled).hash(hasher);
            }
        });
        situation as u64
    }
}
