//! The process, as the kernel counts it, under the names that Prometheus's clients have for it.

use std::fmt;

use procfs::process::LimitValue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc` at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(process) = procfs::process::Process::myself() else { return Ok(()) };
        let Ok(stat) = process.stat() else { return Ok(()) };
        let ticks = procfs::ticks_per_second() as f64;
        let help = "CPU time that was spent";
        let cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new((stat.utime + stat.stime) as f64 / ticks).encode(cpu)?;
        let started = procfs::boot_time_secs().map(|boot| boot as f64 + stat.starttime as f64 / ticks);
        let limits = process.limits().map(|limits| limits.max_open_files.soft_limit);
        let files_max = match limits {
            Ok(LimitValue::Value(max)) => Some(max as f64),
            _ => None,
        };
        let gauges = [
            ("process_start_time_seconds", "When it was started, since the epoch", started.ok()),
            (
                "process_resident_memory_bytes",
                "Memory that it has",
                Some((stat.rss * procfs::page_size()) as f64),
            ),
            ("process_virtual_memory_bytes", "Addresses that it has", Some(stat.vsize as f64)),
            ("process_threads", "Its threads", Some(stat.num_threads as f64)),
            ("process_open_fds", "Its open files", process.fd_count().ok().map(|count| count as f64)),
            ("process_max_fds", "Files that it may have open", files_max),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(gauge)?;
            }
        }
        Ok(())
    }
}
