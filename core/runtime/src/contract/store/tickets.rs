//! Tickets: taken once, by whoever comes first, and not for long.

use std::time::Duration;

use futures::future::join_all;
use mainstem_machine::store::Ticket;

use super::Subject;

const LIFETIME: Duration = Duration::from_secs(60);

fn ticket(number: u8, owner: &str, lifetime: Duration) -> Ticket {
    let body = format!("{{\"number\": {number}}}").into();
    Ticket { digest: [number; 32], owner: owner.into(), body, lifetime, owned_max: 3 }
}

impl Subject {
    async fn keep(&self, ticket: &Ticket) -> bool {
        self.store.keep_ticket(ticket).await.expect("the store answers")
    }

    async fn take(&self, number: u8) -> Option<String> {
        let taken = self.store.take_ticket(&[number; 32]).await.expect("the store answers");
        taken.map(|body| (*body).to_owned())
    }
}

pub async fn a_ticket_is_taken_once(subject: &Subject) {
    let kept = ticket(1, "ticket-ann", LIFETIME);
    assert!(subject.keep(&kept).await && subject.keep(&kept).await, "a repeated request keeps it as well");
    assert!(subject.keep(&ticket(2, "ticket-ann", LIFETIME)).await);
    let rivals = join_all((0..6).map(|_| subject.take(1))).await;
    let won: Vec<_> = rivals.into_iter().flatten().collect();
    assert_eq!(won, [&*kept.body], "S10: whoever comes first, and nobody else");
    assert_eq!(subject.take(1).await, None, "S10: never again");
    assert_eq!(subject.take(3).await, None, "S10: there was none");
    assert_eq!(subject.take(2).await.as_deref(), Some("{\"number\": 2}"), "others are untouched");
}

pub async fn a_ticket_runs_out_by_the_stores_clock(subject: &Subject) {
    assert!(subject.keep(&ticket(4, "ticket-bob", Duration::from_millis(300))).await);
    (subject.sleep)(Duration::from_millis(350)).await;
    assert_eq!(subject.take(4).await, None, "S10: it has run out");
}

pub async fn a_user_has_only_so_many_tickets(subject: &Subject) {
    let short = Duration::from_millis(500);
    for number in 10..13 {
        assert!(subject.keep(&ticket(number, "ticket-cid", short)).await);
    }
    assert!(!subject.keep(&ticket(13, "ticket-cid", LIFETIME)).await, "B1");
    assert_eq!(subject.take(13).await, None, "B1");
    assert!(subject.keep(&ticket(14, "ticket-dan", LIFETIME)).await, "B3: others have theirs");
    assert!(subject.take(10).await.is_some());
    assert!(subject.keep(&ticket(15, "ticket-cid", LIFETIME)).await, "what is taken counts no more");
    (subject.sleep)(short + Duration::from_millis(50)).await;
    assert!(subject.keep(&ticket(16, "ticket-cid", LIFETIME)).await, "nor does what has run out");
    assert!(subject.take(14).await.is_some() && subject.take(15).await.is_some());
}
