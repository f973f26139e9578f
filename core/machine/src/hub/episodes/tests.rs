//! The bounds of what a hub keeps of episodes (B1), and where their parts end (S2).

use alloc::format;
use std::prelude::v1::*;

use super::*;
use crate::Version;

const NOW: Time = Time::START;
const LEASE: Lease = Lease(1);

fn episode(n: u64) -> Episode {
    Episode { history_version: Version(n), attempt: 1 }
}

/// The first part of an episode begins its block.
fn beginning(parts_before: u64) -> Option<Block> {
    (parts_before == 0).then_some(Block::Text)
}

fn large() -> String {
    "x".repeat(1 << 20)
}

#[test]
fn text_beyond_the_bound_costs_the_oldest_episodes_and_never_the_present_one() {
    for source in [Source::Local, Source::Relayed] {
        let mut episodes = Episodes::default();
        for n in 1..=3 {
            episodes.open(NOW, episode(n), LEASE, source);
            for part in 0..7u64 {
                match source {
                    Source::Local => {
                        episodes.push(episode(n), beginning(part), &large());
                    }
                    Source::Relayed => {
                        let parts = [Part::piece(large())];
                        let taken = episodes.push_relayed(episode(n), Seq(part + 1), &parts, 8 << 20);
                        assert_eq!(taken, Ok(true));
                    }
                }
                episodes.assert_invariants();
            }
        }
        let held: Vec<_> = episodes.list.iter().map(|buffer| buffer.episode).collect();
        assert_eq!(held, [episode(2), episode(3)], "B1: 21 MiB do not fit");
        assert_eq!(episodes.find(episode(3)).map(Buffer::last), Some(Seq(7)));
    }
}

#[test]
fn an_episode_alone_may_be_as_large_as_an_answer() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Local);
    for n in 0..20 {
        episodes.push(episode(1), beginning(n), &large());
    }
    episodes.assert_invariants();
    assert_eq!(episodes.find(episode(1)).map(Buffer::last), Some(Seq(20)));
}

#[test]
fn episodes_are_few_and_the_oldest_go_first() {
    let mut episodes = Episodes::default();
    for n in 1..=EPISODES_MAX as u64 + 3 {
        episodes.open(NOW, episode(n), LEASE, Source::Local);
        episodes.assert_invariants();
    }
    assert_eq!(episodes.list.len(), EPISODES_MAX);
    assert!(episodes.find(episode(3)).is_none() && episodes.find(episode(4)).is_some());
}

#[test]
fn a_settled_episode_is_kept_for_the_retention_time_and_no_longer() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Local);
    episodes.seal(episode(1));
    assert_eq!(episodes.push(episode(1), None, "late"), None, "S4");
    assert_eq!(episodes.deadline(), None);
    assert!(episodes.settle_outcome(NOW, episode(1)));
    let end = episodes.deadline().expect("it is dropped some day").at;
    assert_eq!(end, NOW + EPISODE_RETENTION);
    episodes.drop_expired(end - core::time::Duration::from_micros(1));
    assert!(episodes.find(episode(1)).is_some());
    episodes.drop_expired(end);
    assert!(episodes.find(episode(1)).is_none(), "B2");
}

#[test]
fn joined_parts_fit_one_event_and_none_is_cut() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Local);
    let parts: Vec<_> = (0..40).map(|n| format!("{n:>5000}")).collect();
    for (n, part) in (0..).zip(&parts) {
        episodes.push(episode(1), beginning(n), part);
    }
    let mut cache = JoinedParts::default();
    let buffer = episodes.find(episode(1)).expect("it was opened");
    for start in 0..parts.len() as u64 {
        let mut at = Seq(start);
        let mut joined = String::new();
        while let Some(Joined { last, text, .. }) = buffer.joined_after(at, &mut cache) {
            assert!(text.len() <= JOINED_PART_BYTES_MAX, "B1");
            assert_eq!(text, parts[at.0 as usize..last.0 as usize].concat().as_bytes(), "S2");
            joined.push_str(core::str::from_utf8(&text).expect("it is text"));
            at = last;
        }
        assert_eq!(joined, parts[start as usize..].concat(), "S2");
        let single = buffer.parts_after(Seq(start), 4, 12_000);
        assert_eq!(single.first().map(|part| part.begins.is_some()), Some(start == 0), "S2");
        let single: Vec<_> = single.into_iter().map(|part| part.text).collect();
        assert_eq!(single, parts[start as usize..][..2.min(parts.len() - start as usize)], "B1, S2");
    }
    assert!(buffer.joined_after(Seq(1000), &mut cache).is_none(), "a position beyond what there is");
    assert!(buffer.parts_after(Seq(1000), 4, 12_000).is_empty());
}

