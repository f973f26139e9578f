//! The simulated cluster: several replicas of the product, with all they need, on one virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mainstem_machine::ReplicaId;
use mainstem_oracles::{Evidence, FaultKind, Life, Name};
use mainstem_runtime::ports::{Env, Ports, Untraced};
use mainstem_runtime::tape::Recording;
use mainstem_runtime::{Node, NodeConfig, RelayConfig};
pub use mainstem_story::Settings;
use mainstem_story::TOOL_TIMEOUT;

use crate::bus::Messenger;
use crate::database::Database;
use crate::edge;
use crate::env::SimEnv;
use crate::model::ModelControl;
use crate::net::{Death, Net};
use crate::tools::SimTools;
use crate::world::World;

#[derive(Debug)]
pub struct Cluster {
    pub world: World,
    pub net: Net,
    pub database: Database,
    pub messenger: Messenger,
    pub model_control: ModelControl,
    pub settings: Settings,
    /// Of replicas that start from now on.
    pub recording: Option<Recording>,
    replicas: BTreeMap<String, Replica>,
    /// How often any replica was started.
    starts: u64,
    wrong_secrets: BTreeSet<String>,
    /// Replicas that have the wrong secret only until the recovery phase.
    wrong_until_recovery: BTreeSet<String>,
}

#[derive(Debug)]
struct Replica {
    env: SimEnv,
    node: Arc<Mutex<Option<Node<SimEnv>>>>,
    paused: bool,
    up: bool,
    draining: bool,
}

impl Cluster {
    pub fn new(world: World, settings: Settings) -> Self {
        world.observe(Evidence::Settings(mainstem_oracles::Settings {
            lease_ttl: settings.lease_ttl,
            poll_interval: settings.poll_interval,
            workers: settings.workers,
            episode_bytes_max: settings.episode_bytes_max,
            drain_timeout: settings.drain_timeout,
            tool_timeout: TOOL_TIMEOUT,
        }));
        let net = Net::new(&world);
        net.set_vary(settings.vary);
        let database = Database::new(&world, settings.lease_ttl);
        database.set_vary(settings.vary);
        database.set_tail_messages_max(settings.tail_messages_max);
        let messenger = Messenger::new(&world);
        let model_control = ModelControl::new(&world);
        let replicas = BTreeMap::new();
        let (wrong_secrets, wrong_until_recovery) = (BTreeSet::new(), BTreeSet::new());
        Self {
            world,
            net,
            database,
            messenger,
            model_control,
            settings,
            recording: None,
            replicas,
            starts: 0,
            wrong_secrets,
            wrong_until_recovery,
        }
    }

    /// Gives the replica another secret than the others, from its next start on.
    pub fn set_wrong_secret(&mut self, name: &str) {
        self.wrong_secrets.insert(name.to_owned());
    }

    /// Restarts the replica with another secret than the others, until the recovery phase.
    pub fn restart_with_wrong_secret(&mut self, name: &str) {
        self.world.landed(FaultKind::AnotherSecret, name, format_args!("its peers deny it"));
        self.wrong_until_recovery.insert(name.to_owned());
        self.set_wrong_secret(name);
        self.start(name);
    }

    /// Starts a replica, for the first time or again. If it is still running, it is stopped first.
    pub fn start(&mut self, name: &str) {
        self.take_down(name, Death::Exit);
        self.net.bring_up(name);
        self.starts += 1;
        let replica = ReplicaId::new(name).expect("a replica's name is an id");
        self.database.claim_name(&replica, self.starts);
        let env = SimEnv::new(&self.world, &self.net, name);
        let Settings {
            lease_ttl, heartbeat, poll_interval, drain_timeout, workers, episode_bytes_max, ..
        } = self.settings;
        // Two replicas with different secrets deny each other.
        for other in self.replicas.keys() {
            if self.wrong_secrets.contains(other) != self.wrong_secrets.contains(name) {
                let (one, other) = (Name::from(name), Name::from(other.as_str()));
                self.world.observe(Evidence::Denies { from: one.clone(), to: other.clone() });
                self.world.observe(Evidence::Denies { from: other, to: one });
            }
        }
        let secret: &[u8] = match self.wrong_secrets.contains(name) {
            false => b"the peers of a simulated cluster",
            true => b"somebody else's secret",
        };
        let config = NodeConfig {
            replica,
            incarnation: self.starts,
            workers,
            lease_ttl,
            heartbeat,
            poll_interval,
            drain_timeout,
            episode_bytes_max,
            tool_steps_max: 32,
            relay: Some(RelayConfig {
                listen: format!("{name}:7400"),
                advertise: None,
                secret: secret.into(),
            }),
            recording: self.recording.clone(),
        };
        let ports = Ports {
            store: Arc::new(self.database.store(&env, name)),
            bus: Arc::new(self.messenger.bus(name)),
            generator: Arc::new(self.model_control.generator(name)),
            tools: Arc::new(SimTools::new(&self.world, &self.model_control, name)),
            hops: Arc::new(Untraced),
        };
        let node = Arc::new(Mutex::new(None));
        let (slot, starting, world) = (node.clone(), env.clone(), self.world.clone());
        env.spawn(async move {
            let name = starting.name().to_owned();
            match Node::start(starting.clone(), config, ports).await {
                Ok(node) => {
                    *slot.lock().expect("a replica is whole") = Some(node.clone());
                    world.trace(&name, format_args!("is up"));
                    world.observe(Evidence::Lived { replica: name.as_str().into(), life: Life::Up });
                    if let Err(error) = edge::serve(starting, node).await {
                        world.trace(&name, format_args!("takes no more clients: {error}"));
                    }
                }
                Err(error) => world.trace(&name, format_args!("cannot start: {error}")),
            }
        })
        .detach();
        self.replicas
            .insert(name.to_owned(), Replica { env, node, paused: false, up: true, draining: false });
    }

