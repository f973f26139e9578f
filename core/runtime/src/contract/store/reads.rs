//! Reads: tails, pages, lists, syncs.

use std::sync::Arc;

use mainstem_machine::{
    CallResult, Carrier, ChatId, ChatState, Command, Completion, Content, MessageId, OpenCall, SendMode,
    Status, Version, limits,
};

use super::reference::Reference;
use super::{Subject, acquire, create, fence, replica};
use crate::ports::{CachedVersions, Listed, Listing, Page, Request, Snapshot, SyncRequest, Tail};

pub async fn what_does_not_exist_is_nothing(subject: &Subject) {
    let nowhere = subject.fresh_id();
    let cached = CachedVersions {
        snapshot_version: Version(3),
        reset_version: Version(0),
        last_message: MessageId(2),
    };
    for cached in [None, Some(cached)] {
        assert_eq!(subject.store.snapshot(nowhere, cached).await, Ok(None));
    }
    assert_eq!(subject.store.state(nowhere).await, Ok(None));
    assert_eq!(subject.store.page(nowhere, MessageId(0), None, 10).await, Ok(None));
    assert_eq!(subject.store.list("nobody", Listing::Own, None, 10).await, Ok(Listed::default()));
    let report = subject.store.sync(&SyncRequest { chats: vec![nowhere], runnable_max: 0 }).await;
    assert_eq!(report.expect("the store answers").versions, []);
    assert_eq!(subject.store.ping().await, Ok(()));
}

pub async fn a_tail_is_bounded_by_count(subject: &Subject) {
    for count in [1, limits::TAIL_MESSAGES_MAX, limits::TAIL_MESSAGES_MAX + 1, limits::TAIL_MESSAGES_MAX * 2]
    {
        let texts: Vec<_> = (0..count).map(|n| format!("message {n}")).collect();
        let state = subject.chat_with(&texts).await;
        let (messages, from_start) = newest(snapshot(subject, state.id, None).await);
        assert_eq!(messages, &texts[count.saturating_sub(limits::TAIL_MESSAGES_MAX)..], "the newest {count}");
        assert_eq!(from_start, count <= limits::TAIL_MESSAGES_MAX, "of {count}");
    }
}

pub async fn a_tail_is_bounded_by_bytes(subject: &Subject) {
    // A single message that is larger than the bound is a tail by itself.
    let large = "x".repeat(limits::TAIL_BYTES_MAX + 1);
    let state = subject.chat_with(&["small".into(), large.clone()]).await;
    let (messages, from_start) = newest(snapshot(subject, state.id, None).await);
    assert_eq!(messages.last(), Some(&large), "the newest message is always there");
    assert!(from_start || messages.len() == 1);
    // Bytes are counted, not characters.
    let part = "☃".repeat(limits::TAIL_BYTES_MAX / 12);
    let state = subject.chat_with(&vec![part.clone(); 12]).await;
    let (messages, from_start) = newest(snapshot(subject, state.id, None).await);
    assert!((3..=5).contains(&messages.len()), "B1: a quarter each, {} of them", messages.len());
    assert!(!from_start, "S1: there are more before");
    for (over, count) in [(0, 2), (1, 1)] {
        let state = subject.chat_with(&two_messages(limits::TAIL_BYTES_MAX + over)).await;
        let (messages, _) = newest(snapshot(subject, state.id, None).await);
        assert_eq!(messages.len(), count, "B1: two messages that are {over} bytes too long together");
    }
}

/// Two messages whose contents are this long together.
fn two_messages(bytes: usize) -> [String; 2] {
    let text_bytes = bytes - 2 * Content::text("").as_json().len();
    [text_bytes / 2, text_bytes.div_ceil(2)].map(|bytes| "x".repeat(bytes))
}

