//! What a world is made with, and how its Center is furnished.

use std::collections::BTreeSet;

use bytes::Bytes;
use md5::Digest as _;
use sota::bridge::{ConnectMode, Settings};
use sota::platform::Readings;
use sota::{cloud, engine};
use sota_center::domain::{
    Component, ComponentKind, PackageFile, PackageType, PlanAction, PlanComponent, PlanId, Rollout,
    Strategy,
};
use sota_center::service::{NewModel, NewPackage, NewPlan, NewProduct, NewProject, Service};

use crate::Micros;
use crate::net::Profile;
use crate::node::center::{File, OWNER, done};
use crate::node::module::{self, LinkConfig, PAGE};
use crate::node::{link_mcu, mcu};
use crate::rng::Rng;
use crate::uart::LineFaults;

/// Product key of every device.
pub const PRODUCT: &str = "pk";
/// The MCU's component.
pub const COMPONENT: &str = "STM32";
/// Versions: the factory's, and what the plans bring.
pub const VERSIONS: [&str; 3] = ["V1_0", "V2_0", "V3_0"];

/// Which devices the plan leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeftOut {
    /// None.
    #[default]
    None,
    /// The last device is in the blacklist.
    Blacklisted,
    /// A whitelist names all but the last device.
    NotWhitelisted,
    /// Every device is in the whitelist, the last in the blacklist too.
    Both,
}

/// What module and MCU speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// AT commands, with `sota-host`'s simulated MCU.
    #[default]
    At,
    /// The binary link, with the library for MCUs.
    Link {
        /// Greatest baud that it may change to; 0: none.
        greatest_baud: u32,
        /// New images confirm themselves when they reach the module; else they are reverted.
        confirms: bool,
    },
}

impl Protocol {
    /// The link at the UART's one rate, with images that are good.
    pub const LINK: Protocol = Protocol::Link {
        greatest_baud: 0,
        confirms: true,
    };
}

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What module and MCU speak.
    pub protocol: Protocol,
    /// Bytes of the package.
    pub package: u32,
    /// Bytes of a piece: staging has one page more. A multiple of 1024.
    pub piece: u32,
    /// Devices, each a module and an MCU.
    pub devices: usize,
    /// Devices that the plan leaves out.
    pub left_out: LeftOut,
    /// The network when nothing is wrong with it.
    pub network: Profile,
    /// The UART when nothing is wrong with it.
    pub noise: LineFaults,
    /// Baud of the UART.
    pub baud: u32,
    /// Most bytes of one read of the MCU, 1..=1024.
    pub read_size: usize,
    /// A NAT before the module that forgets after this time.
    pub nat_idle: Option<Micros>,
    /// QuecThing to the letter.
    pub strict: bool,
    /// Queue mode.
    pub queue_mode: bool,
    /// NB-IoT's transmission parameters.
    pub nb_iot: bool,
    /// Registration lifetime in seconds.
    pub lifetime_s: u32,
    /// How often the Center offers again.
    pub retries: u8,
    /// Battery in % and signal in dBm as they are at first.
    pub readings: (u8, i16),
    /// A second plan to the third version follows when the first has succeeded.
    pub second: bool,
    /// The plan is activated then.
    pub activate_at: Micros,
    /// The plan ends then.
    pub end_at: Option<Micros>,
}

impl Default for Setup {
    /// One device, 64 KiB in pieces of 16 KiB, a good network, 921,600 baud.
    fn default() -> Setup {
        Setup {
            protocol: Protocol::At,
            package: 64 * 1024,
            piece: 16 * 1024,
            devices: 1,
            left_out: LeftOut::None,
            network: Profile::LAN,
            noise: LineFaults::NONE,
            baud: 921_600,
            read_size: 1024,
            nat_idle: None,
            strict: false,
            queue_mode: false,
            nb_iot: false,
            lifetime_s: 300,
            retries: 5,
            readings: (80, -90),
            second: false,
            activate_at: 5_000_000,
            end_at: None,
        }
    }
}

