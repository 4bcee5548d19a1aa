//! What every store must do: each line of the table at the end runs each case against each store.

use futures::future::BoxFuture;
use sota_errors::CenterError;

use super::access_contract::{
    a_link_works_once_and_what_has_ended_goes, access_is_changed_by_those_who_may,
    an_account_goes_with_all_that_speaks_for_it, the_audit_log_grows_with_the_change_and_is_found,
    who_may_call_is_kept_and_found,
};
use super::samples::{device, enrolled, model, package, plan, product, project};
use super::webhook_contract::{
    too_many_deliveries_and_old_ones_go, webhooks_get_what_they_want_with_the_change,
};
use super::{Change, Cut, MemoryStore, Page, Role, Scope, SqliteStore, Store, StoreError};
use crate::domain::{
    ComponentKind, ComponentState, Counters, Deadlines, Device, DeviceState, Endpoint, FilterId,
    LogLine, Model, ModelId, PackageId, Plan, PlanDevice, PlanId, PlanState, Product, ProductId,
    ProjectId, Registration, Sample, SavedFilter,
};

const ME: Scope = Scope::OWNER;

async fn furnish(store: &dyn Store) {
    let changes = vec![
        Change::Project(project(1, "one")),
        Change::Product(product(2, 1, "pk")),
        Change::Model(model(3, 1)),
        Change::Package(package(4, 1, ComponentKind::Mcu, "2")),
        Change::Plan(plan(5, 1, "pk", 4)),
    ];
    store.commit(&ME, changes).await.expect("furnished");
}

async fn entities_come_back_as_they_went(store: &dyn Store) {
    furnish(store).await;
    let back = store
        .plan(&ME, PlanId(5))
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        back,
        Plan {
            revision: 1,
            ..plan(5, 1, "pk", 4)
        }
    );
    let back = store
        .model(&ME, ModelId(3))
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        back,
        Model {
            revision: 1,
            ..model(3, 1)
        }
    );
    let back = store
        .product_by_key(&ME, "pk")
        .await
        .expect("read")
        .expect("there");
    assert_eq!(back.id, ProductId(2));
    assert_eq!(store.packages(&ME).await.expect("read").len(), 1);
    assert_eq!(store.product(&ME, ProductId(9)).await.expect("read"), None);
    let (a, b) = (
        store.next_id(&ME).await.expect("id"),
        store.next_id(&ME).await.expect("id"),
    );
    assert_ne!(a, b);
}

async fn names_and_keys_are_unique_in_their_place(store: &dyn Store) {
    furnish(store).await;
    let taken =
        |r: Result<(), StoreError>, field| matches!(r, Err(StoreError::Taken(f)) if f == field);
    let again = store
        .commit(&ME, vec![Change::Project(project(11, "one"))])
        .await;
    assert!(taken(again, "name"));
    let again = store
        .commit(&ME, vec![Change::Product(product(12, 1, "pk"))])
        .await;
    assert!(again.is_err());
    let other = Product {
        name: "other".into(),
        ..product(12, 1, "pk")
    };
    assert!(taken(
        store.commit(&ME, vec![Change::Product(other)]).await,
        "product_key"
    ));
    let same_name = Model {
        name: "model 3".into(),
        ..model(13, 1)
    };
    assert!(taken(
        store.commit(&ME, vec![Change::Model(same_name)]).await,
        "name"
    ));
    let elsewhere = Model {
        name: "model 3".into(),
        ..model(13, 8)
    };
    store
        .commit(&ME, vec![Change::Model(elsewhere)])
        .await
        .expect("another project");
}

async fn a_commit_is_whole_or_not_at_all(store: &dyn Store) {
    furnish(store).await;
    let changes = vec![
        Change::Project(project(21, "two")),
        Change::Project(project(22, "one")),
    ];
    assert!(store.commit(&ME, changes).await.is_err());
    assert_eq!(store.project(&ME, ProjectId(21)).await.expect("read"), None);
}

