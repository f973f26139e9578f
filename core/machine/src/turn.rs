//! Turns: all that answers one message of a user, through attempts and steps. A turn ends once, with its reason (S12).

use serde::{Deserialize, Serialize};

use crate::{Completion, FinishReason, MessageId, RunError, Usage};

/// How a turn stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// Its message waits in the queue.
    Queued,
    /// It is being answered, or is to be.
    Running,
    /// The client is to carry out what the model calls.
    RequiresAction,
    /// The answer is complete.
    Completed,
    /// It was stopped, and what had been said is kept.
    Interrupted,
    /// It failed for good.
    Failed,
}

impl TurnStatus {
    /// The name, as clients have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::RequiresAction => "requires_action",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// Whether it has ended, which it does once.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Interrupted | Self::Failed)
    }
}

/// A turn that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// Its name: the id under which its message was sent.
    pub id: MessageId,
    /// Its message in the history. Another id than the name's if something overtook it while it was queued.
    pub message: MessageId,
    /// The last message of it so far.
    pub last: MessageId,
    /// How it stands.
    pub status: TurnStatus,
    /// What the model said of the end of its last answer; `None` where it said nothing, or was cut short.
    pub finish_reason: Option<FinishReason>,
    /// What all its answers cost; `None` if nobody said.
    pub usage: Option<Usage>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// How many of its answers ended with calls.
    pub steps: u64,
}

impl Turn {
    /// The turn of a message that is in the history now, and was sent under the name.
    pub(crate) const fn begun(id: MessageId, message: MessageId) -> Self {
        let (status, finish_reason, usage, error) = (TurnStatus::Running, None, None, None);
        Self { id, message, last: message, status, finish_reason, usage, error, steps: 0 }
    }

    /// The turn of a message that waits in the queue.
    pub fn queued(id: MessageId) -> Self {
        Self { status: TurnStatus::Queued, ..Self::begun(id, id) }
    }

    /// An answer of it has come to its end.
    pub(crate) fn count(&mut self, completion: Completion) {
        self.finish_reason = completion.finish_reason;
        if let Some(usage) = completion.usage {
            let so_far = self.usage.unwrap_or_default();
            self.usage = Some(Usage {
                input_tokens: so_far.input_tokens.saturating_add(usage.input_tokens),
                output_tokens: so_far.output_tokens.saturating_add(usage.output_tokens),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Databases and clients have these names, of this release and of others.
    #[test]
    fn a_status_is_written_by_its_name_and_three_are_the_end() {
        use TurnStatus::{Completed, Failed, Interrupted, Queued, RequiresAction, Running};
        for status in [Queued, Running, RequiresAction, Completed, Interrupted, Failed] {
            let json = serde_json::to_string(&status).expect("it is written");
            assert_eq!(json, alloc::format!("{:?}", status.as_str()));
            assert_eq!(serde_json::from_str::<TurnStatus>(&json).expect("it is read"), status);
        }
        assert_eq!(
            [Queued, Running, RequiresAction, Completed, Interrupted, Failed].map(TurnStatus::is_over),
            [false, false, false, true, true, true],
            "S12"
        );
    }

    #[test]
    fn what_its_answers_cost_is_added_up() {
        let mut turn = Turn::begun(MessageId(1), MessageId(1));
        turn.count(Completion::default());
        assert_eq!(turn.usage, None, "nobody said");
        for tokens in [2, 3] {
            let usage = Some(Usage { input_tokens: tokens, output_tokens: 10 * tokens });
            turn.count(Completion { finish_reason: Some(FinishReason::ToolCalls), usage });
        }
        assert_eq!(turn.usage, Some(Usage { input_tokens: 5, output_tokens: 50 }));
        turn.count(Completion::STOPPED);
        assert_eq!(turn.finish_reason, Some(FinishReason::Stop), "that of the last");
    }
}
