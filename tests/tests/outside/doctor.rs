//! `mainstem doctor` on real databases, buses and peers: what is well, and each fault that it knows.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use mainstem_programs::FAKETIME;
use mainstem_tests::bus_server::{BusServer, Kind};
use mainstem_tests::cluster::{Cluster, TIMES, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::pooler::Pooler;
use mainstem_tests::postgres::{Postgres, Setup};
use mainstem_tests::process::{Replica, free_port, run, run_with};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::server_binary;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Its own limits, and some for the machine: it hangs on nothing.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What it found.
#[derive(Debug)]
struct Told {
    code: i32,
    checks: Vec<Value>,
    text: String,
}

impl Told {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.is_empty(), "it says all where it is read: {errors}");
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let checks = report["checks"].as_array().expect("checks").clone();
        let verdict = report["verdict"].as_str().expect("a verdict");
        let code = output.status.code().expect("it was not killed");
        assert_eq!(code, i32::from(verdict == "fail"), "{text}");
        for check in &checks {
            assert_eq!(
                check["remedy"].is_null(),
                check["verdict"] == "ok",
                "it says how to mend it: {check}"
            );
        }
        Self { code, checks, text }
    }

    /// The findings of a check, as `verdict: found`.
    fn of_check(&self, name: &str) -> Vec<String> {
        let words = |check: &Value| {
            [&check["verdict"], &check["found"]].map(|value| value.as_str().expect("text").to_owned())
        };
        let checks = self.checks.iter().filter(|check| check["check"] == name);
        checks.map(|check| words(check).join(": ")).collect()
    }

    /// That this check has one finding, which begins so and has these words.
    #[track_caller]
    fn assert(&self, check: &str, verdict: &str, words: &str) {
        let found = self.of_check(check);
        let is_so = |found: &String| found.starts_with(&format!("{verdict}: ")) && found.contains(words);
        assert!(
            found.len() == 1 && is_so(&found[0]),
            "{check}: expected {verdict} with {words:?}: {}",
            self.text
        );
    }

    /// That nothing else is wrong.
    #[track_caller]
    fn assert_only(&self, check: &str) {
        let other = self.checks.iter().find(|found| found["verdict"] != "ok" && found["check"] != check);
        assert!(other.is_none(), "{}", self.text);
    }
}

async fn doctor(flags: &[&str]) -> Told {
    Told::of(&run(&[&["doctor", "--json", "--listen", "127.0.0.1:0"], flags].concat()).await)
}

#[tokio::test]
async fn a_healthy_cluster_is_found_well_on_each_bus_and_nothing_is_changed() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let nats = BusServer::start(Kind::Nats).await.expect("a NATS");
    let redis = BusServer::start(Kind::Redis).await.expect("a Redis");
    for bus in ["postgres", "none", &nats.url(), &redis.url()] {
        let flags: &[&str] = &["--bus", bus];
        let cluster = Cluster::start_on(postgres.clone(), &[flags, flags]).await;
        let dump = "SELECT count(*), string_agg(id || address || incarnation, ',' ORDER BY id), \
                    (SELECT count(*) FROM secrets), (SELECT count(*) FROM mainstem_migrations) FROM replicas";
        let before = postgres.sql(cluster.database_name(), dump).expect("rows");
        let told = doctor(&[&["--database", &cluster.database], &TIMES[..], flags].concat()).await;
        assert_eq!(
            (told.code, told.checks.iter().all(|check| check["verdict"] == "ok")),
            (0, true),
            "{}",
            told.text
        );
        let peers = told.of_check("peers");
        let greeted = |id: &str| {
            peers.iter().any(|peer| {
                peer.starts_with(&format!("ok: {id} at 127.0.0.1:")) && peer.ends_with("the same secret")
            })
        };
        assert!(peers.len() == 2 && greeted("a") && greeted("b"), "{peers:?}");
        told.assert("migrations", "ok", "the newest");
        told.assert("bus", "ok", if bus == "none" { "poll" } else { "a notice came back" });
        assert_eq!(
            postgres.sql(cluster.database_name(), dump).expect("rows"),
            before,
            "it became no replica"
        );
    }
}

