//! Building the broker in order, running it, stopping it.
//!
//! What does not live here: what the parts do. The main thread becomes the control thread: signals and the
//! administration run there, clients are served by the shards.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use listeners::BoundListener;
use tokio::sync::watch;

use crate::audit::{self, AuditLog, Event};
use crate::authn::{Authenticator, Sources};
use crate::cli::Exit;
use crate::config::{Config, Loaded};
use crate::control::{Control, Door};
use crate::gate::Gate;
use crate::logging::Logging;
use crate::metrics::Metrics;
use crate::node::{Node, Parts, Snapshot};
use crate::shard::{self, end};
use crate::systemd::Inherited;
use crate::{admin, doors, persistence, rules, service, sys_topics, systemd};

/// Why the broker did not start; the text tells the operator what to change.
#[derive(Debug)]
pub enum StartError {
    /// The configuration, or a file it names, is wrong.
    Config(String),
    /// The machine does not let us.
    System(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(text) | Self::System(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

/// A running broker.
pub struct Broker {
    node: Arc<Node>,
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker: binds everything first, so that an address in use is told before anybody is served.
    pub fn start(loaded: &Loaded) -> Result<Self, StartError> {
        Self::start_with(loaded, Vec::new(), None)
    }

    /// The same, with sockets that listen already (systemd): a listener of that name takes it and binds nothing.
    ///
    /// `logging` lets levels be changed at run time.
    pub fn start_with(
        loaded: &Loaded,
        inherited: Vec<Inherited>,
        logging: Option<Logging>,
    ) -> Result<Self, StartError> {
        // A second broker in the process finds it installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = &loaded.config;
        let shards = match config.node.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        let bound = bind_all(config, inherited)?;
        let metrics = Metrics::default();
        let acl = rules::load(config).map_err(|acl| StartError::Config(auth::render(&acl.errors)))?;
        let snapshot = Snapshot::new(1, loaded, Arc::new(acl), &metrics, shards, None);
        let (store, restored) = persistence::open(config).map_err(StartError::System)?;
        let sources = Sources::read(&config.auth).map_err(StartError::Config)?;
        let node = Node::new(Parts {
            store,
            audit: open_audit(config)?,
            snapshot,
            metrics,
            gate: Gate::new(config),
            authenticator: Authenticator::new(sources, shards),
            shards,
        });
        node.doctor.configure(loaded);
        let threads = (0..shards)
            .map(|index| start_shard(index, &node))
            .collect::<Result<Vec<_>, _>>()?;
        persistence::follow(&node);
        persistence::restore(&node, restored);
        let doors = bound
            .into_iter()
            .enumerate()
            .map(|(index, door)| open(&node, door, index % shards))
            .collect();
        let control = Control::new(Arc::clone(&node), doors, loaded.clone(), logging);
        node.audit.record(Event::Start(env!("CARGO_PKG_VERSION")));
        Ok(Self {
            node,
            control,
            threads,
        })
    }

    /// What its shards share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Where its listeners really listen, by name.
    pub fn local(&self, name: &str) -> Option<listeners::Bind> {
        self.control.local(name)
    }

    /// What the administration asks.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Stops: no new connections, DISCONNECT 0x8B to everybody, the shards end, the audit log is written out.
    pub fn stop(mut self) {
        self.node.draining.store(true, Ordering::Relaxed);
        self.control.stop_accepting();
        let (done, waiting) = std::sync::mpsc::channel();
        for inbox in &self.node.inboxes {
            let done = done.clone();
            inbox.run(move |shard| {
                for who in shard.everybody() {
                    shard.close(who, &end::Cause::Shutdown);
                }
                // The receiver waits for as many answers as there are shards.
                let _ = done.send(());
            });
        }
        let grace = self.node.snapshot.load().config.node.shutdown_grace;
        for _ in 0..self.node.inboxes.len() {
            if waiting.recv_timeout(grace.max(Duration::from_secs(1))).is_err() {
                break;
            }
        }
        if !self.node.store.flush() {
            tracing::error!("store: what was written last is not on disk");
        }
        self.node.audit.record(Event::Stop);
        self.node.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard has panicked");
            }
        }
        self.node.audit.flush();
    }
}

/// Starts accepting on a listener, on the thread of `shard`.
pub(crate) fn open(node: &Arc<Node>, listener: BoundListener, shard: usize) -> Door {
    let (accepting, mut told) = watch::channel(true);
    let door = Door {
        listener: Arc::clone(listener.shared()),
        accepting,
    };
    let handler = Arc::clone(node);
    node.inboxes[shard].run(move |_| {
        tokio::spawn(async move {
            let name = Arc::clone(&listener.shared().spec().name);
            let closed = async move {
                // An error means that the broker is gone.
                let _ = told.wait_for(|&go_on| !go_on).await;
            };
            if let Err(error) = listeners::accept_loop(listener, handler, closed).await {
                tracing::error!("listener {name}: stopped accepting: {error}");
            }
        });
    });
    door
}

fn bind_all(config: &Config, mut inherited: Vec<Inherited>) -> Result<Vec<BoundListener>, StartError> {
    let mut bound = Vec::new();
    for listener in config.listeners.iter().filter(|l| l.enabled) {
        let spec = doors::spec(listener, config).map_err(StartError::Config)?;
        let what = |error: std::io::Error| {
            StartError::System(format!(
                "listeners.{}: cannot listen on {}: {error}",
                listener.name, listener.bind
            ))
        };
        let given = inherited.iter().position(|socket| socket.name == listener.name);
        let door = match given.map(|at| inherited.swap_remove(at)) {
            Some(socket) => listeners::bind_inherited(spec, socket.fd),
            None => listeners::bind(spec),
        };
        bound.push(door.map_err(what)?);
    }
    for socket in inherited {
        tracing::warn!(
            "systemd passed a socket named {}, but no enabled listener has that name",
            socket.name
        );
    }
    Ok(bound)
}

fn open_audit(config: &Config) -> Result<AuditLog, StartError> {
    let settings =
        audit::Settings::from_config(&config.audit, &config.node.name).map_err(StartError::Config)?;
    AuditLog::open(settings).map_err(|error| StartError::System(error.to_string()))
}

fn start_shard(index: usize, node: &Arc<Node>) -> Result<JoinHandle<()>, StartError> {
    let node = Arc::clone(node);
    let run = move || {
        if let Err(error) = shard::run(index as u16, &node) {
            tracing::error!("shard {index} did not start: {error}");
        }
    };
    let thread = std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(run);
    thread.map_err(|error| StartError::System(format!("cannot start a thread: {error}")))
}

/// `broker run`: starts, serves until a signal says stop, stops.
pub fn run(loaded: &Loaded) -> ExitCode {
    // Logging that somebody else has started is good enough.
    let logging = crate::logging::init(&loaded.config.log).ok();
    loaded.log_start();
    let (inherited, problems) = systemd::inherited();
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the control thread: {error}");
            return Exit::No.into();
        }
    };
    let signals = runtime.block_on(async { service::Signals::new() });
    let broker = match Broker::start_with(loaded, inherited, logging) {
        Ok(broker) => broker,
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                StartError::Config(_) => Exit::InvalidConfig.into(),
                StartError::System(_) => Exit::No.into(),
            };
        }
    };
    let served = runtime.block_on(serve_until_stopped(&broker, loaded, signals));
    if let Err(error) = &served {
        eprintln!("error: {error}");
    }
    // Who stops us twice does not want to wait for the clients.
    std::thread::spawn(move || {
        runtime.block_on(service::second_signal());
        std::process::exit(i32::from(Exit::No as u8));
    });
    broker.stop();
    if served.is_ok() {
        Exit::Done.into()
    } else {
        Exit::No.into()
    }
}

/// Serves the administration until a signal says stop.
async fn serve_until_stopped(
    broker: &Broker,
    loaded: &Loaded,
    signals: std::io::Result<service::Signals>,
) -> Result<(), StartError> {
    let config = &loaded.config;
    let sockets = admin::server::Sockets::bind(config).map_err(StartError::System)?;
    let backend: Arc<dyn admin::backend::Backend> = Arc::clone(&broker.control) as _;
    systemd::ready("started");
    tokio::select! {
        () = sockets.serve(backend, config) => {}
        () = broker.control.watch_findings() => {}
        () = broker.control.watch_certificates() => {}
        () = service::tell_systemd(broker) => {}
        () = sys_topics::publish(&broker.control) => {}
        () = service::until_told_to_stop(broker, signals) => {}
    }
    systemd::stopping();
    // The file would make the next start look for a broker behind it.
    let _ = std::fs::remove_file(&config.admin.socket);
    Ok(())
}