#[test]
fn relayed_parts_are_taken_once_in_order_and_only_if_they_make_sense() {
    let mut episodes = Episodes::default();
    let mut take = |first: u64, parts: &[&'static str]| {
        let parts: Vec<_> = parts.iter().map(|part| Part::piece(*part)).collect();
        let taken = episodes.push_relayed(episode(1), Seq(first), &parts, 10);
        if taken == Err(Gap::Missing) && first == 1 {
            episodes.open(NOW, episode(1), LEASE, Source::Relayed);
        }
        (taken, episodes.find(episode(1)).map(|buffer| buffer.text.clone()))
    };
    assert_eq!(take(1, &["a"]).0, Err(Gap::Missing), "it was not opened");
    assert_eq!(take(1, &["a", "b"]), (Ok(true), Some("ab".into())));
    assert_eq!(take(1, &["a", "b"]), (Ok(false), Some("ab".into())), "R23");
    assert_eq!(take(2, &["b", "c"]), (Ok(true), Some("abc".into())), "R23");
    assert_eq!(take(5, &["e"]).0, Err(Gap::Missing), "S2");
    assert_eq!(take(0, &["a"]).0, Err(Gap::Missing), "S2");
    assert_eq!(take(4, &[""]).0, Err(Gap::Nonsense));
    assert_eq!(take(4, &["too much text"]).0, Err(Gap::Nonsense), "B1");
    assert_eq!(take(4, &["defghijk"]).0, Err(Gap::Nonsense), "B1: a byte too much");
    assert_eq!(take(4, &["defghij"]), (Ok(true), Some("abcdefghij".into())), "B1: the bound is reached");
}

#[test]
fn a_dial_names_only_what_was_relayed_under_its_lease() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Relayed);
    assert_eq!(episodes.push_relayed(episode(1), Seq(1), &[Part::piece("a")], 8 << 20), Ok(true));
    let held = RelayPosition { episode: episode(1), seq: Seq(1) };
    // Newer ones that do not count: one of another lease, and one that was generated here.
    episodes.open(NOW, episode(2), Lease(2), Source::Relayed);
    episodes.open(NOW, episode(3), LEASE, Source::Local);
    assert_eq!(episodes.position(LEASE), Some(held), "S2: the parts after these are asked for");
    assert_eq!(episodes.position(Lease(3)), None);
}

#[test]
fn a_newer_episode_settles_the_relayed_ones_before_it_and_prolongs_none() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Relayed);
    episodes.open(NOW, episode(2), LEASE, Source::Local);
    let phase = |episodes: &Episodes, n| episodes.find(episode(n)).expect("it is kept").phase;
    assert_eq!(phase(&episodes, 1), Phase::Settled { at: NOW }, "B1: nothing else would end it");
    let later = NOW + EPISODE_RETENTION / 2;
    episodes.open(later, episode(3), LEASE, Source::Local);
    assert_eq!(phase(&episodes, 1), Phase::Settled { at: NOW }, "B1: it is not kept for longer");
    assert_eq!(phase(&episodes, 2), Phase::Open, "its own outcome settles what is generated here");
}

#[test]
fn the_row_settles_the_relayed_episodes_that_it_is_past_and_prolongs_none() {
    let mut episodes = Episodes::default();
    for (n, source) in [(4, Source::Relayed), (3, Source::Relayed), (2, Source::Relayed), (1, Source::Local)]
    {
        episodes.open(NOW, episode(n), LEASE, source);
    }
    let settled = |episodes: &Episodes| episodes.list.iter().map(Buffer::is_settled).collect::<Vec<_>>();
    assert_eq!(settled(&episodes), [false; 4]);
    episodes.settle_all_but(NOW, Some(episode(3)), episode(3));
    assert_eq!(settled(&episodes), [false, true, false, false], "its own outcome settles the local one");
    episodes.settle_all_but(NOW + EPISODE_RETENTION / 2, None, episode(3));
    assert_eq!(
        settled(&episodes),
        [false, true, true, false],
        "B1: the present one is over, the next is not"
    );
    assert_eq!(episodes.deadline().map(|deadline| deadline.at), Some(NOW + EPISODE_RETENTION), "B1");
}

#[test]
fn with_a_lost_lease_goes_what_was_generated_under_it_and_nothing_else() {
    let mut episodes = Episodes::default();
    let held = |episodes: &Episodes| episodes.list.iter().map(|b| b.episode).collect::<Vec<_>>();
    episodes.open(NOW, episode(1), Lease(1), Source::Local);
    episodes.open(NOW, episode(2), Lease(2), Source::Local);
    episodes.open(NOW, episode(3), Lease(2), Source::Relayed);
    episodes.drop_local(Lease(2));
    assert_eq!(held(&episodes), [episode(1), episode(3)], "S5");
    episodes.drop_episode(episode(3));
    assert_eq!(held(&episodes), [episode(1)]);
}