    pub fn names(&self) -> Vec<String> {
        self.replicas.keys().cloned().collect()
    }

    pub fn is_up(&self, name: &str) -> bool {
        self.replicas.get(name).is_some_and(|replica| replica.up)
    }

    /// The driver of a replica, once it has started.
    pub fn node(&self, name: &str) -> Option<Node<SimEnv>> {
        self.replicas.get(name)?.node.lock().expect("a replica is whole").clone()
    }

    /// The number of tasks of the replica since its last start.
    pub fn tasks(&self, name: &str) -> usize {
        self.replicas.get(name).map_or(0, |replica| replica.env.tasks())
    }

    pub fn take_down(&mut self, name: &str, death: Death) {
        let Some(replica) = self.replicas.get_mut(name).filter(|replica| replica.up) else { return };
        let life = if death == Death::Machine { Life::Vanished } else { Life::Crashed };
        self.world.observe(Evidence::Lived { replica: name.into(), life });
        self.net.take_down(name, death);
        replica.env.kill();
        replica.up = false;
        self.messenger.forget(name);
    }

    pub fn pause(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name).filter(|replica| replica.up && !replica.paused) {
            self.world.landed(FaultKind::Pause, name, format_args!("stands still"));
            self.world.observe(Evidence::Lived { replica: name.into(), life: Life::Paused });
            replica.env.pause();
            replica.paused = true;
        }
    }

    /// Makes its clock run fast by this many thousandths.
    pub fn set_drift(&self, name: &str, drift: i32) {
        if let Some(replica) = self.replicas.get(name).filter(|replica| replica.up) {
            if drift != 0 {
                self.world.landed(FaultKind::ClockDrifts, name, format_args!("by {drift} in a thousand"));
            }
            let per_mille = drift.unsigned_abs();
            self.world.observe(Evidence::Drifts { replica: name.into(), per_mille });
            replica.env.set_drift(drift);
        }
    }

    pub fn resume(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name).filter(|replica| replica.paused) {
            self.world.trace(name, format_args!("goes on"));
            self.world.observe(Evidence::Lived { replica: name.into(), life: Life::Resumed });
            replica.env.resume();
            replica.paused = false;
        }
    }

    /// Begins to drain. The returned cell becomes true when draining is done.
    pub fn drain(&mut self, name: &str) -> Arc<Mutex<bool>> {
        let done = Arc::new(Mutex::new(false));
        let node = self.node(name).filter(|_| self.is_up(name));
        if let (Some(replica), Some(node)) = (self.replicas.get_mut(name), node) {
            self.world.landed(FaultKind::Drain, name, format_args!("begins"));
            self.world.observe(Evidence::Lived { replica: name.into(), life: Life::Draining });
            replica.draining = true;
            let (done, world, name) = (done.clone(), self.world.clone(), name.to_owned());
            replica
                .env
                .spawn(async move {
                    node.drain().await;
                    world.trace(&name, format_args!("has drained"));
                    *done.lock().expect("a flag is whole") = true;
                })
                .detach();
        }
        done
    }

    /// Clears all faults, and starts every replica that is down or drained.
    pub fn clear_faults(&mut self) {
        self.net.clear_faults();
        self.database.clear_faults();
        self.messenger.clear_faults();
        for name in std::mem::take(&mut self.wrong_until_recovery) {
            self.wrong_secrets.remove(&name);
            self.start(&name);
        }
        for name in self.names() {
            self.resume(&name);
            self.set_drift(&name, 0);
            if self.replicas.get(&name).is_none_or(|replica| !replica.up || replica.draining) {
                self.start(&name);
            }
        }
        self.world.observe(Evidence::FaultsCleared);
    }
}
