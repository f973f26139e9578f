//! What two threads of a replica gain against one: chats whose answers come as fast as they can be told, first with one thread for each replica,
//! then with two. Who watches is `mainstem load`, with two threads of its own.

use std::time::Duration;

use super::figures::{Measured, figures};
use super::paced::{Load, Told, told};
use super::{Program, Stage};

figures! {
    /// Cores: the seconds of CPU that both replicas took of each second.
    Figures {
        one_parts_per_second,
        two_parts_per_second,
        one_cpu_us_per_part,
        two_cpu_us_per_part,
        one_cores,
        two_cores,
        one_latency_p99_ms,
        two_latency_p99_ms,
    }
}

fn load_of(is_quick: bool, flags: &'static [&'static str]) -> Load {
    let (chats, seconds) = if is_quick { (10, 1) } else { (50, 10) };
    Load { chats, rate: 0, window: Duration::from_secs(seconds), flags }
}

pub(super) fn extent(is_quick: bool) -> Measured {
    let Load { chats, window, .. } = load_of(is_quick, &[]);
    vec![("chats", chats as f64), ("window_seconds", window.as_secs_f64())]
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let one = told(stage, program, load_of(stage.is_quick, &["--runtime-threads", "1"])).await?;
    let two = told(stage, program, load_of(stage.is_quick, &["--runtime-threads", "2"])).await?;
    let cores = |told: &Told| told.servers_cpu_us_per_part() * told.parts_per_second / 1e6;
    let figures = Figures {
        one_parts_per_second: one.parts_per_second,
        two_parts_per_second: two.parts_per_second,
        one_cpu_us_per_part: one.servers_cpu_us_per_part(),
        two_cpu_us_per_part: two.servers_cpu_us_per_part(),
        one_cores: cores(&one),
        two_cores: cores(&two),
        one_latency_p99_ms: one.latency_p99_ms,
        two_latency_p99_ms: two.latency_p99_ms,
    };
    Ok(figures.named())
}
