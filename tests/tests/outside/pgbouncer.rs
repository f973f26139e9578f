//! A pooler between the replicas and PostgreSQL, as it comes out of the box.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::TIMES;
use mainstem_tests::pooler::Pooler;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::{Replica, run};
use mainstem_tests::viewer::{Kind, Viewer};

#[tokio::test]
async fn replicas_behind_a_pooler_in_session_mode_work_and_hear_each_other() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let pooler = Pooler::start(&postgres, "session").expect("a PgBouncer");
    let direct = postgres.fresh_database().expect("a database");
    let database = pooler.url(&direct, postgres.port());
    // Both together stay within the pooler's default of 20 sessions.
    let flags = [&TIMES[..], &["--database", &database, "--database-connections", "4"]].concat();
    let a = Replica::start("a", &flags).await;
    let b = Replica::start("b", &[&flags[..], &["--workers", "0"]].concat()).await;
    let chat = b.client().create("/demo parts=40 interval=5ms").await;
    let mut viewer = Viewer::open(&b.client(), &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    viewer.finish(&a.client()).await;
    assert_eq!(viewer.screen.texts()[1], counted(40), "S4");
    let name = direct.rsplit('/').next().expect("the URL ends with the database");
    let listening = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'mainstem' AND query = \
         'LISTEN \"mainstem\"'"
    );
    assert_eq!(postgres.sql("postgres", &listening).expect("psql"), "2", "both listen");
    assert!(!a.log().contains("by polling only"), "{}", a.log());
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_with_what_to_do() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let direct = postgres.fresh_database().expect("a database");
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&postgres, mode).expect("a PgBouncer");
        let database = pooler.url(&direct, postgres.port());
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--database", &database]).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let reason = if mode == "transaction" { "pool_mode = session" } else { "statement pooling" };
        assert!(said.contains(reason), "{said}");
        assert!(mode != "transaction" || (said.contains("LISTEN") && said.contains("--bus")), "{said}");
    }
}

#[tokio::test]
async fn what_the_pooler_says_is_what_is_told() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let pooler = Pooler::start(&postgres, "session").expect("a PgBouncer");
    let nowhere = pooler.url(&postgres.url("nowhere"), postgres.port());
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--database", &nowhere]).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("\"nowhere\" does not exist"), "{said}");
}