async fn a_stale_revision_is_a_conflict(store: &dyn Store) {
    furnish(store).await;
    let read = store
        .plan(&ME, PlanId(5))
        .await
        .expect("read")
        .expect("there");
    let first = Plan {
        upgrade_text: "first".into(),
        ..read.clone()
    };
    store
        .commit(&ME, vec![Change::Plan(first)])
        .await
        .expect("done");
    let second = Plan {
        upgrade_text: "second".into(),
        ..read.clone()
    };
    let late = store.commit(&ME, vec![Change::Plan(second)]).await;
    assert!(matches!(late, Err(StoreError::Conflict)));
    let again = store
        .commit(&ME, vec![Change::Plan(plan(5, 1, "pk", 4))])
        .await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    let gone = store
        .commit(&ME, vec![Change::DeletePlan(PlanId(5), 1)])
        .await;
    assert!(matches!(gone, Err(StoreError::Conflict)));
    let orphan = enrolled(77, "d");
    let orphan = store.commit(&ME, vec![Change::PlanDevice(orphan)]).await;
    assert!(matches!(orphan, Err(StoreError::Conflict)));
    let text = store
        .plan(&ME, PlanId(5))
        .await
        .expect("read")
        .expect("there")
        .upgrade_text;
    assert_eq!(text, "first");
}

async fn nobody_sees_or_changes_what_is_outside_the_scope(store: &dyn Store) {
    furnish(store).await;
    let mut changes = vec![Change::Device(device("pk", "d"))];
    changes.push(Change::PlanDevice(enrolled(5, "d")));
    let endpoint = Endpoint::new("pk", "d");
    let text = "words".to_owned();
    let plan = Some(PlanId(5));
    changes.push(Change::Log(LogLine {
        plan,
        endpoint: endpoint.clone(),
        at: 1,
        number: None,
        text,
    }));
    store.commit(&ME, changes).await.expect("done");
    let stranger = Scope::member(2, [], true);
    let elsewhere = Scope::member(1, [(ProjectId(8), Role::Owner)], false);
    for scope in [&stranger, &elsewhere] {
        assert!(store.projects(scope).await.expect("read").is_empty());
        assert!(
            store
                .product_by_key(scope, "pk")
                .await
                .expect("read")
                .is_none()
        );
        assert!(store.plan(scope, PlanId(5)).await.expect("read").is_none());
        assert!(
            store
                .running_plans(scope, Some("pk"))
                .await
                .expect("read")
                .is_empty()
        );
        assert!(
            store
                .device(scope, &endpoint)
                .await
                .expect("read")
                .is_none()
        );
        let page = Page {
            limit: 9,
            ..Page::default()
        };
        assert!(
            store
                .devices(scope, "pk", &page)
                .await
                .expect("read")
                .is_empty()
        );
        assert!(
            store
                .plan_devices(scope, PlanId(5), &page)
                .await
                .expect("read")
                .is_empty()
        );
        assert!(
            store
                .plans_of_device(scope, &endpoint)
                .await
                .expect("read")
                .is_empty()
        );
        assert_eq!(
            store.counters(scope, PlanId(5)).await.expect("read"),
            Counters::default()
        );
        let mine = store
            .plan(&ME, PlanId(5))
            .await
            .expect("read")
            .expect("there");
        let change = store.commit(scope, vec![Change::Plan(mine)]).await;
        assert!(matches!(change, Err(StoreError::Forbidden)));
        let delete = store
            .commit(scope, vec![Change::DeletePlan(PlanId(5), 1)])
            .await;
        assert!(matches!(delete, Err(StoreError::Forbidden)));
    }
    for scope in [&stranger, &elsewhere] {
        let log = store.log(scope, &endpoint, None, 9).await;
        assert!(log.expect("read").is_empty());
        let line = Change::Log(LogLine {
            plan: None,
            endpoint: endpoint.clone(),
            at: 2,
            number: None,
            text: "forged".into(),
        });
        let line = store.commit(scope, vec![line]).await;
        assert!(matches!(line, Err(StoreError::Forbidden)));
    }
    let operator = Scope::member(3, [(ProjectId(1), Role::Operator)], false);
    let log = store.log(&operator, &endpoint, None, 9).await;
    assert_eq!(log.expect("read").len(), 1);
    let viewer = Scope::member(1, [(ProjectId(1), Role::Viewer)], false);
    assert_eq!(store.plans(&viewer).await.expect("read").len(), 1);
    let change = store
        .commit(&viewer, vec![Change::Project(project(9, "nine"))])
        .await;
    assert!(matches!(change, Err(StoreError::Forbidden)));
    assert!(matches!(
        store.next_id(&viewer).await,
        Err(StoreError::Forbidden)
    ));
}