pub async fn a_cached_snapshot_brings_what_came_after_it(subject: &Subject) {
    let texts: Vec<_> = (0..10).map(|n| format!("message {n}")).collect();
    let first = subject.chat_with(&texts).await;
    let chat = first.id;
    let cached = cached_of(&first);
    let same = snapshot(subject, chat, Some(cached)).await;
    assert_eq!(same.tail, Tail::After(vec![]), "nothing changed, and nothing is sent again");

    let second = subject.say(&first, "new").await;
    let after = snapshot(subject, chat, Some(cached)).await;
    assert_eq!(after.state, second);
    let Tail::After(after) = after.tail else { panic!("S1: the rest of the same history: {:?}", after.tail) };
    assert_eq!(texts_of(&after), ["new"]);

    // If the missing messages do not fit, the newest tail is returned instead.
    let mut third = second;
    for n in 0..limits::TAIL_MESSAGES_MAX + 3 {
        third = subject.say(&third, &format!("many {n}")).await;
    }
    let (messages, from_start) = newest(snapshot(subject, chat, Some(cached)).await);
    assert_eq!((messages.len(), from_start), (limits::TAIL_MESSAGES_MAX, false), "B1: no more than a tail");

    // After an edit, the cached versions are of another history.
    let content = Content::text("instead");
    let cut = subject.change(chat, Command::Edit { message: MessageId(1), content }).await;
    for cached in [cached, cached_of(&third)] {
        let (messages, from_start) = newest(snapshot(subject, chat, Some(cached)).await);
        assert_eq!((messages, from_start), (vec!["instead".to_owned()], true), "S1: what was cut is gone");
    }
    let same = snapshot(subject, chat, Some(cached_of(&cut))).await;
    assert_eq!(same.tail, Tail::After(vec![]));
    // Cached versions that are ahead of the store.
    let future = CachedVersions { last_message: MessageId(u64::MAX), ..cached_of(&cut) };
    let (messages, _) = newest(snapshot(subject, chat, Some(future)).await);
    assert_eq!(messages, ["instead"], "S1: who is ahead gets what there is");
}

pub async fn a_page_is_bounded_by_count(subject: &Subject) {
    let count = limits::PAGE_MESSAGES_MAX + 10;
    let texts: Vec<_> = (0..count).map(|n| format!("message {n}")).collect();
    let chat = subject.chat_with(&texts).await.id;
    for limit in [1, 7, limits::PAGE_MESSAGES_MAX, usize::MAX] {
        let mut received = Vec::new();
        let mut after = MessageId(0);
        loop {
            let page = page(subject, chat, after, None, limit).await;
            assert!(page.messages.len() <= limit.min(limits::PAGE_MESSAGES_MAX), "B1: a page of {limit}");
            assert!(page.has_base, "S1: message {after} is in the history");
            received.extend(texts_of(&page.messages));
            after = page.messages.last().expect("a page has at least one message, if there is any").id;
            if !page.more {
                break;
            }
        }
        assert_eq!(received, texts, "S1: pages of {limit} give all, once, in order");
        let beyond = page(subject, chat, after, None, limit).await;
        assert!(beyond.messages.is_empty() && !beyond.more && beyond.has_base, "behind the last is nothing");
    }
    for (after, until, count, more) in [(0, 3, 3, false), (2, 5, 2, true), (5, 5, 0, false), (6, 5, 0, false)]
    {
        let page = page(subject, chat, MessageId(after), Some(MessageId(until)), 2).await;
        assert_eq!(
            (page.messages.len(), page.more),
            (count.min(2), more || count > 2),
            "from {after} to {until}"
        );
    }
}

pub async fn a_page_is_bounded_by_bytes(subject: &Subject) {
    let texts: Vec<_> = (0..6).map(|n| n.to_string().repeat(limits::PAGE_BYTES_MAX / 2 - 1000)).collect();
    let chat = subject.chat_with(&texts).await.id;
    let first = page(subject, chat, MessageId(0), None, 100).await;
    assert!((2..=3).contains(&first.messages.len()) && first.more, "B1: {} messages", first.messages.len());
    let large: Vec<_> = (0..2).map(|n| n.to_string().repeat(limits::PAGE_BYTES_MAX + 1)).collect();
    let chat = subject.chat_with(&large).await.id;
    let first = page(subject, chat, MessageId(0), None, 100).await;
    assert_eq!((first.messages.len(), first.more), (1, true), "one that is larger than a page is a page");
    for (over, count) in [(0, 2), (1, 1)] {
        let chat = subject.chat_with(&two_messages(limits::PAGE_BYTES_MAX + over)).await.id;
        let first = page(subject, chat, MessageId(0), None, 100).await;
        assert_eq!(first.messages.len(), count, "B1: two messages that are {over} bytes too long together");
    }
}

pub async fn a_page_has_a_message_of_the_history_as_its_base(subject: &Subject) {
    let texts: Vec<_> = (0..3).map(|n| format!("message {n}")).collect();
    let state = subject.chat_with(&texts).await;
    let chat = state.id;
    for (after, has_base) in [(0, true), (1, true), (3, true), (4, false), (u64::MAX, false)] {
        let page = page(subject, chat, MessageId(after), None, 10).await;
        assert_eq!(page.has_base, has_base, "S1: after {after}");
        assert_eq!(page.reset_version, Version(0));
        assert_eq!(page.history_version, state.history_version);
    }
    let content = Content::text("instead");
    let cut = subject.change(chat, Command::Edit { message: MessageId(1), content }).await;
    for (after, has_base) in [(0, true), (1, false), (3, false), (4, true)] {
        let page = page(subject, chat, MessageId(after), None, 10).await;
        assert_eq!(page.has_base, has_base, "S1: after {after}, which was cut");
        assert_eq!((page.reset_version, page.history_version), (cut.reset_version, cut.history_version));
    }
}

