//! Commands of the rules, as requests to a device.

use sota_lwm2m::server::Request;

use super::*;

impl Endpoint {
    /// The rules want a device to be told something. A device that is not here is told at its next contact.
    pub fn command(&mut self, now: u64, command: DeviceCommand) {
        let Some(id) = self.peers.by_endpoint(command.endpoint()) else {
            // It may be about a registration whose reply comes next; else the device is away.
            if self.arriving > 0 && self.early.len() < MAX_EARLY {
                self.early.push(command);
            }
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        match command {
            DeviceCommand::Disabled { .. } => return self.disable(id),
            // One that registered meanwhile is not disabled any more.
            DeviceCommand::Enabled { .. } if peer.disabled => return self.forget(id),
            DeviceCommand::Enabled { .. } => return,
            _ if peer.disabled => return,
            _ => {}
        }
        match &mut peer.door {
            Door::Plan(client) => {
                let todo = plan_requests(&self.config, client, peer.format, command);
                self.enqueue(id, todo);
            }
            Door::Standard(standard) => {
                let endpoint = peer.endpoint.clone();
                let step = match command {
                    DeviceCommand::Offer { offer, .. } => standard.offer(&offer),
                    DeviceCommand::Download {
                        component,
                        kind,
                        mut info,
                        sha256,
                        ..
                    } => {
                        set_uri(&self.config, &mut info, &sha256);
                        standard.download(&component, kind, &info)
                    }
                    DeviceCommand::Cancel {
                        component,
                        kind,
                        offer,
                        ..
                    } => {
                        let result = standard.cancel(&component, kind, &offer);
                        let taken = result.is_some();
                        self.call(
                            Pending::Quiet,
                            Call::CancelAnswered {
                                endpoint,
                                offer,
                                taken,
                            },
                        );
                        result.unwrap_or_default()
                    }
                    DeviceCommand::Resume {
                        component,
                        kind,
                        offer,
                        target,
                        updating,
                        ..
                    } => standard.go_on(&component, kind, offer, target, updating),
                    DeviceCommand::ReadVersions { .. } => Step {
                        send: standard.read_versions(),
                        ..Step::default()
                    },
                    DeviceCommand::Disabled { .. } | DeviceCommand::Enabled { .. } => {
                        Step::default()
                    }
                };
                self.step(id, now, step);
            }
        }
        self.pump(id, now);
    }
}

/// The requests to a client with Plan object that a command means.
fn plan_requests(
    config: &Config,
    client: &mut PlanClient,
    format: ContentFormat,
    command: DeviceCommand,
) -> Vec<Outgoing> {
    let object = config.plan_object;
    let built = match command {
        DeviceCommand::Offer { offer, .. } => {
            let kind = match offer.kind {
                sota_lwm2m::objects::plan::ComponentType::Firmware => ComponentKind::Firmware,
                sota_lwm2m::objects::plan::ComponentType::Mcu => ComponentKind::Mcu,
            };
            let name = offer.plan.as_str().to_owned();
            client.instance(&offer.component, kind).map(|instance| {
                client.offers.insert(instance, name.clone());
                let purpose = Purpose::Offer { offer: name };
                let path = Path::instance(object, instance);
                plan_door::offer(object, instance, format, &offer)
                    .map(|payload| Outgoing::new(purpose, &Request::write(path, format, &payload)))
            })
        }
        DeviceCommand::Download {
            component,
            kind,
            mut info,
            sha256,
            ..
        } => {
            set_uri(config, &mut info, &sha256);
            let name = info.plan.as_str().to_owned();
            client.instance(&component, kind).map(|instance| {
                client.offers.insert(instance, name.clone());
                let purpose = Purpose::Download { offer: name };
                let path = Path::instance(object, instance);
                plan_door::download(object, instance, format, &info)
                    .map(|payload| Outgoing::new(purpose, &Request::write(path, format, &payload)))
            })
        }
        DeviceCommand::Cancel {
            component,
            kind,
            offer,
            ..
        } => client.instance(&component, kind).map(|instance| {
            let resource = sota_lwm2m::objects::plan::resource::CANCEL;
            let path = Path::resource(object, instance, resource);
            Ok(Outgoing::new(
                Purpose::Cancel { offer },
                &Request::execute(path),
            ))
        }),
        DeviceCommand::ReadVersions { .. } => return client.read_versions(object),
        DeviceCommand::Resume { .. }
        | DeviceCommand::Disabled { .. }
        | DeviceCommand::Enabled { .. } => return Vec::new(),
    };
    match built {
        Some(Ok(request)) => vec![request],
        Some(Err(error)) => {
            tracing::error!(?error, "a command cannot be written");
            Vec::new()
        }
        // Which instance it is is not known here (the Center restarted): ask, the rules say it again.
        None => client.read_versions(object),
    }
}

fn set_uri(
    config: &Config,
    info: &mut sota_lwm2m::objects::plan::DownloadInfo,
    sha256: &PackageId,
) {
    info.uri.clear();
    let uri = format!("{}/{}", config.package_base, blocks::path_of(sha256));
    if info.uri.push_str(&uri).is_err() {
        tracing::error!(uri, "the package's address is too long for the wire");
    }
}