impl Setup {
    /// Key of a device.
    pub fn device_key(index: usize) -> String {
        format!("dev{index}")
    }

    /// The plan leaves this device out.
    pub fn leaves_out(&self, index: usize) -> bool {
        self.left_out != LeftOut::None && index + 1 == self.devices
    }

    /// The module with this index.
    pub fn module(&self, index: usize, host: &str, port: u16) -> (module::Config, Settings) {
        let endpoint = format!("{PRODUCT}:{}", Self::device_key(index));
        let cloud = cloud::Config {
            host: host.try_into().unwrap_or_default(),
            port,
            endpoint: endpoint.as_str().try_into().unwrap_or_default(),
            lifetime_s: self.lifetime_s,
            queue_mode: self.queue_mode,
            link: match self.nb_iot {
                true => cloud::Link::NbIot,
                false => cloud::Link::Rfc7252,
            },
            ..cloud::Config::default()
        };
        let engine = match self.strict {
            true => engine::Config::strict(),
            false => engine::Config::default(),
        };
        let config = module::Config {
            cloud,
            engine,
            staging: self.piece + PAGE as u32,
            journal: 8 * PAGE as u32,
            link: match self.protocol {
                Protocol::At => None,
                Protocol::Link { greatest_baud, .. } => Some(LinkConfig {
                    baud: self.baud,
                    greatest_baud,
                }),
            },
        };
        let settings = Settings {
            product_key: PRODUCT.try_into().unwrap_or_default(),
            device_key: Self::device_key(index)
                .as_str()
                .try_into()
                .unwrap_or_default(),
            lifetime_s: self.lifetime_s,
            connect: ConnectMode::Auto,
            ..Settings::new()
        };
        (config, settings)
    }

    /// It speaks the binary link.
    pub fn is_link(&self) -> bool {
        self.protocol != Protocol::At
    }

    /// New images confirm themselves. Over AT commands there is no trial.
    pub fn confirms(&self) -> bool {
        !matches!(
            self.protocol,
            Protocol::Link {
                confirms: false,
                ..
            }
        )
    }

