//! Who may see a chat, change it, or share it, as its row says; and who finds it that creates it again.

use std::time::Duration;

use mainstem_machine::store::Request;
use mainstem_machine::{
    Accepted, Access, Applied, ChatId, ChatState, Command, Effect, NewSettings, Rejection, Settings,
    Standing, Time, WallTime, limits,
};
use mainstem_rows::Rows;

const CHAT: ChatId = ChatId(uuid::Uuid::from_u128(7));

struct Chat(Rows);

impl Chat {
    /// Ann's, who calls it by a name.
    fn of_ann() -> Self {
        let mut chat = Self(Rows::new(Duration::from_secs(15)));
        assert!(chat.ask("ann", create("ann", Some("hers"))).answer.is_ok());
        chat
    }

    fn ask(&mut self, by: &str, command: Command) -> Applied {
        let request = Request { chat: CHAT, command, by: Some(by.into()), idempotency_key: None };
        self.0.apply(Time::START, WallTime(0), &request)
    }

    fn refusal(&mut self, by: &str, command: Command) -> Option<Rejection> {
        self.ask(by, command).answer.err()
    }

    fn state(&self) -> &ChatState {
        &self.0.row(CHAT).expect("a chat").state
    }
}

fn create(owner: &str, external_id: Option<&str>) -> Command {
    let settings = Settings { external_id: external_id.map(Into::into), ..Settings::default() };
    Command::Create { chat: CHAT, owner: owner.into(), settings, messages: vec![] }
}

fn share(user: &str, may: Access) -> Command {
    Command::Share { user: user.into(), may }
}

fn unshare(user: &str) -> Command {
    Command::Unshare { user: user.into() }
}

fn change() -> Command {
    Command::Configure(NewSettings { title: Some(Some("ours".into())), ..NewSettings::default() })
}

#[test]
fn each_user_is_to_the_chat_what_its_row_says() {
    let mut chat = Chat::of_ann();
    for (user, may) in [("zoe", Access::Write), ("bob", Access::Read)] {
        assert_eq!(chat.refusal("ann", share(user, may)), None);
    }
    for (user, standing) in [
        ("ann", Standing::Owner),
        ("bob", Standing::Reader),
        ("carl", Standing::Stranger),
        ("zoe", Standing::Writer),
    ] {
        assert_eq!(chat.state().standing(user), standing, "{user}");
        assert_eq!(chat.state().is_there_for(user), user != "carl", "S10: {user}");
    }
    for (user, changes, shares) in [
        ("carl", Some(Rejection::NoSuchChat), Some(Rejection::NoSuchChat)),
        ("bob", Some(Rejection::ReadOnly), Some(Rejection::NotOwner)),
        ("zoe", None, Some(Rejection::NotOwner)),
        ("ann", None, None),
    ] {
        assert_eq!(chat.refusal(user, change()), changes, "{user}");
        assert_eq!(chat.refusal(user, share("dan", Access::Read)), shares, "{user}");
        assert_eq!(chat.refusal(user, unshare("dan")), shares, "{user}");
    }
    assert_eq!(chat.refusal("ann", share("ann", Access::Read)), Some(Rejection::OwnChat));
    assert_eq!(chat.refusal("bob", unshare("bob")), None, "what was given may be given back");
    assert_eq!(chat.refusal("bob", unshare("bob")), Some(Rejection::NoSuchChat));
}

#[test]
fn what_is_so_already_changes_nothing() {
    let mut chat = Chat::of_ann();
    for (command, changes) in [
        (share("bob", Access::Read), true),
        (share("bob", Access::Read), false),
        (share("bob", Access::Write), true),
        (unshare("carl"), false),
        (unshare("bob"), true),
        (unshare("bob"), false),
    ] {
        let applied = chat.ask("ann", command.clone());
        assert_eq!(matches!(applied.effect, Effect::Changed(_)), changes, "{command:?}");
    }
}

#[test]
fn a_chat_is_shared_with_so_many_and_no_more() {
    let mut chat = Chat::of_ann();
    for nth in 0..limits::SHARES_MAX {
        assert_eq!(chat.refusal("ann", share(&format!("user {nth}"), Access::Read)), None);
    }
    assert_eq!(chat.refusal("ann", share("one more", Access::Read)), Some(Rejection::TooManyShares));
    assert_eq!(chat.refusal("ann", share("user 0", Access::Write)), None, "who has it may have more of it");
    assert_eq!(chat.refusal("ann", unshare("user 7")), None);
    assert_eq!(chat.refusal("ann", share("one more", Access::Read)), None);
}

#[test]
fn what_a_share_allows_has_the_names_that_clients_and_databases_know() {
    assert_eq!([Access::Read, Access::Write].map(Access::as_str), ["read", "write"]);
}

#[test]
fn who_creates_a_chat_again_under_its_name_finds_it_and_nobody_else_does() {
    let mut chat = Chat::of_ann();
    assert!(matches!(chat.ask("ann", create("ann", Some("hers"))).answer, Ok(Accepted::Found(_))));
    for external_id in [None, Some("another")] {
        assert_eq!(chat.refusal("ann", create("ann", external_id)), Some(Rejection::Exists));
    }
    assert_eq!(chat.refusal("ann", share("bob", Access::Write)), None);
    assert_eq!(chat.refusal("bob", create("bob", Some("hers"))), Some(Rejection::Exists));
}
