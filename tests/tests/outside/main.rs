//! The whole system from outside: the shipped binary as processes, on a real PostgreSQL or SQLite. One
//! program, so that all tests share one PostgreSQL server; each test has a database of its own.

mod blocks;
mod bodies;
mod bytes;
mod cluster;
mod come_back;
mod command_line;
mod crashes;
mod damaged;
mod database;
mod descriptors;
mod drain;
mod full_pool;
mod generators;
mod hosts;
mod http;
mod large_reads;
mod limits;
mod logs;
mod members;
mod names;
mod pgbouncer;
mod provider_network;
mod provider_retries;
mod providers;
mod proxies;
mod relay;
mod slow_readers;
mod standby;
mod stories;
mod tapes;
mod terminals;
mod tokens;
mod tools;
mod turns;
mod upgrades;
