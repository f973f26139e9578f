//! Whether notices pass: one is published on a channel that nobody else knows, and has to come back.

use tokio::time::timeout;

use super::database::milliseconds;
use super::finding::Finding;
use crate::adapters::{notify_oneself, publish_to_oneself};
use crate::config::{Bus, BusAddress, Config};
use crate::limits::doctor::CHECK_TIMEOUT;

const BUS: &str = "bus";

/// Looks at the bus. On PostgreSQL only where the database answers.
pub(super) async fn check(config: &Config, has_database: bool) -> Option<Finding> {
    let (place, asking) = match &config.bus {
        Bus::Local if config.is_alone() => return None,
        Bus::Local => {
            let told = "none: replicas hear of each other's changes when they poll";
            return Some(Finding::ok(BUS, format!("{told}, each {:?}", config.poll_interval)));
        }
        Bus::Postgres if !has_database => {
            return Some(Finding::warn(
                BUS,
                "it is the database's, which was not looked at",
                "mend the database first",
            ));
        }
        Bus::Postgres => {
            ("PostgreSQL's NOTIFY".into(), timeout(CHECK_TIMEOUT, notify_oneself(&config.database)).await)
        }
        Bus::Served { address, prefix } => {
            let place = match address {
                BusAddress::Nats(address) => address.to_string(),
                BusAddress::Redis(address) => address.to_string(),
            };
            (place, timeout(CHECK_TIMEOUT, publish_to_oneself(address, prefix)).await)
        }
    };
    Some(match asking {
        Ok(Ok(took)) => Finding::ok(BUS, format!("{place}: a notice came back after {}", milliseconds(took))),
        Ok(Err(why)) => Finding::fail(BUS, format!("{place}: {why}"), remedy(&config.bus)),
        Err(_) => Finding::fail(
            BUS,
            format!("{place}: no notice came within {CHECK_TIMEOUT:?}"),
            remedy(&config.bus),
        ),
    })
}

fn remedy(bus: &Bus) -> &'static str {
    match bus {
        Bus::Served { .. } => {
            "start the server, or mend --bus and what its user may do; until then replicas only poll, and viewers wait"
        }
        _ => "connect to PostgreSQL directly, or by a pooler in session mode; or choose another --bus",
    }
}