async fn samples_are_kept_one_in_each_interval(store: &dyn Store) {
    furnish(store).await;
    let sample = |at: i64| Sample {
        plan: PlanId(5),
        at,
        counters: Counters {
            upgraded: at as u64,
            ..Counters::default()
        },
    };
    let times = async |scope: &Scope| {
        let samples = store.samples(scope, PlanId(5)).await.expect("read");
        samples.iter().map(|s| s.at).collect::<Vec<_>>()
    };
    // from 3 on, in intervals of 10
    for at in [3, 13, 23, 33, 43] {
        let taken = store.commit(&ME, vec![Change::Sample(sample(at), 10, 3)]);
        taken.await.expect("taken");
    }
    assert_eq!(times(&ME).await, [3, 13, 23, 33, 43]);
    let longer = vec![Change::Sample(sample(63), 20, 3)];
    store.commit(&ME, longer).await.expect("taken");
    assert_eq!(times(&ME).await, [3, 23, 43, 63]);
    assert!(times(&Scope::member(6, [], true)).await.is_empty());
    let operator = Scope::member(4, [(ProjectId(1), Role::Operator)], false);
    let forged = store.commit(&operator, vec![Change::Sample(sample(70), 20, 3)]);
    assert!(matches!(forged.await, Err(StoreError::Forbidden)));
    assert_eq!(times(&operator).await.len(), 4);
    let gone = vec![Change::DeletePlan(PlanId(5), 1)];
    store.commit(&ME, gone).await.expect("deleted");
    assert!(times(&ME).await.is_empty());
}

async fn who_loads_in_a_cell_is_counted(store: &dyn Store) {
    furnish(store).await;
    let loading = async |scope: &Scope, cell| {
        let count = store.loading_in_cell(scope, ProjectId(1), cell).await;
        count.expect("read")
    };
    for (key, cell) in [("a", Some(7)), ("b", Some(7)), ("c", Some(8)), ("d", None)] {
        let mut entry = enrolled(5, key);
        entry.cell = cell;
        entry.open_offer(&[(0, "1")], &Deadlines::default(), 10);
        let offered = store.commit(&ME, vec![Change::PlanDevice(entry)]).await;
        offered.expect("offered");
    }
    let mut waits = enrolled(5, "e");
    waits.cell = Some(7);
    let waits = store.commit(&ME, vec![Change::PlanDevice(waits)]).await;
    waits.expect("in the plan, offered nothing");
    assert_eq!((loading(&ME, 7).await, loading(&ME, 8).await), (2, 1));
    assert_eq!(loading(&Scope::member(6, [], true), 7).await, 0);
    let read = store
        .plan_device(&ME, PlanId(5), &Endpoint::new("pk", "a"))
        .await;
    let mut entry = read.expect("read").expect("there");
    entry.steps[0].state = ComponentState::Upgrading;
    let written = store.commit(&ME, vec![Change::PlanDevice(entry)]).await;
    written.expect("what is being written loads no more");
    assert_eq!(loading(&ME, 7).await, 1);
}

