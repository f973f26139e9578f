//! What a piece of what judges are told is about.

use mainstem_machine::Body;
use mainstem_oracles::{Evidence, RunEnd};

use crate::damage::testimony::Heard;

/// A name for what is told, under which its damages are counted.
pub(super) fn subject(heard: &Heard) -> &'static str {
    let evidence = match heard {
        Heard::Evidence(_, evidence) => evidence,
        Heard::Holds(..) => return "end of the run",
        Heard::Finished(_) => return "finish",
    };
    match evidence {
        Evidence::Settings(_) => "settings",
        Evidence::Committed(change) => change.command.name(),
        Evidence::Confirmed { .. } => "lease confirmed",
        Evidence::Assured { .. } => "lease assured",
        Evidence::Replayed { .. } => "answer replayed",
        Evidence::Announced { .. } => "announced",
        Evidence::Operated { .. } => "operation",
        Evidence::Dialed { .. } => "dial",
        Evidence::Denies { .. } => "denial",
        Evidence::RunStarted { .. } => "run started",
        Evidence::Prompted { .. } => "prompt",
        Evidence::RunSaid { .. } => "run said",
        Evidence::RunEnded { how: RunEnd::Done(_), .. } => "run done",
        Evidence::RunEnded { how: RunEnd::Failed, .. } => "run failed",
        Evidence::RunEnded { how: RunEnd::Cancelled, .. } => "run cancelled",
        Evidence::CallBegun { .. } => "call begun",
        Evidence::CallReturned { .. } => "call returned",
        Evidence::Watches { .. } => "watches",
        Evidence::Sent { event, .. } => match event.body {
            Body::Parts { .. } => "sent parts",
            _ => "sent, no parts",
        },
        Evidence::Saw { event, .. } => match event.body {
            Body::Message(_) => "saw message",
            Body::QueueUpdate(_) => "saw queue",
            Body::Status { .. } => "saw status",
            Body::Error(_) => "saw error",
            Body::Retry(_) => "saw retry",
            Body::Parts { .. } => "saw parts",
            Body::PreviewReset { .. } => "saw preview_reset",
            Body::HistoryReset => "saw history_reset",
            Body::Synced => "saw synced",
        },
        Evidence::StreamEnded { .. } => "stream ended",
        Evidence::Asked { .. } => "asked",
        Evidence::Answered { .. } => "answered",
        Evidence::Unanswered { .. } => "unanswered",
        Evidence::Lived { .. } => "life",
        Evidence::MayWork { .. } => "may work",
        Evidence::Fault { .. } => "fault",
        Evidence::FaultOver { .. } => "fault over",
        Evidence::Drifts { .. } => "drift",
        Evidence::FaultsCleared => "faults cleared",
        Evidence::Measured { .. } => "measured",
    }
}