#[tokio::test]
async fn an_empty_database_stays_empty() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let told = doctor(&["--database", &database]).await;
    assert_eq!(told.code, 0, "{}", told.text);
    told.assert("migrations", "ok", "empty");
    assert_eq!(
        postgres
            .sql_at(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .ok()
            .as_deref(),
        Some("0")
    );
    let scratch = Scratch::new();
    let told = doctor(&["--database", &scratch.sqlite_url()]).await;
    told.assert("database", "ok", "the first start makes it");
    assert_eq!(fs::read_dir(scratch.path()).expect("a directory").count(), 0, "no file was made");
}

#[tokio::test]
async fn a_sqlite_file_is_looked_at_and_one_that_is_in_use_is_told_of() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let mut replica = alone(&scratch, &[]).await;
    let told = doctor(&["--database", &url]).await;
    told.assert("database", "warn", "is in use");
    replica.terminate();
    replica.ended().await;
    let told = doctor(&["--database", &url]).await;
    told.assert("migrations", "ok", "the newest");
    let missing = format!("sqlite:{}/no/such/file.db", scratch.path().display());
    doctor(&["--database", &missing]).await.assert("database", "fail", "No such file");
}

#[tokio::test]
async fn a_wrong_password_and_missing_rights_are_told_without_the_password() {
    let postgres = Postgres::new().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let hba = postgres.directory().join("data/pg_hba.conf");
    let rules = fs::read_to_string(&hba).expect("it has rules");
    fs::write(&hba, format!("host all guest 127.0.0.1/32 scram-sha-256\n{rules}"))
        .expect("they can be written");
    postgres.sql_at(&database, "SELECT pg_reload_conf()").expect("it reads them");
    postgres.sql_at(&database, "CREATE ROLE guest LOGIN PASSWORD 'right-word'").expect("a role");
    let as_guest = |password: &str| database.replace("mainstem@", &format!("guest:{password}@"));
    let told = doctor(&["--database", &as_guest("wrong-word")]).await;
    told.assert("database", "fail", "refuses this user and password");
    assert!(!told.text.contains("wrong-word"), "{}", told.text);
    let told = doctor(&["--database", &as_guest("right-word")]).await;
    told.assert("rights", "fail", "CREATE on the schema public");
    told.assert_only("rights");
    assert!(!told.text.contains("right-word"), "{}", told.text);
    let start = run(&["serve", "--listen", "127.0.0.1:0", "--database", &as_guest("right-word")]).await;
    assert_eq!(start.status.code(), Some(1), "serve cannot do without it either");
    let replica = Replica::start("a", &["--database", &database]).await;
    postgres
        .sql_at(
            &database,
            "GRANT ALL ON SCHEMA public TO guest; GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest",
        )
        .expect("rights");
    let told = doctor(&["--database", &as_guest("right-word")]).await;
    told.assert("rights", "fail", "INSERT on chats");
    drop(replica);
    let told = doctor(&["--database", &database.replace("fresh_0", "no_such")]).await;
    told.assert("database", "fail", "no such database");
}

#[tokio::test]
async fn a_database_that_is_away_or_hangs_is_told_and_keeps_nothing_waiting() {
    let away = format!("postgres://u:hidden@127.0.0.1:{}/d", free_port());
    let told = doctor(&["--database", &away]).await;
    told.assert("database", "fail", "refused");
    told.assert("peers", "warn", "not looked at");
    told.assert("--listen", "ok", "is free");
    assert!(!told.text.contains("hidden"), "{}", told.text);
    let postgres = Postgres::new().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    postgres.pause();
    let began = Instant::now();
    let told = doctor(&["--database", &database]).await;
    postgres.resume();
    assert!(began.elapsed() < ENDS_WITHIN, "it took {:?}", began.elapsed());
    told.assert("database", "fail", "did not answer within");
    told.assert("descriptors", "ok", "files may be open");
}