async fn filters_are_kept_and_tags_come_back(store: &dyn Store) {
    furnish(store).await;
    let filter = |id: i64, name: &str| SavedFilter {
        id: FilterId(id),
        account: 1,
        project: ProjectId(1),
        name: name.into(),
        expression: "tag:berlin".into(),
        created_at: 5,
        revision: 0,
    };
    let operator = Scope::member(4, [(ProjectId(1), Role::Operator)], false);
    let viewer = Scope::member(5, [(ProjectId(1), Role::Viewer)], false);
    let stranger = Scope::member(6, [], true);
    let made = vec![Change::Filter(filter(21, "north"))];
    store.commit(&operator, made.clone()).await.expect("made");
    let again = vec![Change::Filter(filter(22, "north"))];
    let again = store.commit(&operator, again).await;
    assert!(matches!(again, Err(StoreError::Taken("name"))));
    let there = store.filters(&viewer).await.expect("read");
    assert_eq!(there[0].expression, "tag:berlin");
    assert!(store.filters(&stranger).await.expect("read").is_empty());
    let gone = vec![Change::DeleteFilter(FilterId(21), 1)];
    for scope in [&viewer, &stranger] {
        let done = store.commit(scope, gone.clone()).await;
        assert!(matches!(done, Err(StoreError::Forbidden)));
        let done = store.commit(scope, vec![Change::Filter(filter(23, "x"))]);
        assert!(matches!(done.await, Err(StoreError::Forbidden)));
    }
    store.commit(&operator, gone).await.expect("deleted");
    assert!(store.filters(&ME).await.expect("read").is_empty());
    let mut tagged = device("pk", "a");
    tagged.tags = ["berlin".to_owned()].into();
    let stored = store.commit(&ME, vec![Change::Device(tagged.clone())]);
    stored.await.expect("stored");
    let back = store.device(&ME, &tagged.endpoint).await.expect("read");
    assert_eq!(back.expect("there").tags, tagged.tags);
}

async fn devices_are_found_and_paged(store: &dyn Store) {
    furnish(store).await;
    for key in ["c", "a", "b"] {
        let mut device = device("pk", key);
        device.registration = Some(Registration {
            id: format!("reg-{key}"),
            ..Registration::default()
        });
        store
            .commit(&ME, vec![Change::Device(device)])
            .await
            .expect("done");
    }
    store
        .commit(&ME, vec![Change::Device(device("other", "a"))])
        .await
        .expect("done");
    let keys = |devices: Vec<Device>| -> Vec<String> {
        devices.into_iter().map(|d| d.endpoint.device_key).collect()
    };
    let page = Page {
        limit: 2,
        ..Page::default()
    };
    assert_eq!(
        keys(store.devices(&ME, "pk", &page).await.expect("read")),
        ["a", "b"]
    );
    let page = Page {
        after: Some("b".into()),
        ..page
    };
    assert_eq!(
        keys(store.devices(&ME, "pk", &page).await.expect("read")),
        ["c"]
    );
    let found = store
        .device_by_registration(&ME, "reg-b")
        .await
        .expect("read")
        .expect("there");
    assert_eq!(found.endpoint.device_key, "b");
    let gone = Device {
        registration: None,
        ..found
    };
    store
        .commit(&ME, vec![Change::Device(gone)])
        .await
        .expect("done");
    assert!(
        store
            .device_by_registration(&ME, "reg-b")
            .await
            .expect("read")
            .is_none()
    );
}

async fn a_device_stays_disabled_until_it_is_enabled(store: &dyn Store) {
    furnish(store).await;
    let mut new = device("pk", "a");
    new.registration = Some(Registration {
        id: "reg-a".into(),
        ..Registration::default()
    });
    store
        .commit(&ME, vec![Change::Device(new)])
        .await
        .expect("done");
    let endpoint = Endpoint::new("pk", "a");
    let mut revision = 1;
    for disabled in [false, true, false] {
        let read = store.device(&ME, &endpoint).await.expect("read");
        let mut device = read.expect("there");
        assert_eq!(
            (device.disabled, device.revision),
            (!disabled && revision > 1, revision)
        );
        assert_eq!(device.set_disabled(disabled), revision > 1);
        store
            .commit(&ME, vec![Change::Device(device)])
            .await
            .expect("done");
        revision += 1;
        let page = Page {
            limit: 9,
            ..Page::default()
        };
        let listed = store.devices(&ME, "pk", &page).await.expect("read");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].disabled, disabled);
        let registered = store.device_by_registration(&ME, "reg-a").await;
        let registered = registered.expect("read").is_some();
        assert_eq!(registered, revision == 2, "it goes with the first disable");
    }
}

