//! Holds a PostgreSQL and a replica, for the test that kills it: says their processes and their directories,
//! and waits.

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
    // Nothing comes.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it is a pipe");
}
