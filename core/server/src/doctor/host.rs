//! What is looked at on this host: the files that flags name, the addresses to listen on, and the limit of open files.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::{Config, Generator};
use crate::descriptors;
use crate::failure::Failure;
use crate::limits::doctor::{CHECK_TIMEOUT, CONNECTIONS_ROOM_MIN, FILE_BYTES_MAX};
use crate::serve::{key_file, peer_secret, token_file};
use crate::tls;
use crate::wiring::{instructions, tool_file};

/// Others that may read or write a file, of its mode.
const OTHERS: u32 = 0o006;

pub(super) fn descriptors(config: &Config) -> Finding {
    let (check, share) = ("descriptors", descriptors::share(config));
    let told =
        format!("{} files may be open, which leaves room for {} clients", share.files, share.connections);
    if !share.suffices() {
        return Finding::fail(check, share.told(), "`LimitNOFILE=` of a systemd unit does the same");
    }
    if share.connections < CONNECTIONS_ROOM_MIN {
        let remedy = "raise it for a replica that many watch: `ulimit -n 65536`, or `LimitNOFILE=65536` of a systemd unit";
        return Finding::warn(check, told, remedy);
    }
    Finding::ok(check, told)
}

/// Waits for files no longer than for anything else: one may be on a network, or be a pipe.
pub(super) async fn files(config: &Config, file_of_settings: Option<&Path>) -> Vec<Finding> {
    let (config, settings) = (config.clone(), file_of_settings.map(Path::to_owned));
    let looking = tokio::task::spawn_blocking(move || look_at_files(&config, settings.as_deref()));
    match timeout(CHECK_TIMEOUT, looking).await {
        Ok(Ok(findings)) => findings,
        _ => vec![Finding::fail(
            "files",
            format!("they could not be read within {CHECK_TIMEOUT:?}"),
            "look whether one of those that flags name is a pipe, or on a network that is away",
        )],
    }
}

fn look_at_files(config: &Config, settings: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![];
    let mut look = |flag, path: Option<&Path>, is_secret, read: &dyn Fn() -> Result<(), Failure>| {
        if let Some(path) = path {
            findings.push(file(flag, path, is_secret, read));
        }
    };
    // It was read already.
    look("--config", settings, settings.is_some_and(holds_a_secret), &|| Ok(()));
    let auth_file = config.auth_file.as_deref();
    look("--auth-file", auth_file, true, &|| token_file(config).map(drop));
    let jwt_key = config.access.jwt.as_ref().and_then(|jwt| jwt.key_file.as_deref());
    look("--jwt-key-file", jwt_key, true, &|| key_file(config).map(drop));
    if let Some(files) = &config.tls {
        look("--tls-key", Some(&*files.key), true, &|| tls::for_clients(files).map(drop));
    }
    if let Some(files) = &config.relay_tls {
        look("--relay-tls-key", Some(&*files.key), true, &|| tls::for_relay(files).map(drop));
    }
    look("--peer-secret-file", config.peer_secret_file.as_deref(), true, &|| peer_secret(config).map(drop));
    look("--instructions-file", config.instructions_file.as_deref(), false, &|| {
        instructions(config).map(drop)
    });
    look("--tools", config.tools.as_deref(), false, &|| tool_file(config).map(drop));
    findings.extend(config.record.as_deref().map(record));
    findings.extend(key(config));
    findings
}

/// Whether a file of settings names a URL with a password, as far as that can be told.
fn holds_a_secret(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.split_once("://").is_some_and(|(_, rest)| rest.contains('@')))
}

fn file(flag: &'static str, path: &Path, is_secret: bool, read: &dyn Fn() -> Result<(), Failure>) -> Finding {
    let place = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(flag, format!("{place}: {error}")),
    };
    if metadata.len() > FILE_BYTES_MAX {
        return Finding::fail(flag, format!("{place} has {} bytes", metadata.len()), "name the right file");
    }
    match read() {
        Err(Failure::Environment(why)) => unreadable(flag, without_flag(flag, &why)),
        Err(Failure::Usage(why)) => Finding::fail(flag, without_flag(flag, &why), "mend what is in it"),
        Ok(()) if is_secret && is_open(&metadata) => Finding::warn(
            flag,
            format!("{place} has secrets, and its mode is {:o}", metadata.permissions().mode() & 0o777),
            "let nobody but the server's user read it: chmod 600",
        ),
        Ok(()) => Finding::ok(flag, place.to_string()),
    }
}