async fn counters_move_with_the_devices(store: &dyn Store) {
    furnish(store).await;
    for key in ["a", "b", "c"] {
        store
            .commit(&ME, vec![Change::PlanDevice(enrolled(5, key))])
            .await
            .expect("done");
    }
    let states = [
        DeviceState::InUpgrade,
        DeviceState::InUpgrade,
        DeviceState::Upgraded,
    ];
    for state in states {
        let endpoint = Endpoint::new("pk", "b");
        let read = store
            .plan_device(&ME, PlanId(5), &endpoint)
            .await
            .expect("read");
        let mut entry = read.expect("there");
        entry.state = state;
        entry.deadline = (state == DeviceState::InUpgrade).then_some(100);
        store
            .commit(&ME, vec![Change::PlanDevice(entry.clone())])
            .await
            .expect("done");
        let late = store.commit(&ME, vec![Change::PlanDevice(entry)]).await;
        assert!(
            matches!(late, Err(StoreError::Conflict)),
            "a refused one is not counted"
        );
    }
    let mut other = enrolled(5, "d");
    other.group = 2;
    let enrols = store.commit(&ME, vec![Change::PlanDevice(other)]).await;
    enrols.expect("done");
    let mut groups = store.group_counters(&ME, PlanId(5)).await.expect("read");
    let totals: Vec<u64> = groups.iter().map(Counters::total).collect();
    assert_eq!(totals, [3, 0, 1]);
    let all = store.counters(&ME, PlanId(5)).await.expect("read");
    assert_eq!(all, Counters::sum(&groups));
    let counters = groups.remove(0);
    assert_eq!(
        counters,
        Counters {
            not_upgraded: 2,
            upgraded: 1,
            ..Counters::default()
        }
    );
    let page = Page {
        limit: 9,
        state: Some(DeviceState::Upgraded),
        ..Page::default()
    };
    assert_eq!(
        store
            .plan_devices(&ME, PlanId(5), &page)
            .await
            .expect("read")
            .len(),
        1
    );
}

async fn deadlines_are_found_earliest_first(store: &dyn Store) {
    furnish(store).await;
    for (key, deadline) in [
        ("a", Some(30)),
        ("b", Some(10)),
        ("c", None),
        ("d", Some(31)),
    ] {
        let entry = PlanDevice {
            deadline,
            ..enrolled(5, key)
        };
        store
            .commit(&ME, vec![Change::PlanDevice(entry)])
            .await
            .expect("done");
    }
    let past = store.past_deadline(&ME, 30, 9).await.expect("read");
    let keys: Vec<&str> = past
        .iter()
        .map(|d| d.endpoint.device_key.as_str())
        .collect();
    assert_eq!(keys, ["b", "a"]);
    assert_eq!(
        store.past_deadline(&ME, 30, 1).await.expect("read").len(),
        1
    );
}

async fn devices_are_read_with_all_their_plans(store: &dyn Store) {
    furnish(store).await;
    let other = Plan {
        name: "another".into(),
        ..plan(6, 1, "pk", 4)
    };
    let mut changes = vec![Change::Plan(other)];
    for (plan, key) in [(6, "b"), (5, "b"), (5, "a"), (5, "c"), (6, "d")] {
        changes.push(Change::PlanDevice(enrolled(plan, key)));
    }
    store.commit(&ME, changes).await.expect("done");
    let read = async |scope: &Scope, product: &str, after: Option<&str>, through: &str| {
        let found = store.plans_of_devices(scope, product, after, through).await;
        let of = |e: &PlanDevice| (e.endpoint.device_key.clone(), e.plan.0);
        let found: Vec<_> = found.expect("read").iter().map(of).collect();
        found
    };
    let is = |found: Vec<(String, i64)>, wanted: &[(&str, i64)]| {
        let found: Vec<_> = found
            .iter()
            .map(|(key, plan)| (key.as_str(), *plan))
            .collect();
        assert_eq!(found, wanted);
    };
    is(
        read(&ME, "pk", None, "c").await,
        &[("a", 5), ("b", 5), ("b", 6), ("c", 5)],
    );
    is(read(&ME, "pk", Some("a"), "b").await, &[("b", 5), ("b", 6)]);
    is(read(&ME, "pk", Some("d"), "z").await, &[]);
    is(read(&ME, "other", None, "z").await, &[]);
    let stranger = Scope::member(77, [], true);
    is(read(&stranger, "pk", None, "z").await, &[]);
}