pub async fn chats_are_listed_newest_first(subject: &Subject) {
    let mut chats = Vec::new();
    let mut reference = Reference::new(subject);
    for n in 0..7 {
        let chat = subject.fresh_id();
        let content = (n % 2 == 0).then(|| Content::text("hello"));
        let request =
            Request { chat, command: create(chat, "lister", content), by: None, idempotency_key: None };
        reference.apply(subject, &request).await;
        chats.push(reference.state(chat).expect("it was created").clone());
        subject.chat_of("Lister").await;
    }
    chats.reverse();
    for limit in [1, 3, 100] {
        let mut listed = Vec::new();
        let mut before = None;
        loop {
            let page =
                subject.store.list("lister", Listing::Own, before, limit).await.expect("the store answers");
            assert!(page.chats.len() <= limit, "B1: {} of {limit}", page.chats.len());
            before = page.chats.last().map(|last| last.id);
            listed.extend(page.chats);
            if !page.more {
                break;
            }
        }
        assert_eq!(listed, chats, "S10: the chats of the user, all of them, newest first");
    }
    let of_nobody = subject.store.list("liste", Listing::Own, None, 10).await;
    assert_eq!(of_nobody, Ok(Listed::default()), "S10: of nobody else");
}

pub async fn a_list_is_bounded_by_bytes_and_carries_no_queue(subject: &Subject) {
    // Three of them are as much as a page may have, and each has a queue as large as one may be.
    let message = "e".repeat(limits::LIST_BYTES_MAX / 3);
    let large = Content::text(&"q".repeat(limits::QUEUE_BYTES_MAX / 2 - 1000));
    let mut chats = Vec::new();
    for n in 0..7 {
        let chat = subject.fresh_id();
        subject.change(chat, create(chat, "long lister", Some(Content::text("hello")))).await;
        let held = subject.change(chat, acquire("a")).await;
        if n == 3 {
            for _ in 0..2 {
                let mode = SendMode::Queue;
                subject
                    .change(
                        chat,
                        Command::Send { content: large.clone(), mode, queue_max: 9, client_id: None },
                    )
                    .await;
            }
        }
        let error = mainstem_machine::RunError { code: "c".into(), message: message.as_str().into() };
        subject.change(chat, Command::Fail { fence: fence(&held), partial: None, error }).await;
        chats.push(chat);
    }
    chats.reverse();
    let (mut listed, mut before, mut pages) = (vec![], None, 0);
    loop {
        let page =
            subject.store.list("long lister", Listing::Own, before, 100).await.expect("the store answers");
        let bytes = |chat: &ChatState| chat.error.as_ref().map_or(0, |error| error.message.len());
        let beyond: usize = page.chats.iter().skip(1).map(bytes).sum();
        assert!(beyond <= limits::LIST_BYTES_MAX, "B1: {beyond} bytes behind the first chat");
        assert!(page.chats.iter().all(|chat| chat.queue.is_empty()), "B1: a list carries no queues");
        before = page.chats.last().map(|last| last.id);
        listed.extend(page.chats.iter().map(|chat| chat.id));
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, chats, "all of them, by way of pages that bytes have cut");
    assert!((3..=4).contains(&pages), "B1: {pages} pages");
}

pub async fn a_list_is_bounded_by_bytes_of_calls(subject: &Subject) {
    // Three chats have as much as a page may have, one half in what is asked for, and one in what came of it.
    let half = format!("\"{}\"", "c".repeat(limits::LIST_BYTES_MAX / 6));
    let call = |id: &str, input: &str, result| OpenCall {
        id: id.into(),
        name: "find".into(),
        input: input.into(),
        carrier: Carrier::Client,
        result,
    };
    let result = Some(CallResult { content: half.as_str().into(), is_error: false });
    let calls = vec![call("open", &half, None), call("done", "{}", result)];
    let mut chats = Vec::new();
    for _ in 0..7 {
        let chat = subject.fresh_id();
        subject.change(chat, create(chat, "caller", Some(Content::text("hello")))).await;
        let held = subject.change(chat, acquire("a")).await;
        let (answer, completion, calls) = (Content::text("see"), Completion::default(), calls.clone());
        let step = Command::CommitStep { fence: fence(&held), answer, completion, calls };
        chats.push(subject.change(chat, step).await);
    }
    chats.reverse();
    let (mut listed, mut before, mut pages) = (vec![], None, 0);
    loop {
        let page = subject.store.list("caller", Listing::Own, before, 100).await.expect("the store answers");
        assert!((1..=3).contains(&page.chats.len()), "B1: {} chats in a page", page.chats.len());
        before = page.chats.last().map(|last| last.id);
        listed.extend(page.chats.into_iter().map(Arc::new));
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, chats, "S11: all of them, with what each waits for");
    assert!((3..=4).contains(&pages), "B1: {pages} pages");
}