fn unreadable(flag: &'static str, told: String) -> Finding {
    Finding::fail(flag, told, "name a file that is there and that this user may read")
}

fn without_flag(flag: &str, why: &str) -> String {
    why.strip_prefix(flag).unwrap_or(why).trim_start().to_owned()
}

fn is_open(file: &Metadata) -> bool {
    file.permissions().mode() & OTHERS != 0
}

fn record(path: &Path) -> Finding {
    let flag = "--record";
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_writable =
        |path: &Path| fs::metadata(path).is_ok_and(|it| it.is_dir() && !it.permissions().readonly());
    match is_writable(path) || (!path.exists() && is_writable(parent)) {
        true => Finding::ok(flag, path.display().to_string()),
        false => Finding::fail(
            flag,
            format!("{}: no directory that this user may write to", path.display()),
            "name one that is there, or whose parent is",
        ),
    }
}

/// The key of the model's provider is in the environment.
fn key(config: &Config) -> Option<Finding> {
    let Generator::OpenAi { .. } = config.generator else { return None };
    let variable = "OPENAI_API_KEY";
    let is_set = std::env::var_os(variable).is_some_and(|key| !key.is_empty());
    Some(match is_set {
        true => Finding::ok(variable, "it is set"),
        false => Finding::warn(variable, "it is not set", "set it, unless this endpoint asks for none"),
    })
}

/// Whether the addresses to listen on can be had.
pub(super) async fn addresses(config: &Config) -> Vec<Finding> {
    let mut findings = vec![of_strangers(config).await];
    let listen = Some(&config.listen);
    let relay = Some(&config.relay_listen).filter(|_| !config.is_alone());
    let all = [
        ("--listen", listen),
        ("--relay-listen", relay),
        ("--internal-listen", config.insight.internal_listen.as_ref()),
    ];
    for (flag, address) in all {
        if let Some(address) = address {
            findings.push(Some(free(flag, address).await));
        }
    }
    findings.into_iter().flatten().collect()
}

async fn free(flag: &'static str, given: &str) -> Finding {
    let found = match timeout(CHECK_TIMEOUT, lookup_host(given)).await {
        Err(_) => Err(format!("{given}: the name was not found within {CHECK_TIMEOUT:?}")),
        Ok(Err(error)) => Err(format!("{given}: {error}")),
        Ok(Ok(found)) => Ok(found.collect::<Vec<_>>()),
    };
    let found = match found {
        Ok(found) => found,
        Err(told) => {
            return Finding::fail(flag, told, "expected HOST:PORT, with a name or an address of this host");
        }
    };
    // As the server binds it, so that what was closed a moment ago does not count.
    match tokio::net::TcpListener::bind(&found[..]).await {
        Ok(_) => Finding::ok(flag, format!("{given} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::fail(
            flag,
            format!("{given} is in use"),
            "stop what listens there, or give another port; a replica that runs already is well, and is asked by /readyz",
        ),
        Err(error) => Finding::fail(
            flag,
            format!("{given}: {error}"),
            "give an address of this host that this user may bind",
        ),
    }
}

/// What anybody could do, as the server refuses it at its start.
async fn of_strangers(config: &Config) -> Option<Finding> {
    if config.auth_file.is_some() {
        return None;
    }
    let found = timeout(CHECK_TIMEOUT, lookup_host(&config.listen)).await.ok()?.ok()?;
    let is_open = found.into_iter().any(|address| !address.ip().is_loopback());
    let told = format!("{} is reached from other hosts, where anybody may do anything", config.listen);
    match (is_open, config.insecure) {
        (false, _) => None,
        (true, true) => {
            Some(Finding::warn("authentication", told, "give --auth-file, if that is not what you want"))
        }
        (true, false) => Some(Finding::fail(
            "authentication",
            told,
            "give --auth-file, or --insecure if that is what you want",
        )),
    }
}