#[test]
fn the_bound_of_text_may_be_reached_and_not_passed() {
    let half = "x".repeat(EPISODES_BYTES_MAX / 2);
    for beyond in ["x", "a jump over the bound"] {
        let mut episodes = Episodes::default();
        for n in 1..=2 {
            episodes.open(NOW, episode(n), LEASE, Source::Local);
            episodes.push(episode(n), beginning(0), &half);
        }
        assert_eq!((episodes.len(), episodes.bytes()), (2, EPISODES_BYTES_MAX), "B1: it fits");
        episodes.push(episode(2), None, beyond);
        assert_eq!((episodes.len(), episodes.bytes()), (1, half.len() + beyond.len()), "B1");
        assert!(episodes.find(episode(1)).is_none(), "B1: the oldest goes");
    }
}

/// Reasoning of two parts, a call with an empty beginning, a file, text.
fn of_many_kinds() -> Vec<Part> {
    vec![
        Part::beginning(Block::Reasoning, "hm"),
        Part::piece("m "),
        Part::beginning(Block::tool_call("c", "find"), ""),
        Part::piece("{\"n\":"),
        Part::piece("1}"),
        Part::beginning(Block::Whole, "{\"type\":\"file\"}"),
        Part::beginning(Block::Text, "so"),
        Part::piece("!"),
    ]
}

#[test]
fn parts_of_two_blocks_are_never_joined_and_each_has_its_place() {
    let mut episodes = Episodes::default();
    episodes.open(NOW, episode(1), LEASE, Source::Relayed);
    assert_eq!(episodes.push_relayed(episode(1), Seq(1), &of_many_kinds(), 1000), Ok(true));
    episodes.assert_invariants();
    let buffer = episodes.find(episode(1)).expect("it was opened");
    let told = |after: u64| {
        let joined = buffer.joined_after(Seq(after), &mut JoinedParts::default()).expect("there is more");
        let text = core::str::from_utf8(&joined.text).expect("it is text").to_string();
        (joined.last.0, joined.place, joined.block, text)
    };
    let call = Block::tool_call("c", "find");
    assert_eq!(told(0), (2, 0, Block::Reasoning, "hmm ".into()), "S2");
    assert_eq!(told(1), (2, 0, Block::Reasoning, "m ".into()));
    assert_eq!(told(2), (5, 1, call.clone(), "{\"n\":1}".into()));
    assert_eq!(told(4), (5, 1, call.clone(), "1}".into()), "each piece has the call's name");
    assert_eq!(told(5), (6, 2, Block::Whole, "{\"type\":\"file\"}".into()));
    assert_eq!(told(6), (8, 3, Block::Text, "so!".into()));
    for start in 0..8 {
        let relayed = buffer.parts_after(Seq(start), 100, 1000);
        assert_eq!(
            relayed,
            of_many_kinds()[start as usize..],
            "S2: a follower's follower would see the same"
        );
    }
    let kept: Vec<_> = buffer.blocks().map(|(block, text)| (block.clone(), text.to_string())).collect();
    assert_eq!(kept.len(), 4, "S4");
    assert_eq!((&kept[1], &kept[3]), (&(call, "{\"n\":1}".into()), &(Block::Text, "so!".into())), "S4");
}

#[test]
fn a_part_that_no_block_takes_is_no_sense_and_what_follows_a_whole_one_is_text() {
    let taken = |parts: &[Part], bytes_max| {
        let mut episodes = Episodes::default();
        episodes.open(NOW, episode(1), LEASE, Source::Relayed);
        let taken = episodes.push_relayed(episode(1), Seq(1), parts, bytes_max);
        episodes.assert_invariants();
        let kinds = |buffer: &Buffer| buffer.blocks().map(|(block, _)| block.clone()).collect::<Vec<_>>();
        taken.map(|_| kinds(episodes.find(episode(1)).expect("it was opened")))
    };
    let whole = |text: &'static str| Part::beginning(Block::Whole, text);
    for wrong in [
        Part::beginning(Block::Text, ""),
        Part::beginning(Block::Reasoning, ""),
        Part::piece(""),
        whole(""),
        whole("[1]"),
        whole("{\"a\":1"),
        whole("{\"a\":\n1}"),
        whole("{\"a\":1e999}"),
    ] {
        assert_eq!(taken(core::slice::from_ref(&wrong), 1000), Err(Gap::Nonsense), "{wrong:?}");
    }
    assert_eq!(taken(&[whole("{}"), Part::piece("x")], 1000), Ok(vec![Block::Whole, Block::Text]));
    assert_eq!(taken(&[Part::beginning(Block::Unknown, "")], 1000), Ok(vec![Block::Unknown]));
    // One text may have all of the bytes, and further blocks count theirs.
    assert_eq!(taken(&[Part::piece("abcd")], 4), Ok(vec![Block::Text]), "B1: the bound is reached");
    assert_eq!(taken(&[Part::piece("abcde")], 4), Err(Gap::Nonsense), "B1");
    let calls = vec![Part::beginning(Block::tool_call("id", "name"), ""); 3];
    let bytes = 2 * BLOCK_BYTES_MIN + 3 * "idname".len();
    assert!(taken(&calls, bytes).is_ok(), "B1: the bound is reached");
    assert_eq!(taken(&calls, bytes - 1), Err(Gap::Nonsense), "B1: blocks without a text are bounded, too");
}