pub async fn a_sync_tells_versions_and_work(subject: &Subject) {
    let idle = subject.chat_of("ada").await;
    let held = subject.running_chat().await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(subject.running_chat().await);
        // The order is by time, in milliseconds.
        (subject.sleep)(std::time::Duration::from_millis(3)).await;
    }
    let interrupted = subject.running_chat().await;
    subject.change(interrupted, acquire("a")).await;
    let state = subject.change(interrupted, Command::Interrupt { episode: None }).await;
    subject.change(interrupted, Command::Release { replica: replica("a"), lease: state.lease }).await;
    subject.change(held, acquire("a")).await;
    let failed = subject.running_chat().await;
    let state = subject.change(failed, acquire("a")).await;
    let error = mainstem_machine::RunError { code: "c".into(), message: "m".into() };
    subject.change(failed, Command::Fail { fence: fence(&state), partial: None, error }).await;

    let nowhere = subject.fresh_id();
    let asked = vec![idle, held, nowhere, waiting[0], interrupted];
    let report = subject.store.sync(&SyncRequest { chats: asked.clone(), runnable_max: 10_000 }).await;
    let report = report.expect("the store answers");
    let mut versions = report.versions;
    versions.sort();
    let mut expected = Vec::new();
    for chat in [idle, held, waiting[0], interrupted] {
        expected.push((chat, snapshot(subject, chat, None).await.state.snapshot_version));
    }
    expected.sort();
    assert_eq!(versions, expected, "L1: the present versions of those asked for that exist");

    let ours = [idle, held, failed, interrupted];
    let mut runnable = report.runnable;
    runnable.retain(|(chat, _)| ours.contains(chat) || waiting.contains(chat));
    let mut expected = vec![(interrupted, Status::Interrupting)];
    expected.extend(waiting.iter().map(|chat| (*chat, Status::Running)));
    assert_eq!(runnable, expected, "L2, L3: what is runnable and nobody's, interruptions first");
    let expiry = report.soonest_expiry.expect("L5: a lease of a runnable chat runs out some time");
    assert!(expiry <= subject.lease_ttl, "L5: within the time of a lease, and not after {expiry:?}");
    let few = subject.store.sync(&SyncRequest { chats: vec![], runnable_max: 2 }).await;
    let few = few.expect("the store answers");
    assert_eq!((few.versions.len(), few.runnable.len()), (0, 2), "B1: no more than asked for");
    assert_eq!(few.runnable[0].1, Status::Interrupting, "L2: interruptions are not left out");
    // Leave no work for other checks.
    for chat in waiting.into_iter().chain([interrupted]) {
        subject.change(chat, acquire("a")).await;
    }
}

async fn snapshot(subject: &Subject, chat: ChatId, cached: Option<CachedVersions>) -> Snapshot {
    subject.store.snapshot(chat, cached).await.expect("the store answers").expect("the chat exists")
}

async fn page(
    subject: &Subject,
    chat: ChatId,
    after: MessageId,
    until: Option<MessageId>,
    limit: usize,
) -> Page {
    let page = subject.store.page(chat, after, until, limit).await;
    page.expect("the store answers").expect("the chat exists")
}

fn newest(snapshot: Snapshot) -> (Vec<String>, bool) {
    match snapshot.tail {
        Tail::Newest { messages, from_start } => (texts_of(&messages), from_start),
        Tail::After(messages) => {
            panic!("S1, B1: expected the newest of the history, came {} after what is known", messages.len())
        }
    }
}

fn texts_of(messages: &[Arc<mainstem_machine::Message>]) -> Vec<String> {
    messages.iter().map(|message| message.content.to_text()).collect()
}

fn cached_of(state: &ChatState) -> CachedVersions {
    CachedVersions {
        snapshot_version: state.snapshot_version,
        reset_version: state.reset_version,
        last_message: state.last_message,
    }
}