async fn offers_that_nobody_took_are_counted(store: &dyn Store) {
    furnish(store).await;
    let entry = |key: &str, state, deadline| {
        Change::PlanDevice(PlanDevice {
            state,
            deadline,
            ..enrolled(5, key)
        })
    };
    let changes = vec![
        entry("a", DeviceState::NotUpgraded, Some(7)),
        entry("b", DeviceState::NotUpgraded, None),
        entry("c", DeviceState::InUpgrade, Some(7)),
        entry("d", DeviceState::NotUpgraded, Some(8)),
    ];
    store.commit(&ME, changes).await.expect("done");
    let count = async |scope: &Scope, plan| {
        let count = store.untaken_offers(scope, PlanId(plan)).await;
        count.expect("read")
    };
    assert_eq!(count(&ME, 5).await, 2);
    assert_eq!(count(&ME, 6).await, 0);
    assert_eq!(count(&Scope::member(77, [], true), 5).await, 0);
}

async fn a_plan_goes_with_everything_about_it(store: &dyn Store) {
    furnish(store).await;
    let endpoint = Endpoint::new("pk", "a");
    let log = |plan: Option<i64>, text: &str| {
        let (plan, endpoint) = (plan.map(PlanId), endpoint.clone());
        Change::Log(LogLine {
            plan,
            endpoint,
            at: 1,
            number: Some(1208),
            text: text.into(),
        })
    };
    let changes = vec![
        Change::PlanDevice(enrolled(5, "a")),
        log(Some(5), "x"),
        log(None, "y"),
        log(Some(5), "z"),
    ];
    store.commit(&ME, changes).await.expect("done");
    let texts =
        |lines: Vec<LogLine>| -> Vec<String> { lines.into_iter().map(|l| l.text).collect() };
    assert_eq!(
        texts(store.log(&ME, &endpoint, None, 9).await.expect("read")),
        ["x", "y", "z"]
    );
    assert_eq!(
        texts(store.log(&ME, &endpoint, None, 2).await.expect("read")),
        ["y", "z"]
    );
    for stale in [
        Change::DeletePlan(PlanId(5), 99),
        Change::DeleteModel(ModelId(3), 99),
    ] {
        let refused = store.commit(&ME, vec![log(None, "lost"), stale]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
        assert_eq!(
            texts(store.log(&ME, &endpoint, None, 9).await.expect("read")),
            ["x", "y", "z"],
            "a commit that fails leaves the log as it was"
        );
    }
    let of_plan = store
        .log(&ME, &endpoint, Some(PlanId(5)), 9)
        .await
        .expect("read");
    assert_eq!(texts(of_plan), ["x", "z"]);
    let page = async |after, limit| {
        let lines = store.plan_log(&ME, PlanId(5), after, limit).await;
        lines.expect("read")
    };
    let first = page(0, 1).await;
    assert_eq!(first[0].1.text, "x");
    let rest = page(first[0].0, 9).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1.text, "z");
    assert!(page(rest[0].0, 9).await.is_empty());
    let stranger = Scope::member(2, [], true);
    let lines = store.plan_log(&stranger, PlanId(5), 0, 9).await;
    assert!(lines.expect("read").is_empty());
    store
        .commit(&ME, vec![Change::DeletePlan(PlanId(5), 1)])
        .await
        .expect("done");
    assert_eq!(
        texts(store.log(&ME, &endpoint, None, 9).await.expect("read")),
        ["y"]
    );
    assert!(
        store
            .plans_of_device(&ME, &endpoint)
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(
        store.counters(&ME, PlanId(5)).await.expect("read"),
        Counters::default()
    );
    let model = Change::DeleteModel(ModelId(3), 1);
    let package = Change::DeletePackage(PackageId(4), 1);
    store.commit(&ME, vec![model, package]).await.expect("done");
    assert!(store.models(&ME).await.expect("read").is_empty());
    assert!(store.packages(&ME).await.expect("read").is_empty());
}

async fn running_plans_are_those_not_saved_and_not_over(store: &dyn Store) {
    furnish(store).await;
    let states = [PlanState::Activated, PlanState::Suspended, PlanState::Ended];
    for (i, state) in states.into_iter().enumerate() {
        let plan = Plan {
            state,
            ..plan(30 + i as i64, 1, "pk", 4)
        };
        store
            .commit(&ME, vec![Change::Plan(plan)])
            .await
            .expect("done");
    }
    let running = store.running_plans(&ME, Some("pk")).await.expect("read");
    let all = store.running_plans(&ME, None).await.expect("read");
    assert_eq!(all.len(), 2);
    assert_eq!(running.iter().map(|p| p.id.0).collect::<Vec<_>>(), [30, 31]);
    assert!(
        store
            .running_plans(&ME, Some("other"))
            .await
            .expect("read")
            .is_empty()
    );
}

type Case = for<'a> fn(&'a dyn Store) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |s| Box::pin($name(s)))),*];
    };
}

