//! What each judge guards against, and what nobody has to object to.

use mainstem_oracles::{Guarantee, ORACLES};

use crate::damage::measure::{Measured, Row};

/// Damages that the judge of a guarantee has to see, alone or with others.
const GUARDS: &[(Guarantee, &str, &[&str])] = {
    use Guarantee::*;
    &[
        (
            S1,
            "saw message",
            &["dropped", "doubled", "swapped with the next", "of another text", "of another id"],
        ),
        (S1, "saw status", &["with the cursor of a future", "with the cursor of a later message", "dropped"]),
        (S1, "saw queue", &["dropped", "swapped with the next"]),
        (S1, "saw history_reset", &["dropped"]),
        (S1, "send", &["at another version", "with its message twice"]),
        (S1, "edit", &["that cuts more", "that cuts nothing"]),
        (S1, "regenerate", &["that cuts more", "that cuts nothing"]),
        (S1, "watches", &["dropped"]),
        (
            S2,
            "saw parts",
            &[
                "doubled",
                "dropped",
                "one part on",
                "one block on",
                "of another kind",
                "of another text",
                "with the cursor of a later part",
            ],
        ),
        (S2, "run said", &["something else", "swapped with the next"]),
        (S3, "saw status", &["late"]),
        (S4, "finish_turn", &["with another text", "without its message"]),
        (S4, "run said", &["dropped", "doubled", "something else"]),
        (S4, "run done", &["dropped", "as failed"]),
        (S4, "saw preview_reset", &["doubled", "of another episode"]),
        (
            S5,
            "begin_attempt",
            &["doubled", "dropped", "by another replica", "with another lease", "into another attempt"],
        ),
        (S5, "acquire", &["doubled", "by another replica", "with another worker"]),
        (S5, "run started", &["by another replica", "of the next attempt"]),
        (S5, "announced", &["at a version that is not"]),
        (
            S6,
            "send",
            &[
                "doubled",
                "dropped",
                "with one less queued",
                "with the queue turned round",
                "with another text",
            ],
        ),
        (S6, "answered", &["as refused", "with another id"]),
        (S7, "interrupt", &["dropped", "into another status"]),
        (S7, "finish_interruption", &["doubled"]),
        (S7, "run done", &["as cancelled"]),
        (
            S8,
            "saw status",
            &[
                "of another status",
                "of another worker",
                "of the next attempt",
                "of a later history",
                "of another turn",
            ],
        ),
        (S8, "saw message", &["dropped"]),
        (S9, "saw status", &["dropped"]),
        (S9, "saw queue", &["with one missing", "in another order"]),
        (S9, "saw error", &["of another code", "dropped"]),
        (S9, "finish_turn", &["with an error"]),
        (S10, "send", &["for a stranger"]),
        (S10, "watches", &["of a stranger"]),
        (S10, "answered", &["to a stranger"]),
        (S10, "dial", &["again and again though denied"]),
        (S11, "commit_step", &["doubled", "with another text", "without its message"]),
        (S11, "prompt", &["with one message less", "with calls that were cut short"]),
        (S11, "call begun", &["doubled", "dropped", "for another call"]),
        (S11, "call returned", &["dropped", "with another result", "and then nobody writes it"]),
        (
            S12,
            "finish_turn",
            &["without the end of its turn", "with the end of another turn", "with another end of its turn"],
        ),
        (S12, "finish_interruption", &["with another end of its turn"]),
        (S12, "send", &["with its message in another turn"]),
        (L1, "saw synced", &["dropped"]),
        (L1, "saw message", &["late"]),
        (L1, "end of the run", &["with a viewer cut off"]),
        (L2, "interrupt", &["and nothing more"]),
        (L3, "finish_turn", &["into another status"]),
        (L3, "end of the run", &["with a request unanswered"]),
        (L4, "operation", &["ten thousand times"]),
        (L5, "saw parts", &["and then its worker is dead"]),
        (L6, "call begun", &["and then its tools are silent"]),
        (B1, "run said", &["while a buffer overflows"]),
        (B2, "run cancelled", &["dropped"]),
        (B2, "end of the run", &["with a connection left"]),
        (B3, "sent parts", &["late"]),
        (B3, "answered", &["late", "dropped"]),
    ]
};

/// What is damaged, how, and a reason that goes for all of them.
pub type DamageKinds = (&'static [&'static str], &'static [&'static str], &'static str);

