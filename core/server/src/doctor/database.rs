//! What is said of a database. The facts are the adapters'; here they are judged.

use std::time::Duration;

use super::finding::Finding;
use crate::adapters::{Examination, Schema, SqliteExamination, Unexamined};
use crate::config::{Bus, Config, Pooler};
use crate::limits::adapters::{LEASE_CONNECTIONS, LISTEN_CONNECTIONS};
use crate::limits::doctor::{CLOCK_OFF_MS_MAX, ROUND_TRIP_MAX};

const DATABASE: &str = "database";

pub(super) fn of_sqlite(examined: Result<SqliteExamination, String>) -> Vec<Finding> {
    match examined {
        Err(why) => {
            vec![Finding::fail(
                DATABASE,
                why,
                "give a file that this user may write, in a directory that is there",
            )]
        }
        Ok(SqliteExamination::ToBeMade { path }) => {
            vec![Finding::ok(
                DATABASE,
                format!("{} is not there yet: the first start makes it", path.display()),
            )]
        }
        Ok(SqliteExamination::InUse { path }) => vec![Finding::warn(
            DATABASE,
            format!("{} is in use by a mainstem that runs", path.display()),
            "stop that one before another is started on this file, or use PostgreSQL for several replicas",
        )],
        Ok(SqliteExamination::Idle { path, schema }) => {
            vec![Finding::ok(DATABASE, path.display().to_string()), of_schema(schema)]
        }
    }
}

/// A database that does not answer.
pub(super) fn of_unexamined(why: &Unexamined) -> Finding {
    let remedy = match why {
        Unexamined::Url(_) => "mend --database",
        Unexamined::Denied { .. } => {
            "mend the user and the password in --database, or the server's pg_hba.conf"
        }
        Unexamined::NoDatabase { .. } => {
            "create it (CREATE DATABASE … ENCODING 'UTF8'), or mend the name in --database"
        }
        Unexamined::Full { .. } => "raise the server's max_connections, or end what keeps connections open",
        Unexamined::Failed { .. } => {
            "start the server, or mend the address in --database and what is on the way to it"
        }
    };
    Finding::fail(DATABASE, why.to_string(), remedy)
}

pub(super) fn silent(place: &str, limit: Duration) -> Finding {
    Finding::fail(
        DATABASE,
        format!("{place} did not answer within {limit:?}"),
        "look whether the server is overloaded or stopped, and whether something on the way to it drops packets",
    )
}

pub(super) fn of_postgres(config: &Config, found: &Examination) -> Vec<Finding> {
    vec![
        of_server(found),
        of_schema(found.schema),
        of_rights(found),
        of_connections(config, found),
        of_pooler(config.pooler, found.shares_sessions),
        of_round_trip(config, found.round_trip),
        of_clock(found.clock_ahead_ms),
    ]
}

fn of_server(found: &Examination) -> Finding {
    let Examination { place, version, encoding, .. } = found;
    let told = format!("PostgreSQL {version} at {place}");
    if found.is_too_old {
        return Finding::fail(DATABASE, told, "12 is the oldest version that has what is needed: update it");
    }
    if encoding != "UTF8" {
        let told = format!("{told} has the encoding {encoding}");
        return Finding::fail(DATABASE, told, "create a database with ENCODING 'UTF8'");
    }
    if found.is_standby || found.is_read_only {
        let what = if found.is_standby { "is a standby" } else { "is read-only" };
        return Finding::fail(DATABASE, format!("{told} {what}"), "point --database at the primary");
    }
    Finding::ok(DATABASE, told)
}

fn of_schema(schema: Schema) -> Finding {
    let check = "migrations";
    match schema {
        Schema::None => Finding::ok(check, "the database is empty: the first start makes the schema"),
        Schema::Current { version } => {
            Finding::ok(check, format!("version {version}, the newest that is known"))
        }
        Schema::Older { version, newest } => Finding::warn(
            check,
            format!("version {version}, and {newest} is known: they are pending"),
            "the next start of this version carries them out; take a backup before, and look at the release's notes",
        ),
        Schema::Ahead { version, newest } => Finding::ok(
            check,
            format!(
                "version {version}, made by a later release; this one knows up to {newest}, and works on it too"
            ),
        ),
        Schema::Newer { version, newest } => Finding::fail(
            check,
            format!("version {version}, which bars a program that knows up to {newest}"),
            "use a newer mainstem on this database",
        ),
        Schema::Foreign { version } => Finding::fail(
            check,
            format!("version {version} was not made by this program"),
            "use another database, or restore this one",
        ),
    }
}

