//! The report of a load run.

use std::collections::BTreeMap;

use serde_json::json;

use super::shared::Shared;
use super::viewer::Watched;
use crate::client::latencies::Latencies;

#[derive(Debug)]
pub(super) struct Report {
    servers: Vec<String>,
    chats: u32,
    viewers: u32,
    seconds: f64,
    parts: u64,
    reconnects: u64,
    latencies: Latencies,
    violations: BTreeMap<&'static str, u64>,
}

impl Report {
    pub(super) fn new(servers: &[String], chats: u32, viewers: u32, seconds: f64) -> Self {
        Self {
            servers: servers.to_vec(),
            chats,
            viewers,
            seconds,
            parts: 0,
            reconnects: 0,
            latencies: Latencies::default(),
            violations: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, watched: &Watched) {
        self.parts += watched.parts;
        self.reconnects += watched.reconnects;
        self.latencies.merge(&watched.latencies);
    }

    pub(super) fn finish(&mut self, shared: &Shared) {
        self.violations = shared.violations();
    }

    pub(super) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub(super) fn print(&self, as_json: bool) {
        let per_second = self.parts as f64 / self.seconds.max(f64::MIN_POSITIVE);
        let violations: u64 = self.violations.values().sum();
        let [p50, p99] = [500, 990].map(|per_mille| self.latencies.quantile(per_mille));
        let max = self.latencies.max();
        if as_json {
            let summary = json!({
                "servers": self.servers, "chats": self.chats, "viewers": self.viewers, "seconds": self.seconds,
                "parts": self.parts, "parts_per_second": per_second, "frames": self.latencies.count(),
                "latency_us": {"p50": p50, "p99": p99, "max": max}, "reconnects": self.reconnects,
                "violations": violations, "violations_by_guarantee": self.violations,
            });
            println!("{summary}");
            return;
        }
        let ms = |micros: u64| micros as f64 / 1000.0;
        println!("parts       {} in {:.1} s, {per_second:.0} per second", self.parts, self.seconds);
        println!("latency     p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", ms(p50), ms(p99), ms(max));
        println!("reconnects  {}", self.reconnects);
        println!(
            "violations  {violations} {}",
            if violations == 0 { String::new() } else { format!("{:?}", self.violations) }
        );
    }
}
