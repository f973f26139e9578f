//! The rows of `cargo measure-costs` run, and their JSON has its figures. How fast anything is they do not claim.

use std::path::PathBuf;

use mainstem_tests::costs::{Options, Row, measure};
use mainstem_tests::postgres::programs;
use mainstem_tests::shipped_binary::server_binary;
use serde_json::Value;

/// The JSON of these rows, quickly.
async fn measured(rows: &[Row], rounds: usize, earlier: Option<PathBuf>) -> Value {
    let quick = Options::parse(["--quick".to_owned()]).expect("there is such a flag");
    let options = Options { rows: rows.to_vec(), rounds, earlier, ..quick };
    let mut told = vec![];
    let report = measure(&options, |table| told.push(table.to_string())).await.expect("all rows run");
    assert!(told.iter().zip(rows).all(|(table, row)| table.starts_with(row.name())), "{told:?}");
    let json = report.json();
    for table in &told {
        let (name, _) = table.split_once(':').expect("a table has a name");
        for figure in json["rows"][name]["figures"].as_object().expect("a row has figures").keys() {
            assert!(table.contains(figure), "{figure} is told: {table}");
        }
    }
    json
}

/// That a row has these figures and no others, of so many rounds each, and that there is something to what must not be nothing.
#[track_caller]
fn assert_figures(json: &Value, row: &str, column: &str, rounds: usize, wanted: &[&str]) {
    let figures = json["rows"][row]["figures"].as_object().expect("a row has figures");
    let mut names: Vec<&str> = figures.keys().map(|name| &**name).collect();
    names.sort_unstable();
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    assert_eq!(names, sorted, "{row}");
    for (name, figure) in figures {
        let each = figure[column]["rounds"].as_array().expect("a figure has its rounds");
        assert_eq!(each.len(), rounds, "{row}: {name} of {column}");
        let median = figure[column]["median"].as_f64().expect("a figure has a median");
        assert!(each.iter().any(|round| *round == figure[column]["median"]), "{row}: {name} {figure}");
        // CPU comes in hundredths of a second, of which who asks or watches may take none, as may a PostgreSQL at rest.
        // And a busy machine may end no turn within a second, or all.
        const MAY_BE_NOTHING: [&str; 3] =
            ["turns_ended_per_second", "chats_left", "postgres_cpu_ms_per_second"];
        let is_ours = ["asking", "watching"].iter().any(|who| name.starts_with(who));
        if !is_ours && !name.contains("rss") && !MAY_BE_NOTHING.contains(&&**name) {
            assert!(median > 0.0, "{row}: {name} is {median}");
        }
        assert!(median.is_finite() && each.iter().all(Value::is_f64), "{row}: {name} {figure}");
    }
}

/// That what these figures of CPU tell of each is, at this rate, no more than the machine has.
#[track_caller]
fn assert_possible(json: &Value, row: &str, column: &str, rate: &str, cpu: &[&str]) {
    let median =
        |name: &str| json["rows"][row]["figures"][name][column]["median"].as_f64().expect("a median");
    let spent = cpu.iter().map(|name| median(name)).sum::<f64>() * median(rate) / 1e6;
    let cores = json["cores"].as_f64().expect("there are cores");
    // What has the time and what has the CPU are not read at one moment.
    assert!(spent < 1.3 * cores, "{row}: {spent} seconds of CPU a second on {cores} cores: {json}");
}

const TURNS: [&str; 6] = [
    "turns_per_second",
    "postgres_cpu_us_per_turn",
    "worker_cpu_us_per_turn",
    "wal_flushes_per_turn",
    "wal_bytes_per_turn",
    "transactions_per_turn",
];
const YARDSTICK: [&str; 6] = [
    "jobs_per_second",
    "postgres_cpu_us_per_job",
    "worker_cpu_us_per_job",
    "wal_flushes_per_job",
    "wal_bytes_per_job",
    "transactions_per_job",
];

#[tokio::test]
async fn turns_are_measured_of_two_programs_beside_a_yardstick() {
    let json = measured(&[Row::Turns], 2, Some(server_binary().to_owned())).await;
    for program in ["before", "after"] {
        assert!(
            json["programs"][program].as_str().is_some_and(|said| said.starts_with("mainstem ")),
            "{json}"
        );
        assert_figures(&json, "turns", program, 2, &TURNS);
        assert_possible(&json, "turns", program, TURNS[0], &TURNS[1..3]);
    }
    assert!(
        json["rows"]["turns"]["figures"]["turns_per_second"]["ratio"]
            .as_f64()
            .is_some_and(|ratio| ratio > 0.0)
    );
    for pool in ["pool_10", "pool_64"] {
        assert_figures(&json, "yardstick", pool, 2, &YARDSTICK);
        assert_possible(&json, "yardstick", pool, YARDSTICK[0], &YARDSTICK[1..3]);
    }
    let yardstick = &json["rows"]["yardstick"];
    let rate =
        |pool: &str| yardstick["figures"]["jobs_per_second"][pool]["median"].as_f64().expect("a number");
    let better = if rate("pool_10") > rate("pool_64") { "pool_10" } else { "pool_64" };
    assert_eq!(yardstick["better"], better);
    assert!(
        yardstick["program"].as_str().is_some_and(|named| named.starts_with("graphile-worker 0.")),
        "{yardstick}"
    );
    // All of its turns are four commits and more: an answer cannot be had for less.
    let transactions = json["rows"]["turns"]["figures"]["transactions_per_turn"]["after"]["median"].as_f64();
    assert!(transactions.is_some_and(|each| each > 1.0), "{json}");
}

