//! The whole Center: data folder, HTTP, devices, time.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sota_errors::CenterError;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, Api};
use crate::blobs::Blobs;
use crate::device::{self, DeviceServer};
use crate::domain::Problem;
use crate::service::{Service, Settings};
use crate::store::{Scope, SqliteStore};

/// Id of the Plan object until one is registered with OMA.
pub const DEFAULT_PLAN_OBJECT: u16 = sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID;

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the database and the packages; made if it is not there.
    pub data: PathBuf,
    /// Where REST listens; port 0 = any free one.
    pub http: SocketAddr,
    /// Where devices are answered (CoAP over UDP); port 0 = any free one.
    pub coap: SocketAddr,
    /// `host:port` under which devices reach `coap`, when that is not the bound address (behind a NAT).
    pub coap_public: Option<String>,
    /// Allows addresses that others can reach although nothing is encrypted.
    pub insecure_no_encryption: bool,
    /// Further host names under which REST may be called.
    pub hosts: Vec<String>,
    /// Id of the Plan object.
    pub plan_object: u16,
    /// Pace of the rules.
    pub settings: Settings,
}

impl Config {
    /// Both ports free on loopback.
    pub fn new(data: impl Into<PathBuf>) -> Config {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            data: data.into(),
            http: any,
            coap: any,
            coap_public: None,
            insecure_no_encryption: false,
            hosts: Vec::new(),
            plan_object: sota_lwm2m::objects::plan::DEFAULT_OBJECT_ID,
            settings: Settings::default(),
        }
    }
}

/// An open Center: its data is open, its addresses are bound, nothing is served yet.
pub struct Center {
    api: Api,
    http: TcpListener,
    http_address: SocketAddr,
    coap: UdpSocket,
    coap_address: SocketAddr,
    coap_public: Option<String>,
    plan_object: u16,
    stop: watch::Sender<bool>,
}

/// Stops a Center that serves.
#[derive(Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Stops: no new requests, those under way end, what waits is written.
    pub fn stop(&self) {
        // nobody listens any more = it has stopped
        let _ = self.0.send(true);
    }
}

impl Center {
    /// Opens the data and binds the addresses.
    pub async fn open(config: Config) -> Result<Center, Problem> {
        for address in [config.http, config.coap] {
            if !address.ip().is_loopback() && !config.insecure_no_encryption {
                return Err(Problem::new(
                    CenterError::BindNotLoopback,
                    address.to_string(),
                ));
            }
        }
        let http = TcpListener::bind(config.http)
            .await
            .map_err(|e| unbound(config.http, &e))?;
        let coap = UdpSocket::bind(config.coap).map_err(|e| unbound(config.coap, &e))?;
        let http_address = http.local_addr().map_err(|e| unbound(config.http, &e))?;
        let coap_address = coap.local_addr().map_err(|e| unbound(config.coap, &e))?;
        let blobs = Blobs::open(&config.data.join("packages"))?;
        let file = config.data.join("center.db");
        let store = SqliteStore::open(&file).await;
        let store = store.map_err(|e| match e {
            crate::store::StoreError::Full => Problem::from(e),
            e => Problem::new(
                CenterError::StoreUnusable,
                format!("{}: {e}", file.display()),
            ),
        })?;
        let mut settings = config.settings;
        settings.plan_object = config.plan_object;
        if settings.secret == [0; 16] {
            settings.secret = random()?;
        }
        let service = Arc::new(Service::new(Arc::new(store), settings));
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(String::from).into();
        let ip = config.http.ip();
        hosts.push(if ip.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.to_string()
        });
        hosts.extend(config.hosts.iter().map(|h| h.to_ascii_lowercase()));
        if config.insecure_no_encryption {
            tracing::warn!("{}", CenterError::UnencryptedWarning);
        }
        let insecure = config.insecure_no_encryption;
        let api = Api {
            service,
            blobs,
            hosts: hosts.into(),
            insecure,
        };
        let (stop, _) = watch::channel(false);
        Ok(Center {
            api,
            http,
            http_address,
            coap,
            coap_address,
            coap_public: config.coap_public,
            plan_object: config.plan_object,
            stop,
        })
    }

    /// Where REST listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where devices are answered.
    pub fn coap_address(&self) -> SocketAddr {
        self.coap_address
    }

    /// The application, for a program that embeds the Center.
    pub fn service(&self) -> &Arc<Service> {
        &self.api.service
    }

    /// The packages' files.
    pub fn blobs(&self) -> &Blobs {
        &self.api.blobs
    }

    /// Id of the Plan object.
    pub fn plan_object(&self) -> u16 {
        self.plan_object
    }

    /// Stops it later, from anywhere.
    pub fn stop_handle(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves until it is stopped.
    pub async fn serve(self) -> Result<(), Problem> {
        let router = api::router(self.api.clone());
        let service = self.api.service.clone();
        let device = device::Config {
            public_address: self.coap_public,
            endpoint: device::endpoint::Config {
                plan_object: self.plan_object,
                ..Default::default()
            },
            ..Default::default()
        };
        let packages = self.api.blobs.source();
        let devices = DeviceServer::start(self.coap, device, service.clone(), packages)?;
        let clock = tokio::spawn(pass_time(service.clone(), self.stop.subscribe()));
        let stop = stopped(self.stop.subscribe());
        let late = stopped(self.stop.subscribe());
        let http = axum::serve(self.http, router).with_graceful_shutdown(stop);
        let result = tokio::select! {
            result = http.into_future() => result,
            // a client that sends its upload for ever must not hold the Center
            () = async {
                late.await;
                tokio::time::sleep(Duration::from_secs(10)).await;
            } => Ok(()),
        };
        self.stop.send_replace(true);
        // a panic in the clock's task has been logged by the runtime
        let _ = clock.await;
        drop(devices);
        service.flush(&Scope::OWNER).await?;
        result.map_err(|e| Problem::new(CenterError::Internal, e.to_string()))
    }
}

async fn pass_time(service: Arc<Service>, stop: watch::Receiver<bool>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = second.tick() => {
                if let Err(problem) = service.tick(&Scope::OWNER, crate::now()).await {
                    tracing::error!("{problem}");
                }
            }
            () = stopped(stop.clone()) => return,
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // an error means that nobody can stop it any more: then it is over as well
    let _ = stop.wait_for(|s| *s).await;
}

fn unbound(address: SocketAddr, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            Problem::new(CenterError::CenterAddressInUse, address.to_string())
        }
        _ => Problem::new(CenterError::CannotListen, format!("{address}: {error}")),
    }
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    use std::io::Read;
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Problem::new(CenterError::Internal, format!("/dev/urandom: {e}")))?;
    Ok(bytes)
}
