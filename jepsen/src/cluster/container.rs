//! A node in a container: the one that is started first stays, with its data and its addresses, until the node is dropped.
//!
//! `Kill` and `Terminate` are signals to the container's first process, which is the node; `Stop` freezes the whole container. What
//! the node says is kept by the engine across restarts and copied into the node's log file while it runs.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{KillContainerOptionsBuilder, LogsOptionsBuilder};
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::io::AsyncWriteExt;

use super::containers::{self, LABEL};
use super::node::{Launch, Signal};

/// What a container is made of, beside what runs in it.
#[derive(Clone, Debug)]
pub(super) struct ContainerSpec {
    pub engine: Docker,
    pub image: GenericImage,
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The network its ports are published from.
    pub clients: String,
    /// The networks of the regions, with its address on each.
    pub networks: Vec<(String, Ipv4Addr)>,
    /// Ports of 127.0.0.1, with what they lead to.
    pub published: Vec<(u16, u16)>,
}

/// A container, made or not.
pub(super) struct Container {
    spec: ContainerSpec,
    container: Option<ContainerAsync<GenericImage>>,
    /// Whether it was started and not yet ended by us.
    is_up: bool,
    follower: Option<tokio::task::JoinHandle<()>>,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("name", &self.spec.name).field("is_up", &self.is_up).finish_non_exhaustive()
    }
}

impl Container {
    pub fn new(spec: ContainerSpec) -> Container {
        Container { spec, container: None, is_up: false, follower: None }
    }

    /// Makes it the first time, and starts it. Does nothing when it runs.
    pub async fn start(&mut self, launch: &Launch) -> Result<()> {
        if self.is_up {
            return Ok(());
        }
        if let Some(container) = &self.container {
            container.start().await.with_context(|| format!("{} does not start again", self.spec.name))?;
        } else {
            let made = self.request(launch).start().await;
            self.container = Some(made.with_context(|| format!("{} does not start", self.spec.name))?);
            // A container begins with one network. Until the others are there the node finds nobody, and keeps looking.
            for (network, address) in &self.spec.networks {
                containers::connect(&self.spec.engine, network, &self.spec.name, *address).await?;
            }
        }
        self.is_up = true;
        self.follow(&launch.log).await
    }

    fn request(&self, launch: &Launch) -> ContainerRequest<GenericImage> {
        let spec = &self.spec;
        let image =
            spec.published.iter().fold(spec.image.clone(), |image, (_, port)| image.with_exposed_port(port.tcp()));
        let binding =
            |port: u16| PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port.to_string()) };
        // The same ones each time it starts: ports that the engine chooses change.
        let bindings: HashMap<_, _> = spec
            .published
            .iter()
            .map(|(outside, inside)| (format!("{inside}/tcp"), Some(vec![binding(*outside)])))
            .collect();
        let directory = launch.directory.to_string_lossy();
        let request = image
            .with_container_name(&spec.name)
            .with_label(LABEL, &spec.owner)
            .with_network(&spec.clients)
            .with_mount(Mount::bind_mount(directory.clone(), directory))
            .with_user(user())
            .with_cmd(&launch.arguments)
            .with_host_config_modifier(move |host| {
                host.publish_all_ports = Some(false);
                host.port_bindings = Some(bindings.clone());
                // What a query spills.
                host.tmpfs = Some(HashMap::from([("/tmp".to_owned(), String::new())]));
            });
        launch.environment.iter().fold(request, |request, (name, value)| request.with_env_var(name, value))
    }

    /// Copies all that it has said, and goes on to say until it ends, into a file.
    async fn follow(&mut self, log: &Path) -> Result<()> {
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        let mut file = tokio::fs::File::create(log).await?;
        let all = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        let mut output = self.spec.engine.logs(&self.spec.name, Some(all));
        self.follower = Some(tokio::spawn(async move {
            while let Some(Ok(piece)) = output.next().await {
                let written = file.write_all(&piece.into_bytes()).await;
                if written.is_err() || file.flush().await.is_err() {
                    return;
                }
            }
        }));
        Ok(())
    }

    /// Does what the signal means to a process. `Kill` and `Terminate` wait until it has ended.
    pub async fn signal(&mut self, signal: Signal) -> Result<()> {
        let container = self.container.as_ref().context("the container was never started")?;
        match signal {
            Signal::Stop => freeze(container).await?,
            Signal::Continue => container.unpause().await?,
            Signal::Kill => self.end("SIGKILL").await?,
            Signal::Terminate => self.end("SIGTERM").await?,
        }
        Ok(())
    }

    async fn end(&mut self, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        self.spec
            .engine
            .kill_container(&self.spec.name, Some(options))
            .await
            .context("the signal was not delivered")?;
        let ended = async {
            while self.is_running().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.context("the container did not end within 20 s")?;
        self.is_up = false;
        Ok(())
    }

    /// Whether it was ended by us, or never started.
    pub fn has_ended(&self) -> bool {
        !self.is_up
    }

    /// Whether it runs, as far as is known: one that ended by itself does not.
    pub async fn is_running(&self) -> bool {
        match &self.container {
            Some(container) => container.is_running().await.unwrap_or(false),
            None => false,
        }
    }
}

/// Freezes a container. The kernel waits with a thread until its disk has answered, and the engine gives up before a busy disk does; so it
/// is asked again for a while.
async fn freeze(container: &ContainerAsync<GenericImage>) -> Result<()> {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match container.pause().await {
            Err(error) if tokio::time::Instant::now() < end => {
                tracing::info!(%error, "a container is not frozen yet");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            frozen => return frozen.context("the container cannot be frozen"),
        }
    }
}

/// Who this process runs as, so that what a node leaves behind is ours to remove.
fn user() -> String {
    // SAFETY: these calls always succeed and touch no memory of ours.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    format!("{user}:{group}")
}
