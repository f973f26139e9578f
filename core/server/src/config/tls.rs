//! TLS: for clients, and between replicas.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::group::{Group, or};

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TlsOptions {
    /// The certificates of this server in PEM, its own first: clients connect in TLS alone
    #[arg(long, env = "MAINSTEM_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key that belongs to --tls-cert, in PEM
    #[arg(long, env = "MAINSTEM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The certificate by which this replica proves to peers who it is, in PEM
    #[arg(long, env = "MAINSTEM_RELAY_TLS_CERT", value_name = "FILE")]
    pub relay_tls_cert: Option<PathBuf>,
    /// The private key that belongs to --relay-tls-cert, in PEM
    #[arg(long, env = "MAINSTEM_RELAY_TLS_KEY", value_name = "FILE")]
    pub relay_tls_key: Option<PathBuf>,
    /// The authorities that sign peers' certificates, in PEM
    #[arg(long, env = "MAINSTEM_RELAY_TLS_CA", value_name = "FILE")]
    pub relay_tls_ca: Option<PathBuf>,
    /// The name that all peers' certificates have [default: the host by which a peer is reached]
    #[arg(long, env = "MAINSTEM_RELAY_TLS_NAME", value_name = "NAME")]
    pub relay_tls_name: Option<String>,
}

impl Group for TlsOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: tls_cert, tls_key, relay_tls_cert, relay_tls_key, relay_tls_ca, relay_tls_name)
    }
}

/// For clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificates: PathBuf,
    pub key: PathBuf,
}

/// Between replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTls {
    pub certificates: PathBuf,
    pub key: PathBuf,
    pub authorities: PathBuf,
    /// What all of them are called.
    pub name: Option<String>,
}

impl TlsOptions {
    pub(super) fn check(self) -> Result<(Option<Tls>, Option<RelayTls>), String> {
        let clients = match (self.tls_cert, self.tls_key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some(Tls { certificates, key }),
            _ => return Err("--tls-cert and --tls-key belong together: give both, or none".into()),
        };
        let relay = match (self.relay_tls_cert, self.relay_tls_key, self.relay_tls_ca) {
            (None, None, None) if self.relay_tls_name.is_some() => {
                return Err("--relay-tls-name names nobody without --relay-tls-cert, -key and -ca".into());
            }
            (None, None, None) => None,
            (Some(certificates), Some(key), Some(authorities)) => {
                Some(RelayTls { certificates, key, authorities, name: self.relay_tls_name })
            }
            _ => {
                return Err(
                    "--relay-tls-cert, --relay-tls-key and --relay-tls-ca belong together: give all, or none"
                        .into(),
                );
            }
        };
        Ok((clients, relay))
    }
}