#[tokio::test]
async fn creating_and_paced_parts_are_measured() {
    let json = measured(&[Row::Creating, Row::Paced], 1, None).await;
    let creating = [
        "chats_per_second",
        "request_p50_ms",
        "request_p99_ms",
        "turns_ended_per_second",
        "chats_left",
        "postgres_cpu_us_per_chat",
        "servers_cpu_us_per_chat",
        "asking_cpu_us_per_chat",
    ];
    assert_figures(&json, "creating", "after", 1, &creating);
    assert_possible(&json, "creating", "after", creating[0], &creating[5..]);
    let paced = [
        "parts_per_second",
        "servers_cpu_us_per_part",
        "worker_cpu_us_per_part",
        "telling_cpu_us_per_part",
        "latency_p50_ms",
        "latency_p99_ms",
    ];
    assert_figures(&json, "paced", "after", 1, &paced);
    assert_possible(&json, "paced", "after", paced[0], &paced[2..4]);
    assert!(
        json["rows"]["paced"]["figures"]["parts_per_second"].get("ratio").is_none(),
        "there is one program"
    );
    assert_eq!(json["is_quick"], true);
    assert!(
        json["cores"].as_u64().is_some_and(|cores| cores > 0) && json["date"].as_str().is_some(),
        "{json}"
    );
    let postgres = programs().expect("a PostgreSQL").join("postgres");
    let said = std::process::Command::new(postgres).arg("--version").output().expect("it tells its version");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(json["postgresql"].as_str().expect("a version")), "{said} {json}");
}

#[tokio::test]
async fn live_chats_and_fan_out_are_measured() {
    let json = measured(&[Row::Live, Row::LiveTurns, Row::FanOut], 1, None).await;
    let live = [
        "parts_per_second",
        "servers_cpu_us_per_part",
        "worker_cpu_us_per_part",
        "telling_cpu_us_per_part",
        "postgres_cpu_ms_per_second",
        "worker_rss_kib_per_chat",
        "telling_rss_kib_per_chat",
        "watching_cpu_us_per_part",
    ];
    assert_figures(&json, "live", "after", 1, &live);
    assert_possible(&json, "live", "after", live[0], &[live[1], live[7]]);
    let turns = [
        "turns_per_second",
        "parts_per_second",
        "servers_cpu_us_per_turn",
        "postgres_cpu_us_per_turn",
        "servers_cpu_us_per_part",
        "worker_rss_kib_per_chat",
        "telling_rss_kib_per_chat",
        "watching_cpu_us_per_part",
    ];
    assert_figures(&json, "live-turns", "after", 1, &turns);
    assert_possible(&json, "live-turns", "after", turns[0], &turns[2..4]);
    let fan_out = [
        "deliveries_per_second",
        "servers_cpu_us_per_delivery",
        "worker_cpu_us_per_delivery",
        "telling_cpu_us_per_delivery",
        "watching_cpu_us_per_delivery",
    ];
    assert_figures(&json, "fan-out", "after", 1, &fan_out);
    assert_possible(&json, "fan-out", "after", fan_out[0], &fan_out[2..]);
    // One of them tells each part once, the other one tells it to all viewers.
    let of =
        |name: &str| json["rows"]["fan-out"]["figures"][name]["after"]["median"].as_f64().expect("a median");
    assert!(of("telling_cpu_us_per_delivery") > of("worker_cpu_us_per_delivery"), "{json}");
}

#[tokio::test]
async fn what_two_threads_gain_is_measured() {
    let json = measured(&[Row::Threads], 1, None).await;
    let one = ["one_parts_per_second", "one_cpu_us_per_part", "one_cores", "one_latency_p99_ms"];
    let two = ["two_parts_per_second", "two_cpu_us_per_part", "two_cores", "two_latency_p99_ms"];
    assert_figures(&json, "threads", "after", 1, &[one, two].concat());
    for figures in [one, two] {
        assert_possible(&json, "threads", "after", figures[0], &figures[1..2]);
    }
    // Two replicas with one thread each have no more cores than two. What has the time and what has the CPU are not read at one moment.
    let cores = json["rows"]["threads"]["figures"]["one_cores"]["after"]["median"].as_f64();
    assert!(cores.is_some_and(|cores| cores < 2.6), "{json}");
}
