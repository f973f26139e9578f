//! Proxies before a replica, as Debian ships them: nginx and haproxy, each on a free port of the loopback,
//! with all its files in a directory of its own.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstem_programs::{HAPROXY, NGINX, Program};

use crate::client::Client;
use crate::deadline::WAIT_MAX;
use crate::last_will::LastWill;
use crate::process::free_port;
use crate::scratch::Scratch;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Tries to find a port that is still free when the proxy takes it.
const PORTS_TRIED_MAX: usize = 5;

/// A proxy that runs. `Debug` says where.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    child: Child,
    _last_will: LastWill,
    _directory: Scratch,
}

impl Proxy {
    /// nginx as a guide for a chat's server has it: HTTP/1.1 to the server, upgrades, compression. It
    /// collects what comes, as it does unless told otherwise.
    pub async fn nginx(upstream: &str) -> Self {
        Self::nginx_with(
            upstream,
            "gzip on; gzip_min_length 1; gzip_types text/event-stream application/json;
             proxy_http_version 1.1; proxy_set_header Host $http_host;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrades;",
        )
        .await
    }

    /// nginx that says whom a request is from, as its own guide has it.
    pub async fn nginx_that_tells_addresses(upstream: &str) -> Self {
        Self::nginx_with(
            upstream,
            "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection '';
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        )
        .await
    }

    /// nginx with no setting but where the server is: HTTP/1.0 to it, under its address.
    pub async fn bare_nginx(upstream: &str) -> Self {
        Self::nginx_with(upstream, "").await
    }

    async fn nginx_with(upstream: &str, settings: &str) -> Self {
        let config = |directory: &str, port: u16| {
            format!(
                "daemon off; master_process off; pid {directory}/pid; error_log stderr;
                 events {{ worker_connections 64; }}
                 http {{
                     access_log off;
                     client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
                     fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
                     scgi_temp_path {directory}/scgi;
                     map $http_upgrade $upgrades {{ default upgrade; '' ''; }}
                     server {{
                         listen 127.0.0.1:{port};
                         location / {{ proxy_pass http://{upstream}; {settings} }}
                     }}
                 }}"
            )
        };
        Self::start(NGINX, &["-e", "stderr", "-c"], config).await
    }

    /// haproxy that compresses.
    pub async fn haproxy(upstream: &str) -> Self {
        let config = |_: &str, port: u16| {
            format!(
                "global
                     maxconn 64
                 defaults
                     mode http
                     timeout connect 5s
                     timeout client 5m
                     timeout server 5m
                     timeout tunnel 5m
                     compression algo gzip
                     compression type text/event-stream application/json
                 frontend clients
                     bind 127.0.0.1:{port}
                     default_backend replicas
                 backend replicas
                     server replica {upstream}\n"
            )
        };
        Self::start(HAPROXY, &["-db", "-f"], config).await
    }

    /// haproxy with this file, which is given the port to listen on.
    pub async fn haproxy_with(config: impl Fn(u16) -> String) -> Self {
        Self::start(HAPROXY, &["-db", "-f"], |_, port| config(port)).await
    }

    /// Starts the program with the file of `config`, which gets a directory and a port.
    async fn start(program: Program, flags: &[&str], config: impl Fn(&str, u16) -> String) -> Self {
        let directory = Scratch::new();
        let path = directory.path().to_str().expect("a path of UTF-8");
        let mut tried = 0;
        loop {
            tried += 1;
            let port = free_port();
            let file = directory.file("config", &config(path, port));
            let mut command = Command::new(program.path().unwrap_or_else(|missing| panic!("{missing}")));
            command.args(flags).arg(file).current_dir(path).stdin(Stdio::null()).stdout(Stdio::null());
            if tried < PORTS_TRIED_MAX {
                command.stderr(Stdio::null());
            }
            let mut child =
                command.spawn().unwrap_or_else(|error| panic!("{program:?} does not start: {error}"));
            let will = LastWill::new("kill -KILL \"$1\"", &[&child.id().to_string()]);
            let last_will = will.expect("a shell starts");
            let address = format!("127.0.0.1:{port}");
            if listens(&mut child, &address).await {
                return Self { address, child, _last_will: last_will, _directory: directory };
            }
            assert!(tried < PORTS_TRIED_MAX, "{program:?} ended at once");
        }
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until it takes connections; `false` if it ended instead.
async fn listens(child: &mut Child, address: &str) -> bool {
    let deadline = Instant::now() + WAIT_MAX;
    while TcpStream::connect(address).is_err() {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "it does not listen within {WAIT_MAX:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    child.try_wait().expect("a child can be waited for").is_none()
}
