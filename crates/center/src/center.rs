//! The whole Center: data folder, HTTP, devices, time.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sota_errors::CenterError;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::{Access, secret};
use crate::api::{self, Api};
use crate::blobs::Blobs;
use crate::deliver;
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
    /// Address under which people reach the Center, `https://ota.example.com`, when a proxy speaks TLS for it.
    pub public_url: Option<String>,
    /// Anyone may make an account; otherwise only by an invitation.
    pub open_sign_up: bool,
    /// Where a token of this run is written, for programs of the same user: it may do everything.
    pub token_file: Option<PathBuf>,
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
            public_url: None,
            open_sign_up: false,
            token_file: None,
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
    set_up: Option<String>,
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
        private(&file);
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
        let public_url = config.public_url.as_deref().map(public_host).transpose()?;
        hosts.extend(public_url.iter().map(|(_, host)| host.clone()));
        let base = match &config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{http_address}"),
        };
        let token = config.token_file.as_ref().map(|path| token_file(path));
        let token = token.transpose()?;
        let access = Access::new(
            service.shared_store(),
            token.as_deref(),
            config.open_sign_up,
        );
        let set_up = access.set_up(crate::now()).await?;
        let set_up = set_up.map(|secret| format!("{base}/sign-up?invitation={secret}"));
        let (stop, stopping) = watch::channel(false);
        let api = Api {
            stop: stopping,
            base_url: base.into(),
            service,
            access,
            secure_cookies: public_url.is_some_and(|(https, _)| https),
            blobs,
            hosts: hosts.into(),
            insecure,
        };
        Ok(Center {
            api,
            http,
            http_address,
            coap,
            coap_address,
            coap_public: config.coap_public,
            plan_object: config.plan_object,
            set_up,
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

    /// Link by which the first account is made, once; `None` = there are accounts.
    pub fn set_up_link(&self) -> Option<&str> {
        self.set_up.as_deref()
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
        let access = self.api.access.clone();
        let clock = tokio::spawn(pass_time(service.clone(), access, self.stop.subscribe()));
        let teller = deliver::deliver(service.clone(), self.stop.subscribe());
        let teller = tokio::spawn(teller);
        let sweeps = tokio::spawn(sweep(service.clone(), self.stop.subscribe()));
        let stop = stopped(self.stop.subscribe());
        let late = stopped(self.stop.subscribe());
        let http = axum::serve(
            self.http,
            router.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .with_graceful_shutdown(stop);
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
        let _ = teller.await;
        let _ = sweeps.await;
        drop(devices);
        service.flush(&Scope::OWNER, crate::now()).await?;
        result.map_err(|e| Problem::new(CenterError::Internal, e.to_string()))
    }
}

async fn pass_time(service: Arc<Service>, access: Access, stop: watch::Receiver<bool>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hour.tick() => {
                if let Err(problem) = access.drop_expired(crate::now()).await {
                    tracing::error!("{problem}");
                }
                if let Err(problem) = service.trim_deliveries(crate::now()).await {
                    tracing::error!("{problem}");
                }
            }
            _ = second.tick() => {
                if let Err(problem) = service.tick(&Scope::OWNER, crate::now()).await {
                    tracing::error!("{problem}");
                }
            }
            () = stopped(stop.clone()) => return,
        }
    }
}

/// Passes over many devices, which nobody waits for, a page at a time.
async fn sweep(service: Arc<Service>, stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(Duration::from_millis(100));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let ends = stop.clone();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stopped(ends.clone()) => return,
        }
        loop {
            match service.go_on(&Scope::OWNER, crate::now()).await {
                Ok(true) if !*stop.borrow() => {}
                Ok(_) => break,
                Err(problem) => {
                    tracing::error!("{problem}");
                    break;
                }
            }
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

/// Whether it is TLS, and the host of a public address.
fn public_host(url: &str) -> Result<(bool, String), Problem> {
    let bad = || Problem::of(CenterError::MalformedRequest, "public_url", url);
    let (https, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err(bad()),
    };
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(bad());
    }
    let host = api::without_port(authority).to_ascii_lowercase();
    Ok((https, host))
}

/// Makes the database's file, if it is not there, for this user alone: it holds product secrets. SQLite gives the files
/// beside it the same rights. What fails here fails again when it is opened, and is told then.
fn private(file: &std::path::Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let options = options.append(true).create_new(true).mode(0o600);
    drop(options.open(file));
}

/// A new token for programs of the same user, in a file that nobody else can read. It ends with this run.
fn token_file(path: &std::path::Path) -> Result<String, Problem> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let unusable = |e: std::io::Error| {
        let detail = format!("{}: {e}", path.display());
        match e.kind() {
            std::io::ErrorKind::StorageFull => Problem::new(CenterError::StorageFull, detail),
            _ => Problem::new(CenterError::StoreUnusable, detail),
        }
    };
    let token = secret::make_token()?;
    // anew and renamed: an old file may be open to others, or a link
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = std::fs::remove_file(&fresh);
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&fresh).map_err(unusable)?;
    file.write_all(token.as_bytes()).map_err(unusable)?;
    drop(file);
    std::fs::rename(&fresh, path).map_err(unusable)?;
    Ok(token)
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Problem::new(CenterError::Internal, format!("no random bytes: {e}")))?;
    Ok(bytes)
}