#[tokio::test]
async fn pending_migrations_a_newer_schema_and_a_foreign_one_are_told_apart() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let mut replica = Replica::start("a", &["--database", &database]).await;
    replica.terminate();
    replica.ended().await;
    for (change, verdict, words) in [
        ("DELETE FROM mainstem_migrations WHERE version > 4", "warn", "version 4, and"),
        (
            "UPDATE mainstem_migrations SET checksum = '\\x00' WHERE version = 2",
            "fail",
            "version 2 was not made",
        ),
        ("UPDATE mainstem_migrations SET version = 999 WHERE version = 2", "ok", "version 999"),
        ("UPDATE mainstem_migrations SET version = 1000 WHERE version = 999", "fail", "version 1000"),
    ] {
        postgres.sql_at(&database, change).expect("it is changed");
        let told = doctor(&["--database", &database]).await;
        told.assert("migrations", verdict, words);
        told.assert_only("migrations");
    }
}

#[tokio::test]
async fn a_server_with_too_few_connections_is_told_of() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    doctor(&["--database", &database, "--database-connections", "1000"]).await.assert(
        "connections",
        "fail",
        "up to 1003",
    );
}

#[tokio::test]
async fn a_standby_is_told_of() {
    let postgres = Postgres::new().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let standby = postgres.standby().expect("a standby");
    let name = database.rsplit('/').next().expect("a name");
    let told = doctor(&["--database", &standby.url(name)]).await;
    let found = told.of_check("database");
    assert!(
        found.len() == 1 && found[0].starts_with("fail: ") && found[0].ends_with("is a standby"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_dead_peer_and_one_with_another_secret_are_told_of() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&[&[], &[]]).await;
    let secret = scratch.file("secret", "another secret than that of the database");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("a mode");
    cluster.add("c", &["--peer-secret-file", &secret]).await;
    let dead = cluster.index_of("b");
    cluster.replicas[dead].kill();
    let flags = [&["--database", &cluster.database], &TIMES[..]].concat();
    let told = doctor(&flags).await;
    assert_eq!(told.code, 1);
    let peers = told.of_check("peers");
    let of = |id: &str| {
        let found = peers.iter().find(|peer| peer.contains(&format!(": {id} at ")));
        found.unwrap_or_else(|| panic!("{id} is told of: {peers:?}"))
    };
    assert!(of("a").starts_with("ok: "), "{peers:?}");
    assert!(!of("b").starts_with("ok: ") && of("b").contains("refused"), "{peers:?}");
    assert!(of("c").starts_with("fail: ") && of("c").contains("another secret"), "{peers:?}");
    assert!(!told.text.contains("that of the database"), "a secret was told: {}", told.text);
    let told = doctor(&[&flags[..], &["--peer-secret-file", &secret]].concat()).await;
    let found = told.of_check("peers");
    assert!(found.iter().any(|peer| peer.starts_with("ok: c at ")), "S10: {found:?}");
    assert!(found.iter().any(|peer| peer.starts_with("fail: a at ")), "S10: {found:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_is_told_of_in_time() {
    let cluster = Cluster::start(&[&[]]).await;
    cluster.replicas[0].pause();
    let began = Instant::now();
    let told = doctor(&[&["--database", &cluster.database], &TIMES[..]].concat()).await;
    cluster.replicas[0].resume();
    assert!(began.elapsed() < ENDS_WITHIN, "it took {:?}", began.elapsed());
    told.assert("peers", "fail", "does not answer");
}

#[tokio::test]
async fn a_bus_that_is_away_refuses_or_hangs_is_told_of() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    for kind in [Kind::Nats, Kind::Redis] {
        let scheme = if kind == Kind::Nats { "nats" } else { "redis" };
        let away = format!("{scheme}://u:hidden@127.0.0.1:{}", free_port());
        let told = doctor(&["--database", &database, "--bus", &away]).await;
        told.assert("bus", "fail", "127.0.0.1");
        told.assert_only("bus");
        assert!(!told.text.contains("hidden"), "{}", told.text);
        let server = BusServer::start(kind).await.expect("a bus");
        server.pause();
        let began = Instant::now();
        let told = doctor(&["--database", &database, "--bus", &server.url()]).await;
        server.resume();
        assert!(began.elapsed() < ENDS_WITHIN, "it took {:?}", began.elapsed());
        assert!(told.of_check("bus").iter().all(|found| found.starts_with("fail: ")), "{}", told.text);
        assert_eq!(told.code, 1);
    }
    let guarded = BusServer::configured(Kind::Redis, "requirepass right-word").await.expect("a Redis");
    let address = guarded.url().replace("redis://", "redis://:wrong-word@");
    let told = doctor(&["--database", &database, "--bus", &address]).await;
    told.assert("bus", "fail", "refuses this user and password");
    assert!(!told.text.contains("wrong-word"), "{}", told.text);
}

#[tokio::test]
async fn a_pooler_of_transactions_is_told_of_unless_its_flag_is_given() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let pooler = Pooler::start(&postgres, "transaction").expect("a PgBouncer");
    let url = pooler.url(&database, postgres.port());
    let told = doctor(&["--database", &url, "--bus", "none"]).await;
    told.assert("pooler", "fail", "pool_mode = transaction");
    told.assert_only("pooler");
    let told = doctor(&["--database", &url, "--bus", "none", "--database-pooler", "transaction"]).await;
    told.assert("pooler", "ok", "as it was told");
    let told = doctor(&["--database", &database, "--bus", "none", "--database-pooler", "transaction"]).await;
    told.assert("pooler", "warn", "none was found");
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_told_of() {
    let library = FAKETIME.path().unwrap_or_else(|missing| panic!("{missing}"));
    let library = library.to_str().expect("a path of UTF-8");
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let flags = ["doctor", "--json", "--listen", "127.0.0.1:0", "--database", &database];
    for (off, words) in [("+1h", "behind this host's"), ("-1h", "ahead of this host's")] {
        let environment = [("LD_PRELOAD", library), ("FAKETIME", off), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let told = Told::of(&run_with(&flags, &environment, "").await);
        told.assert("clock", "warn", words);
        told.assert_only("clock");
    }
}

#[tokio::test]
async fn a_low_limit_of_open_files_is_told_of() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    for (limit, verdict) in [(32, "fail"), (256, "warn"), (4096, "ok")] {
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("ulimit -n {limit}\nexec \"$@\""), "sh"])
            .arg(server_binary())
            .args(["doctor", "--json", "--listen", "127.0.0.1:0", "--database", &url])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("a shell starts");
        Told::of(&output).assert("descriptors", verdict, &format!("{limit}"));
    }
}