/// What nobody has to object to, wherever it is, and why.
const HARMLESS: &[DamageKinds] = &[
    (
        &["saw status", "saw queue", "saw error", "saw retry", "saw history_reset", "saw synced"],
        &["doubled"],
        "it says what is so, and that is so however often it is said",
    ),
    (
        &[
            "saw message",
            "saw status",
            "saw queue",
            "saw error",
            "saw retry",
            "saw history_reset",
            "saw synced",
            "saw parts",
        ],
        &["dropped", "swapped with the next"],
        "its stream broke before anything followed, or the answer came that holds these parts",
    ),
    (
        &[
            "saw message",
            "saw status",
            "saw queue",
            "saw error",
            "saw retry",
            "saw history_reset",
            "saw synced",
            "saw parts",
            "saw preview_reset",
        ],
        &["late"],
        "its stream broke before, or a fault kept it from being told in time",
    ),
    (
        &["saw parts"],
        &["and then its worker is dead"],
        "the viewer is with that worker, or nobody else could work",
    ),
    (
        &["sent parts", "sent, no parts"],
        &["doubled", "dropped", "late", "swapped with the next"],
        "what a viewer is told is judged by what it saw",
    ),
    (
        &["announced"],
        &["doubled", "dropped", "late"],
        "a notice may be lost, doubled and late: what it is about is found anyway",
    ),
    (
        &["asked", "answered"],
        &["doubled", "dropped", "late", "as refused"],
        "a request is asked and answered again if an answer was lost; that all are answered is a fact of the end",
    ),
    (
        &[
            "life",
            "operation",
            "drift",
            "dial",
            "watches",
            "stream ended",
            "lease confirmed",
            "lease assured",
            "answer replayed",
        ],
        &["doubled", "dropped", "late"],
        "it says what a judge may count on, and nothing was counted on it",
    ),
    (&["call begun"], &["doubled"], "it may be begun again"),
    (
        &["call begun"],
        &["and then its tools are silent"],
        "a fault may have kept their results from the database",
    ),
    (
        &["prompt"],
        &["doubled", "dropped", "late", "swapped with the next"],
        "it is judged by itself, and nothing follows from it",
    ),
    (
        &["call returned"],
        &["and then nobody writes it"],
        "nobody waited for it any more, or a fault may have kept it from the database",
    ),
    (
        &["call begun", "call returned"],
        &["dropped", "doubled", "late", "with another result"],
        "nobody waited for it any more, or the next turn began",
    ),
    (&["life"], &["as a crash"], "what a replica sent before it died still takes effect"),
    (
        &["dial"],
        &["again and again though denied"],
        "a fault of the link may have kept it from being answered",
    ),
    (&["watches"], &["of a stranger"], "nothing was told on this stream"),
    (&["end of the run"], &["with a viewer cut off"], "its chat is deleted"),
    (
        &["run started", "run said", "run done", "run failed", "run cancelled"],
        &[
            "doubled",
            "dropped",
            "late",
            "something else",
            "swapped with the next",
            "as failed",
            "as cancelled",
        ],
        "nothing of this run was shown or kept: its worker had died, or its question was cut off",
    ),
    (
        &[
            "create",
            "send",
            "edit",
            "regenerate",
            "delete_queued",
            "acquire",
            "begin_attempt",
            "commit_step",
            "commit_results",
            "finish_interruption",
            "finish_turn",
            "interrupt",
            "promote",
            "release",
            "delete",
            "fail",
            "record_retry",
            "unshare",
        ],
        &["dropped", "late"],
        "nothing happened in between, or the chat was deleted, edited or answered again next",
    ),
    (
        &["saw status"],
        &["of another status", "of the next attempt", "of a later history"],
        "both were so with these messages, one after the other, and the second was committed already",
    ),
    (
        &["interrupt", "send", "promote"],
        &["into another status"],
        "it waits for a replica that finishes the interruption, and that one does is judged in time (L2)",
    ),
];

impl Measured {
    /// The judges that do not object to what they guard against, and the damages that nobody sees though they do
    /// harm.
    pub fn blind_spots(&self) -> Vec<String> {
        let mut wrong = vec![];
        for (guarantee, what, hows) in GUARDS {
            for how in *hows {
                let row = self.rows.get(&(*what, *how));
                if row.is_none_or(|row| !row.objected.contains_key(guarantee)) {
                    wrong.push(format!(
                        "{guarantee} guards against `{what}, {how}` and does not object: {row:?}"
                    ));
                }
            }
        }
        for entry in ORACLES {
            if !GUARDS.iter().any(|(guarantee, ..)| *guarantee == entry.id) {
                wrong.push(format!("nothing says what {} guards against", entry.id));
            }
        }
        wrong.extend(self.unseen(&[]));
        wrong
    }

    /// The judges that object to nothing at all.
    pub fn idle_judges(&self) -> Vec<Guarantee> {
        let objects =
            |guarantee: &Guarantee| self.rows.values().any(|row| row.objected.contains_key(guarantee));
        ORACLES.iter().map(|entry| entry.id).filter(|guarantee| !objects(guarantee)).collect()
    }

    /// The damages that nobody sees though they do harm. `harmless`: what does none besides.
    pub fn unseen(&self, harmless: &[DamageKinds]) -> Vec<String> {
        let is_harmless = |what: &str, how: &str| {
            let all = HARMLESS.iter().chain(harmless);
            all.into_iter().any(|(whats, hows, _)| whats.contains(&what) && hows.contains(&how))
        };
        let unseen =
            self.rows.iter().filter(|((what, how), row)| row.unnoticed > 0 && !is_harmless(what, how));
        let told = |((what, how), row): (&(&str, &str), &Row)| {
            format!("`{what}, {how}` is seen by nobody, {} times of {}", row.unnoticed, row.places)
        };
        unseen.map(told).collect()
    }

    /// Reasons for harm that is none which no damage needed.
    pub fn needless_reasons(&self) -> Vec<String> {
        let mut wrong = vec![];
        for (whats, hows, why) in HARMLESS {
            let both = whats.iter().flat_map(|what| hows.iter().map(move |how| (*what, *how)));
            let rows = both.filter_map(|kind| self.rows.get(&kind));
            if rows.map(|row| row.unnoticed).sum::<u64>() == 0 {
                wrong.push(format!("{hows:?} of {whats:?} is always seen, and it stands here that {why}"));
            }
        }
        wrong
    }
}