cases! {
    entities_come_back_as_they_went
    names_and_keys_are_unique_in_their_place
    a_commit_is_whole_or_not_at_all
    a_stale_revision_is_a_conflict
    nobody_sees_or_changes_what_is_outside_the_scope
    devices_are_found_and_paged
    a_device_stays_disabled_until_it_is_enabled
    counters_move_with_the_devices
    deadlines_are_found_earliest_first
    devices_are_read_with_all_their_plans
    offers_that_nobody_took_are_counted
    a_plan_goes_with_everything_about_it
    running_plans_are_those_not_saved_and_not_over
    who_may_call_is_kept_and_found
    access_is_changed_by_those_who_may
    a_link_works_once_and_what_has_ended_goes
    samples_are_kept_one_in_each_interval
    who_loads_in_a_cell_is_counted
    filters_are_kept_and_tags_come_back
    webhooks_get_what_they_want_with_the_change
    too_many_deliveries_and_old_ones_go
    an_account_goes_with_all_that_speaks_for_it
    the_audit_log_grows_with_the_change_and_is_found
}

#[test]
fn the_memory_store_keeps_the_contract_and_never_waits() {
    for (name, case) in CASES {
        let store = MemoryStore::new();
        let done = futures::FutureExt::now_or_never(case(&store));
        assert!(done.is_some(), "{name} waited");
    }
}

#[tokio::test]
async fn the_sqlite_store_keeps_the_contract() {
    for (name, case) in CASES {
        let folder = tempfile::tempdir().expect("folder");
        let store = SqliteStore::open(&folder.path().join(format!("{name}.db"))).await;
        case(&store.expect("opened")).await;
    }
}

#[test]
fn the_memory_store_can_be_cut_on_either_side_of_a_commit() {
    for (side, there) in [(Cut::Before, false), (Cut::After, true)] {
        let store = MemoryStore::new();
        store.set_cut_point(Some(Box::new(move |at| at != side)));
        let commit = store.commit(&ME, vec![Change::Project(project(1, "one"))]);
        let result = futures::FutureExt::now_or_never(commit).expect("never waits");
        assert!(result.is_err());
        store.set_cut_point(None);
        let read = futures::FutureExt::now_or_never(store.project(&ME, ProjectId(1)));
        assert_eq!(read.expect("never waits").expect("read").is_some(), there);
    }
}

#[test]
fn every_refusal_has_its_line_of_the_catalogue() {
    let problem = crate::domain::Problem::from(StoreError::Full);
    assert_eq!(problem.error, CenterError::StorageFull);
}