fn of_rights(found: &Examination) -> Finding {
    let check = "rights";
    if found.lacking.is_empty() {
        return Finding::ok(check, "all that is needed");
    }
    Finding::fail(
        check,
        format!("this user lacks {}", found.lacking.join(", ")),
        "GRANT them, or let the user own the database",
    )
}

fn of_connections(config: &Config, found: &Examination) -> Finding {
    let check = "connections";
    let notices = if config.bus == Bus::Postgres { LISTEN_CONNECTIONS } else { 0 };
    let needed = i64::from(config.database_connections + LEASE_CONNECTIONS + notices);
    let (allowed, open) = (found.connections.allowed, found.connections.open);
    let told =
        format!("a replica needs up to {needed}, the server allows {allowed}, of which {open} are open");
    if config.pooler == Pooler::Transaction {
        return Finding::ok(check, format!("{told}; the pooler shares them out"));
    }
    if needed > allowed {
        return Finding::fail(
            check,
            told,
            "lower --database-connections, or raise the server's max_connections",
        );
    }
    if needed > allowed - open {
        return Finding::warn(
            check,
            told,
            "one more replica may find none free: lower --database-connections, or raise the server's max_connections",
        );
    }
    Finding::ok(check, told)
}

fn of_pooler(pooler: Pooler, is_shared: bool) -> Finding {
    let check = "pooler";
    match (pooler, is_shared) {
        (Pooler::None, true) => Finding::fail(
            check,
            "one in between gives each transaction another session (pool_mode = transaction)",
            "give --database-pooler transaction and a --bus that needs no session, or set pool_mode = session",
        ),
        (Pooler::None, false) => Finding::ok(check, "none that shares sessions"),
        (Pooler::Transaction, true) => {
            Finding::ok(check, "one that gives each transaction another session, as it was told")
        }
        (Pooler::Transaction, false) => Finding::warn(
            check,
            "none was found that shares sessions",
            "if there is none, leave --database-pooler out: it costs round trips. A pooler that is busy may not be found",
        ),
    }
}

fn of_round_trip(config: &Config, median: Duration) -> Finding {
    let (check, told) = ("latency", format!("a round trip to the database takes {}", milliseconds(median)));
    let bound = ROUND_TRIP_MAX.min(config.lease_ttl / 20);
    if median <= bound {
        return Finding::ok(check, told);
    }
    Finding::warn(
        check,
        format!("{told}, more than {}", milliseconds(bound)),
        "run replicas near their database, or look what slows it; --lease-ttl has to be long compared with it",
    )
}

fn of_clock(ahead_ms: i64) -> Finding {
    let check = "clock";
    let off = Duration::from_millis(ahead_ms.unsigned_abs());
    if ahead_ms.abs() <= CLOCK_OFF_MS_MAX {
        return Finding::ok(check, format!("the database's and this host's differ by {}", milliseconds(off)));
    }
    let which = if ahead_ms > 0 { "ahead of" } else { "behind" };
    Finding::warn(
        check,
        format!("the database's is {off:?} {which} this host's"),
        "set both by NTP. Leases go by the database's alone, but tokens expire by this host's, and times in metrics, traces \
             and logs are wrong",
    )
}

pub(super) fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_clock_that_is_off_either_way_is_told() {
        for (ahead, verdict, word) in [
            (CLOCK_OFF_MS_MAX, Verdict::Ok, "differ by 1000.0 ms"),
            (CLOCK_OFF_MS_MAX + 1, Verdict::Warn, "ahead of"),
            (-CLOCK_OFF_MS_MAX, Verdict::Ok, "differ"),
            (-CLOCK_OFF_MS_MAX - 1, Verdict::Warn, "behind"),
            (i64::MIN + 1, Verdict::Warn, "behind"),
        ] {
            let finding = of_clock(ahead);
            assert!(finding.verdict == verdict && finding.found.contains(word), "{ahead}: {finding:?}");
        }
    }

    #[test]
    fn a_schema_of_another_program_fails_and_an_older_one_is_pending() {
        for (schema, verdict) in [
            (Schema::None, Verdict::Ok),
            (Schema::Current { version: 6 }, Verdict::Ok),
            (Schema::Older { version: 5, newest: 6 }, Verdict::Warn),
            (Schema::Ahead { version: 7, newest: 6 }, Verdict::Ok),
            (Schema::Newer { version: 1000, newest: 6 }, Verdict::Fail),
            (Schema::Foreign { version: 1 }, Verdict::Fail),
        ] {
            assert_eq!(of_schema(schema).verdict, verdict, "{schema:?}");
        }
    }
}