    /// The MCU of a device; `images`: all that there are, the factory's first.
    pub fn mcu(&self, images: &[(&'static str, Bytes)]) -> mcu::Config {
        match self.protocol {
            Protocol::At => mcu::Config::At(sota_host::mcu::Config {
                read_size: self.read_size,
                ..sota_host::mcu::Config::new(
                    COMPONENT,
                    VERSIONS[0],
                    self.package.next_multiple_of(1024),
                )
            }),
            Protocol::Link {
                greatest_baud,
                confirms,
            } => mcu::Config::Link(link_mcu::Config {
                images: images.to_vec(),
                baud: self.baud,
                greatest_baud,
                confirms,
            }),
        }
    }

    /// The image that the factory's MCU runs. Over AT commands it is not there.
    pub fn factory(&self, mut rng: Rng) -> Bytes {
        match self.protocol {
            Protocol::At => Bytes::new(),
            Protocol::Link { .. } => {
                // Shorter than most packages, longer than the shortest.
                let mut bytes = vec![0; self.package as usize / 2 + 700];
                rng.fill(&mut bytes);
                bytes.into()
            }
        }
    }

    /// Battery and signal.
    pub fn first_readings(&self) -> Readings {
        Readings {
            battery_percent: Some(self.readings.0),
            rsrp_dbm: Some(self.readings.1),
        }
    }
}

/// Packages made of the seed, no two alike: an MCU of these worlds knows its version by its image.
pub fn packages(rng: &mut Rng, length: u32, count: usize) -> (Vec<File>, Vec<PackageFile>) {
    let (mut files, mut described) = (Vec::<File>::new(), Vec::new());
    while files.len() < count {
        let (file, words) = package(rng, length);
        if files.iter().all(|other| other.bytes != file.bytes) {
            files.push(file);
            described.push(words);
        }
    }
    (files, described)
}

fn package(rng: &mut Rng, length: u32) -> (File, PackageFile) {
    let mut bytes = vec![0; length as usize];
    rng.fill(&mut bytes);
    let sha256: [u8; 32] = sha2::Sha256::digest(&bytes).into();
    let file = PackageFile {
        file_name: "image.bin".into(),
        length: length.into(),
        md5: hex::encode(md5::Md5::digest(&bytes)),
        crc32: crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes),
        sha256: hex::encode(sha256),
    };
    let bytes = Bytes::from(bytes);
    (File { sha256, bytes }, file)
}

/// Makes project, product, model, and a package and a saved plan for each file; the plans' ids.
pub fn furnish(
    service: &Service,
    setup: &Setup,
    files: &[PackageFile],
    now: i64,
    end_at: Option<i64>,
) -> Vec<PlanId> {
    try_furnish(service, setup, files, now, end_at).expect("the rules take what a world makes")
}

fn try_furnish(
    service: &Service,
    setup: &Setup,
    files: &[PackageFile],
    now: i64,
    end_at: Option<i64>,
) -> Result<Vec<PlanId>, sota_center::domain::Problem> {
    let name = "home".into();
    let project = done(service.create_project(&OWNER, NewProject { name }, now))?.id;
    let product = NewProduct {
        project,
        name: "lamp".into(),
        product_key: PRODUCT.into(),
        product_secret: "ps".into(),
    };
    let product = done(service.create_product(&OWNER, product, now))?.id;
    let component = |identifier: &str, kind| Component {
        identifier: identifier.into(),
        name: identifier.into(),
        kind,
        remark: String::new(),
    };
    let model = NewModel {
        project,
        name: "m1".into(),
        device_model: "M1".into(),
        version: String::new(),
        components: vec![
            component("module", ComponentKind::Firmware),
            component(COMPONENT, ComponentKind::Mcu),
        ],
    };
    let model = done(service.create_model(&OWNER, model, now))?.id;
    let mut plans = Vec::new();
    for (file, version) in files.iter().zip(VERSIONS.iter().skip(1)) {
        let new = NewPackage {
            project,
            name: format!("to {version}"),
            product: None,
            component_type: ComponentKind::Mcu,
            package_type: PackageType::Full,
            source_versions: Vec::new(),
            target_version: (*version).into(),
            remark: String::new(),
        };
        let package = done(service.create_package(&OWNER, new, vec![file.clone()], now))?.id;
        let keys = |count: usize| (0..count).map(Setup::device_key).collect::<BTreeSet<_>>();
        let last = BTreeSet::from([Setup::device_key(setup.devices - 1)]);
        let (whitelist, blacklist) = match setup.left_out {
            LeftOut::None => (BTreeSet::new(), BTreeSet::new()),
            LeftOut::Blacklisted => (BTreeSet::new(), last),
            LeftOut::NotWhitelisted if setup.devices > 1 => {
                (keys(setup.devices - 1), BTreeSet::new())
            }
            LeftOut::NotWhitelisted => (BTreeSet::from(["other".into()]), BTreeSet::new()),
            LeftOut::Both => (keys(setup.devices), last),
        };
        let plan = NewPlan {
            project,
            name: format!("plan to {version}"),
            product,
            model,
            whitelist,
            blacklist,
            audience: None,
            time_zone: "UTC".into(),
            start_at: now,
            end_at,
            strategy: Strategy {
                retry_times: setup.retries,
                ..Strategy::default()
            },
            rollout: Rollout::default(),
            components: vec![PlanComponent {
                component: COMPONENT.into(),
                package,
            }],
            upgrade_text: String::new(),
        };
        plans.push(done(service.create_plan(&OWNER, plan, now))?.id);
    }
    Ok(plans)
}

/// Activates a plan; a refusal (it is over meanwhile) is the Center's right.
pub fn activate(service: &Service, plan: PlanId, now: i64) {
    let _ = done(service.plan_action(&OWNER, plan, PlanAction::Activate, now));
}
