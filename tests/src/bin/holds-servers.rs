//! Starts a PostgreSQL and a replica, prints their process ids and directories, and waits. For the test that
//! kills it.

use std::io::Read;

use mainstem_tests::cluster::alone;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::scratch::Scratch;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let postgres = Postgres::new().expect("a PostgreSQL");
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    println!("{} {} {}", postgres.process_id(), replica.process_id(), postgres.directory().display());
    // Waits for ever.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it is a pipe");
}