#[tokio::test]
async fn addresses_that_are_taken_or_open_to_strangers_are_told_of() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("it is bound").to_string();
    for flag in ["--listen", "--internal-listen"] {
        let flags = ["doctor", "--json", "--database", &url, flag, &taken];
        let told = Told::of(&run(&flags).await);
        // The port of --listen is anybody's where it is not given.
        assert!(told.of_check(flag)[0].starts_with("fail: "), "{}", told.text);
        assert!(told.of_check(flag)[0].ends_with("is in use"), "{}", told.text);
    }
    let open = ["doctor", "--json", "--database", &url, "--listen", "0.0.0.0:0"];
    Told::of(&run(&open).await).assert("authentication", "fail", "anybody");
    Told::of(&run(&[&open[..], &["--insecure"]].concat()).await).assert("authentication", "warn", "anybody");
    let nowhere = ["doctor", "--json", "--database", &url, "--listen", "nonsense"];
    Told::of(&run(&nowhere).await).assert("--listen", "fail", "nonsense");
}

#[tokio::test]
async fn files_that_are_missing_malformed_or_open_to_all_are_told_of() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let base = ["--database", &*url];
    let file = |name: &str, text: &str, mode: u32| {
        let path = scratch.file(name, text);
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        path
    };
    let tokens = "[tokens]\n\"hidden-token\" = \"u\"\n";
    for (flag, path, verdict, words) in [
        ("--auth-file", "/no/such/file".to_owned(), "fail", "No such file"),
        ("--auth-file", file("odd", "[tokens]\n\"hidden-token\" = = \"u\"\n", 0o600), "fail", "odd"),
        ("--auth-file", file("open", tokens, 0o644), "warn", "mode is 644"),
        ("--auth-file", file("well", tokens, 0o600), "ok", "well"),
        ("--peer-secret-file", file("short", "hidden-token", 0o600), "fail", "at least 16 bytes"),
        ("--peer-secret-file", file("shown", "hidden-token hidden-token", 0o604), "warn", "mode is 604"),
        ("--tools", file("tools", "[[tools]]\nname = 7\n", 0o644), "fail", "tools"),
        ("--instructions-file", file("empty", " \n", 0o644), "fail", "empty"),
        (
            "--config",
            file("settings", "bus = \"nats://u:hidden-token@h\"\nworkers = 2\n", 0o644),
            "warn",
            "mode is 644",
        ),
        ("--record", "/proc/no/such".to_owned(), "fail", "no directory"),
    ] {
        let database = if flag == "--config" { &["--database", "postgres://127.0.0.1:1/d"] } else { &base };
        let told = doctor(&[&database[..], &[flag, &path]].concat()).await;
        told.assert(flag, verdict, words);
        assert!(!told.text.contains("hidden-token"), "a secret was told: {}", told.text);
    }
}

