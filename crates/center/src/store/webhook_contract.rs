//! The part of the contract about webhooks and their outbox; the table that runs it is in `contract`.

use super::samples::project;
use super::{Change, Role, Scope, Store, StoreError};
use crate::domain::{
    Delivery, Event, EventKind, KEPT_FOR, KEPT_LIMIT, ProjectId, WAITING_LIMIT, Webhook, WebhookId,
};

const CENTER: Scope = Scope::OWNER;

fn webhook(id: i64, project: i64, events: &[EventKind]) -> Webhook {
    Webhook {
        id: WebhookId(id),
        account: 1,
        project: ProjectId(project),
        name: format!("hook {id}"),
        url: "https://example.org".into(),
        secret: "key".into(),
        events: events.iter().copied().collect(),
        enabled: true,
        created_at: 5,
        revision: 0,
    }
}

/// Of kind DeviceCreated.
fn event(project: i64, at: i64) -> Event {
    Event::device_created(ProjectId(project), &Default::default(), at)
}

async fn furnish(store: &dyn Store) {
    let wants = [EventKind::DeviceCreated];
    let off = Webhook {
        enabled: false,
        ..webhook(13, 1, &wants)
    };
    let changes = vec![
        Change::Project(project(1, "one")),
        Change::Project(project(2, "two")),
        Change::Webhook(webhook(11, 1, &wants)),
        Change::Webhook(webhook(12, 1, &[EventKind::PlanState])),
        Change::Webhook(off),
        Change::Webhook(webhook(14, 2, &wants)),
    ];
    store.commit(&CENTER, changes).await.expect("furnished");
}

async fn times(store: &dyn Store, id: i64) -> Vec<i64> {
    let all = store.deliveries(&CENTER, WebhookId(id), None, 99_999).await;
    all.expect("read").iter().map(|d| d.event.at).collect()
}

pub(super) async fn webhooks_get_what_they_want_with_the_change(store: &dyn Store) {
    furnish(store).await;
    let owner = Scope::member(3, [(ProjectId(1), Role::Owner)], false);
    let operator = Scope::member(4, [(ProjectId(1), Role::Operator)], false);
    let first = vec![Change::Event(event(1, 10)), Change::Event(event(1, 20))];
    store.commit(&operator, first).await.expect("told");
    let refused = vec![
        Change::Event(event(1, 30)),
        Change::Project(project(1, "x")),
    ];
    assert!(store.commit(&operator, refused).await.is_err());
    let elsewhere = store
        .commit(&operator, vec![Change::Event(event(2, 1))])
        .await;
    assert!(matches!(elsewhere, Err(StoreError::Forbidden)));
    assert_eq!(
        times(store, 11).await,
        [20, 10],
        "with its change or not at all"
    );
    for id in [12, 13, 14] {
        assert!(times(store, id).await.is_empty(), "{id}");
    }
    // what is due first
    let due = async |now| {
        let due = store.due_delivery(&CENTER, WebhookId(11), now).await;
        due.expect("read")
    };
    assert_eq!(due(9).await, None);
    let mut delivery = due(99).await.expect("due");
    assert_eq!(delivery.event.at, 10);
    delivery.attempted(Err("no".into()), 1000, 50);
    let tried = vec![Change::Delivery(delivery.clone())];
    store.commit(&CENTER, tried).await.expect("stored");
    assert_eq!(due(99).await.map(|d| d.event.at), Some(20));
    let found = store.delivery(&owner, delivery.id).await.expect("read");
    assert_eq!(found, Some(delivery.clone()));
    let waiting = store.waiting_deliveries(&owner, WebhookId(11)).await;
    assert_eq!(waiting.expect("read"), 2);
    delivery.attempted(Ok(200), 1000, 2000);
    let done = vec![Change::Delivery(delivery.clone())];
    store.commit(&CENTER, done).await.expect("stored");
    let waiting = store.waiting_deliveries(&owner, WebhookId(11)).await;
    assert_eq!(waiting.expect("read"), 1);
    // for owners
    let seen = store.webhooks(&owner).await.expect("read");
    assert_eq!(
        seen.iter().map(|w| w.id.0).collect::<Vec<_>>(),
        [11, 12, 13]
    );
    assert!(store.webhooks(&operator).await.expect("read").is_empty());
    let none = store.deliveries(&operator, WebhookId(11), None, 9).await;
    assert!(none.expect("read").is_empty());
    let none = store.delivery(&operator, delivery.id).await;
    assert_eq!(none.expect("read"), None);
    assert!(store.due_delivery(&owner, WebhookId(11), 99).await.is_err());
    let changes = [
        Change::Webhook(webhook(15, 1, &[EventKind::PlanState])),
        Change::Delivery(Delivery::new(&seen[0], event(1, 1))),
        Change::DeleteWebhook(WebhookId(11), 1),
        Change::TrimDeliveries(0),
    ];
    for change in changes {
        let done = store.commit(&operator, vec![change.clone()]).await;
        assert!(matches!(done, Err(StoreError::Forbidden)), "{change:?}");
    }
    let page = store.deliveries(&owner, WebhookId(11), Some(delivery.id + 1), 9);
    assert_eq!(page.await.expect("read"), [delivery.clone()]);
    let gone = vec![Change::DeleteWebhook(WebhookId(11), 1)];
    store.commit(&owner, gone).await.expect("deleted");
    assert!(times(store, 11).await.is_empty());
    let late = store
        .commit(&CENTER, vec![Change::Delivery(delivery)])
        .await;
    assert!(matches!(late, Err(StoreError::Conflict)));
}

pub(super) async fn too_many_deliveries_and_old_ones_go(store: &dyn Store) {
    furnish(store).await;
    let many = WAITING_LIMIT as i64 + 2;
    let events = (1..=many).map(|at| Change::Event(event(1, at))).collect();
    store.commit(&CENTER, events).await.expect("told");
    let trim = vec![Change::TrimDeliveries(10)];
    store.commit(&CENTER, trim).await.expect("trimmed");
    let waiting = store.waiting_deliveries(&CENTER, WebhookId(11)).await;
    assert_eq!(waiting.expect("read"), WAITING_LIMIT as u64);
    let all = store.deliveries(&CENTER, WebhookId(11), None, 99_999).await;
    let all = all.expect("read");
    let given_up: Vec<_> = all.iter().filter(|d| !d.waits()).collect();
    assert_eq!(
        given_up.iter().map(|d| d.event.at).collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(given_up[0].error.contains("too many"));
    let over = all.iter().take(KEPT_LIMIT + 5).cloned().map(|mut d| {
        d.attempted(Ok(200), 1, 1);
        Change::Delivery(d)
    });
    store.commit(&CENTER, over.collect()).await.expect("stored");
    let trim = vec![Change::TrimDeliveries(10)];
    store.commit(&CENTER, trim).await.expect("trimmed");
    let left = times(store, 11).await;
    assert_eq!(
        left.len(),
        WAITING_LIMIT - 5,
        "of those that are over the newest are kept"
    );
    let trim = vec![Change::TrimDeliveries(many + 1 + KEPT_FOR)];
    store.commit(&CENTER, trim).await.expect("trimmed");
    let left = store.deliveries(&CENTER, WebhookId(11), None, 99_999).await;
    assert!(
        left.expect("read").iter().all(Delivery::waits),
        "the old ones go"
    );
}
