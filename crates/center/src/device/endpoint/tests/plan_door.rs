//! Conversations with a client that has our Plan object.

use super::*;

#[test]
fn the_whole_conversation_of_the_plan_door() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.quiet();

    // 1: the host asks; nothing is acknowledged before it is durable
    let asks = [
        (mcu(resource::COMPONENT), Value::String("STM32")),
        (mcu(resource::CURRENT_VERSION), Value::String("1_0")),
        (mcu(resource::REQUEST), Value::Integer(1)),
        (Path::resource(3, 0, 9), Value::Integer(77)),
        (Path::resource(4, 0, 2), Value::Integer(-90)),
    ];
    world.receive(1, &send(2, &asks));
    assert!(world.sent.is_empty());
    let (facts, reports, asked) = world.told();
    assert_eq!(
        (facts.battery_percent, facts.rsrp_dbm),
        (Some(77), Some(-90))
    );
    let (identifier, version) = ("STM32".to_owned(), "1_0".to_owned());
    let component = ReportedComponent {
        identifier,
        kind: ComponentKind::Mcu,
        version,
    };
    assert_eq!(facts.components, [component]);
    assert_eq!((reports.len(), asked), (0, Some(true)));
    assert_eq!(world.got().code, Code::CHANGED);

    // 2: the offer is one Write of one instance
    world.command(offer(ComponentType::Mcu, "STM32"));
    let write = world.got();
    assert_eq!(
        (write.kind, write.code, write.path.as_str()),
        (Kind::Con, Code::POST, "/42769/1")
    );
    assert_eq!(write.format, Some(112));
    let values = read(&write);
    assert_eq!(values.len(), 8);
    assert!(values.contains(&(mcu(resource::TARGET_VERSION), "2_0".into())));
    // the same command again, while it is in flight, is not sent twice
    world.command(offer(ComponentType::Mcu, "STM32"));
    world.quiet();
    world.ack(1, &write, Code::CHANGED, "");
    world.quiet();

    // 3: the host confirmed
    let confirmed = [
        (mcu(resource::PLAN), Value::String("7-1")),
        (mcu(resource::STATE), Value::Integer(2)),
        (mcu(resource::HOST_ANSWER), Value::Integer(1)),
    ];
    world.receive(1, &send(3, &confirmed));
    let (_, reports, _) = world.told();
    let report = StateReport {
        offer: "7-1".into(),
        component: Some("STM32".into()),
        state: State::Confirmed,
        reason: None,
    };
    assert_eq!(reports, [report]);
    assert_eq!(world.got().code, Code::CHANGED);

    // 4: download information, with the package's address
    world.command(download(ComponentKind::Mcu, "STM32"));
    let write = world.got();
    let uri = format!("coap://127.0.0.1:5683/p/{}", hex::encode(PACKAGE));
    assert!(read(&write).contains(&(mcu(resource::PACKAGE_URI), uri)));
    world.ack(1, &write, Code::CHANGED, "");

    // 5: failure with its number; the offer's name is known without being sent
    let failed = [
        (mcu(resource::STATE), Value::Integer(12)),
        (mcu(resource::FAILURE_NUMBER), Value::Integer(9)),
    ];
    world.receive(1, &send(4, &failed));
    let (_, reports, _) = world.told();
    let report = StateReport {
        offer: "7-1".into(),
        component: Some("STM32".into()),
        state: State::Failure,
        reason: Some(9),
    };
    assert_eq!(reports, [report]);
}

#[test]
fn cancel_is_executed_and_its_answer_told() {
    for (code, expected) in [(Code::CHANGED, true), (Code::METHOD_NOT_ALLOWED, false)] {
        let mut world = World::new(Config::default());
        world.register(1, "lwm2m=1.1", "", OURS);
        world.command(DeviceCommand::Cancel {
            endpoint: device(),
            component: "fw".into(),
            kind: ComponentKind::Firmware,
            offer: "7-1".into(),
        });
        let execute = world.got();
        assert_eq!(execute.path, "/42769/0/17");
        world.ack(1, &execute, code, "");
        let (_, call) = world.call();
        let offer = "7-1".into();
        assert_eq!(
            call,
            Call::CancelAnswered {
                endpoint: device(),
                offer,
                taken: expected
            }
        );
    }
}

#[test]
fn an_unknown_component_is_asked_for_and_a_refusal_told() {
    let mut world = World::new(Config::default());
    world.register(1, "lwm2m=1.1", "", OURS);
    world.command(offer(ComponentType::Mcu, "STM32"));
    let mut paths = Vec::new();
    for text in ["module", "9", "STM32", "1_0"] {
        let get = world.got();
        paths.push(get.path.clone());
        world.ack(1, &get, Code::CONTENT, text);
    }
    assert_eq!(
        paths,
        ["/42769/0/1", "/42769/0/19", "/42769/1/1", "/42769/1/19"]
    );
    let told: Vec<_> = (0..4).map(|_| world.told().0.components).collect();
    assert_eq!(told[3][0].identifier, "STM32");
    world.command(offer(ComponentType::Mcu, "STM32"));
    let write = world.got();
    world.ack(1, &write, Code::BAD_REQUEST, "");
    let (_, call) = world.call();
    let code = Code::BAD_REQUEST.byte();
    let (endpoint, name) = (device(), || "7-1".to_owned());
    let refused = Call::Refused {
        endpoint: endpoint.clone(),
        offer: name(),
        code,
    };
    assert_eq!(call, refused);
    // it has another upgrade, which is no refusal
    world.command(offer(ComponentType::Mcu, "STM32"));
    let write = world.got();
    world.ack(1, &write, Code::METHOD_NOT_ALLOWED, "");
    let busy = Call::Busy {
        endpoint,
        offer: name(),
    };
    assert_eq!(world.call().1, busy);
}