#[tokio::test]
async fn a_file_that_is_a_pipe_keeps_nothing_waiting() {
    let scratch = Scratch::new();
    let pipe = scratch.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    let began = Instant::now();
    let told =
        doctor(&["--database", &scratch.sqlite_url(), "--auth-file", pipe.to_str().expect("UTF-8")]).await;
    assert!(began.elapsed() < ENDS_WITHIN, "it took {:?}", began.elapsed());
    told.assert("files", "fail", "could not be read within");
    told.assert("database", "ok", "");
}

#[tokio::test]
async fn it_tells_people_one_line_for_each_check_and_refuses_what_serve_refuses() {
    let scratch = Scratch::new();
    let output = run(&["doctor", "--listen", "127.0.0.1:0", "--database", &scratch.sqlite_url()]).await;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && text.lines().count() >= 4, "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok    ")), "{text}");
    let away = run(&["doctor", "--database", "postgres://127.0.0.1:1/d"]).await;
    let text = String::from_utf8(away.stdout).expect("UTF-8");
    assert!(away.status.code() == Some(1) && text.contains("\nfail  database: "), "{text}");
    for (flags, code) in
        [(["--lease-ttl", "1s"], 64), (["--workers", "x"], 64), (["--config", "/no/such"], 1)]
    {
        let refused = run(&[&["doctor"], &flags[..]].concat()).await;
        assert_eq!(refused.status.code(), Some(code), "{flags:?}");
        let errors = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(
            refused.stdout.is_empty() && errors.starts_with("error: ") && errors.contains(flags[0]),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn help_does_not_show_the_password_of_the_environment() {
    let help = run_with(&["doctor", "--help"], &[("MAINSTEM_DATABASE", "postgres://u:hidden@h/d")], "").await;
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(
        help.status.success() && text.contains("MAINSTEM_DATABASE") && !text.contains("hidden"),
        "{text}"
    );
}

#[tokio::test]
async fn replicas_that_share_a_server_are_counted_as_they_are_open() {
    let setup = Setup { max_connections: 40, ..Setup::default() };
    let postgres = Postgres::with(setup).expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let mut holders = vec![];
    for _ in 0..12 {
        holders.push(PgConnection::connect(&database).await.expect("a connection"));
    }
    let open = async || {
        let told = doctor(&["--database", &database]).await;
        told.of_check("connections")[0].starts_with("warn: ").then_some(())
    };
    until("those that are open are counted", open).await;
    drop(holders);
}
