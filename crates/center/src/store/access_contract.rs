//! The part of the contract about who may call; the table that runs it is in `contract`.

use super::samples::{audit, project};
use super::{Change, Role, Scope, Store, StoreError};
use crate::domain::{
    Account, Action, ApiToken, AuditFilter, Invitation, Membership, PasswordReset, ProjectId,
    Session,
};

const CENTER: Scope = Scope::OWNER;

fn account(id: i64, name: &str) -> Account {
    Account {
        id,
        name: name.into(),
        password: "$argon2id$".into(),
        created_at: 5,
        revision: 0,
    }
}

fn member(account: i64, role: Role) -> Membership {
    Membership {
        account,
        project: ProjectId(1),
        role,
    }
}

fn token(id: i64, account: i64, name: &str) -> ApiToken {
    ApiToken {
        id,
        digest: format!("token {id}"),
        account,
        name: name.into(),
        role: Role::Operator,
        project: Some(ProjectId(1)),
        created_at: 5,
        expires_at: 50,
    }
}

fn invitation(digest: &str, project: Option<ProjectId>) -> Invitation {
    Invitation {
        digest: digest.into(),
        project,
        role: Role::Viewer,
        expires_at: 50,
    }
}

fn session(digest: &str, expires_at: i64) -> Session {
    Session {
        digest: digest.into(),
        account: 1,
        created_at: 5,
        expires_at,
    }
}

fn reset(digest: &str, account: i64) -> PasswordReset {
    PasswordReset {
        digest: digest.into(),
        account,
        projects: Some([ProjectId(1)].into()),
        expires_at: 50,
    }
}

pub(super) async fn the_audit_log_grows_with_the_change_and_is_found(store: &dyn Store) {
    furnish(store).await;
    let [owner, operator, elsewhere] = scopes();
    let entry = |project: Option<i64>, action, at| Change::Audit(audit(project, action, at));
    let changes = vec![
        entry(Some(1), Action::PlanCreated, 10),
        entry(None, Action::LoggedIn, 11),
        entry(Some(1), Action::PlanActivated, 12),
    ];
    store.commit(&CENTER, changes).await.expect("done");
    // with the change or not at all
    let refused = vec![
        entry(Some(1), Action::PlanDeleted, 13),
        Change::Project(project(1, "stale")),
    ];
    let refused = store.commit(&operator, refused).await;
    assert!(refused.is_err());
    let own = vec![entry(None, Action::TokenCreated, 14)];
    store.commit(&operator, own.clone()).await.expect("its own");
    for (scope, changes) in [
        (&owner, own),
        (&elsewhere, vec![entry(Some(1), Action::PlanEnded, 15)]),
    ] {
        let forged = store.commit(scope, changes).await;
        assert!(matches!(forged, Err(StoreError::Forbidden)));
    }
    let viewer = Scope::member(9, [(ProjectId(1), Role::Viewer)], false);
    let forged = vec![entry(Some(1), Action::PlanEnded, 16)];
    assert!(store.commit(&viewer, forged).await.is_err());
    let of = |project: Option<i64>| AuditFilter {
        project: project.map(ProjectId),
        ..AuditFilter::default()
    };
    let found = async |scope: &Scope, filter: AuditFilter, limit| {
        let entries = store.audit(scope, &filter, limit).await.expect("read");
        entries.iter().map(|e| e.action).collect::<Vec<_>>()
    };
    use Action::{LoggedIn, PlanActivated, PlanCreated, TokenCreated};
    assert_eq!(
        found(&viewer, of(Some(1)), 9).await,
        [PlanActivated, PlanCreated]
    );
    assert_eq!(found(&elsewhere, of(Some(1)), 9).await, []);
    assert_eq!(found(&CENTER, of(None), 9).await, [TokenCreated, LoggedIn]);
    assert_eq!(
        found(&operator, of(None), 9).await,
        [TokenCreated, LoggedIn]
    );
    assert_eq!(
        found(&owner, of(None), 9).await,
        [],
        "about another account"
    );
    // a page, and each part of the filter
    assert_eq!(found(&owner, of(Some(1)), 1).await, [PlanActivated]);
    let first = store.audit(&owner, &of(Some(1)), 1).await.expect("read");
    assert!(first[0].id > 0);
    let narrow: [fn(&mut AuditFilter); 5] = [
        |f| f.action = Some(PlanCreated),
        |f| f.to = Some(12),
        |f| f.from = Some(11),
        |f| f.actor = Some("bob".into()),
        |f| f.object = Some("plan/6".into()),
    ];
    let wanted: [&[Action]; 5] = [&[PlanCreated], &[PlanCreated], &[PlanActivated], &[], &[]];
    for (narrow, wanted) in narrow.iter().zip(wanted) {
        let mut filter = of(Some(1));
        narrow(&mut filter);
        assert_eq!(found(&owner, filter, 9).await, wanted);
    }
    let older = AuditFilter {
        before: Some(first[0].id),
        ..of(Some(1))
    };
    assert_eq!(found(&owner, older, 9).await, [PlanCreated]);
}

pub(super) async fn an_account_goes_with_all_that_speaks_for_it(store: &dyn Store) {
    furnish(store).await;
    let changes = vec![
        Change::Session(session("kept", 100)),
        Change::Session(session("ended", 100)),
        Change::Token(token(7, 1, "ci")),
        Change::PasswordReset(reset("first", 1)),
        Change::PasswordReset(reset("second", 1)),
        Change::PasswordReset(reset("other", 2)),
    ];
    store.commit(&CENTER, changes).await.expect("done");
    let found = async |digest: &str| store.password_reset(&CENTER, digest).await.expect("read");
    assert_eq!(found("first").await, None, "the second voids it");
    assert_eq!(found("second").await, Some(reset("second", 1)));
    let names = store.accounts(&CENTER).await.expect("read");
    let names: Vec<_> = names.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["ada", "bob", "eve"]);
    let ends = vec![Change::DeleteSessions(1, Some("kept".into()))];
    store.commit(&CENTER, ends).await.expect("ended");
    let there = async |digest: &str| {
        store
            .session(&CENTER, digest)
            .await
            .expect("read")
            .is_some()
    };
    assert!(there("kept").await && !there("ended").await);
    let used = vec![Change::DeletePasswordReset("other".into())];
    store.commit(&CENTER, used.clone()).await.expect("used");
    let again = store.commit(&CENTER, used).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "once");
    let stale = store
        .commit(&CENTER, vec![Change::DeleteAccount(1, 9)])
        .await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    let gone = store
        .commit(&CENTER, vec![Change::DeleteAccount(1, 1)])
        .await;
    gone.expect("removed");
    assert!(!there("kept").await);
    assert_eq!(found("second").await, None);
    assert_eq!(store.token(&CENTER, "token 7").await.expect("read"), None);
    assert_eq!(store.account(&CENTER, 1).await.expect("read"), None);
    assert!(
        store
            .memberships(&CENTER, 1)
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(store.memberships(&CENTER, 2).await.expect("read").len(), 1);
}

/// A project with an owner (1), an operator (2) and an account elsewhere (3).
async fn furnish(store: &dyn Store) {
    let changes = vec![
        Change::Project(project(1, "one")),
        Change::Account(account(1, "ada")),
        Change::Account(account(2, "bob")),
        Change::Account(account(3, "eve")),
        Change::Membership(member(1, Role::Owner)),
        Change::Membership(member(2, Role::Operator)),
    ];
    store.commit(&CENTER, changes).await.expect("furnished");
}

fn scopes() -> [Scope; 3] {
    [
        Scope::member(1, [(ProjectId(1), Role::Owner)], true),
        Scope::member(2, [(ProjectId(1), Role::Operator)], true),
        Scope::member(3, [], true),
    ]
}

pub(super) async fn who_may_call_is_kept_and_found(store: &dyn Store) {
    assert!(!store.any_account(&CENTER).await.expect("read"));
    furnish(store).await;
    assert!(store.any_account(&CENTER).await.expect("read"));
    let changes = vec![
        Change::Session(session("s", 50)),
        Change::Token(token(7, 1, "ci")),
        Change::Invitation(invitation("i", Some(ProjectId(1)))),
    ];
    store.commit(&CENTER, changes).await.expect("done");
    let ada = store.account_by_name(&CENTER, "ada").await.expect("read");
    let ada = ada.expect("there");
    assert_eq!((ada.id, ada.revision), (1, 1));
    let again = store.commit(&CENTER, vec![Change::Account(account(9, "ada"))]);
    assert!(matches!(again.await, Err(StoreError::Taken("name"))));
    let stale = store.commit(&CENTER, vec![Change::Account(account(1, "ada"))]);
    assert!(matches!(stale.await, Err(StoreError::Conflict)));
    let renamed = Account {
        password: "new".into(),
        ..ada
    };
    let renamed = store.commit(&CENTER, vec![Change::Account(renamed)]);
    renamed.await.expect("changed");
    let found = store.session(&CENTER, "s").await.expect("read");
    assert_eq!(found, Some(session("s", 50)));
    assert_eq!(store.session(&CENTER, "t").await.expect("read"), None);
    let found = store.token(&CENTER, "token 7").await.expect("read");
    assert_eq!(found, Some(token(7, 1, "ci")));
    let twice = store.commit(&CENTER, vec![Change::Token(token(8, 1, "ci"))]);
    assert!(matches!(twice.await, Err(StoreError::Taken("name"))));
    let found = store.invitation(&CENTER, "i").await.expect("read");
    assert_eq!(found, Some(invitation("i", Some(ProjectId(1)))));
    let roles = store.memberships(&CENTER, 2).await.expect("read");
    assert_eq!(roles, [member(2, Role::Operator)]);
    let gone = vec![Change::DeleteSession("s".into())];
    store.commit(&CENTER, gone.clone()).await.expect("gone");
    store.commit(&CENTER, gone).await.expect("gone already");
    assert_eq!(store.session(&CENTER, "s").await.expect("read"), None);
}

pub(super) async fn access_is_changed_by_those_who_may(store: &dyn Store) {
    furnish(store).await;
    let [owner, operator, elsewhere] = scopes();
    let only_center = [
        Change::Account(account(9, "mallory")),
        Change::Session(session("forged", 50)),
        Change::DeleteSession("s".into()),
        Change::DeleteInvitation("i".into()),
        Change::DropExpired(100),
        Change::DeleteAccount(2, 1),
        Change::DeleteSessions(1, None),
        Change::PasswordReset(reset("r", 2)),
        Change::DeletePasswordReset("r".into()),
        Change::Invitation(invitation("set-up", None)),
        Change::Token(token(7, 8, "of another")),
    ];
    for change in only_center {
        let done = store.commit(&owner, vec![change.clone()]).await;
        assert!(matches!(done, Err(StoreError::Forbidden)), "{change:?}");
    }
    let only_owner = [
        Change::Membership(member(3, Role::Owner)),
        Change::DeleteMembership(1, ProjectId(1)),
        Change::Invitation(invitation("i", Some(ProjectId(1)))),
    ];
    for change in only_owner {
        for scope in [&operator, &elsewhere] {
            let done = store.commit(scope, vec![change.clone()]).await;
            assert!(matches!(done, Err(StoreError::Forbidden)), "{change:?}");
        }
    }
    for scope in [&owner, &operator] {
        assert!(store.session(scope, "s").await.is_err());
        assert!(store.token(scope, "t").await.is_err());
        assert!(store.invitation(scope, "i").await.is_err());
        assert!(store.account_by_name(scope, "eve").await.is_err());
        assert!(store.any_account(scope).await.is_err());
        assert!(store.accounts(scope).await.is_err());
        assert!(store.password_reset(scope, "r").await.is_err());
        assert!(store.account(scope, 3).await.is_err());
        assert!(store.memberships(scope, 3).await.is_err());
        assert!(store.tokens(scope, 3).await.is_err());
        let members = store.members(scope, ProjectId(1)).await.expect("read");
        let names: Vec<_> = members
            .iter()
            .map(|(m, n)| (m.account, n.as_str()))
            .collect();
        assert_eq!(names, [(1, "ada"), (2, "bob")]);
    }
    let members = store.members(&elsewhere, ProjectId(1)).await;
    assert!(members.expect("read").is_empty());
    // one's own
    let own = vec![Change::Token(token(7, 2, "mine"))];
    store.commit(&operator, own).await.expect("made");
    assert_eq!(store.tokens(&operator, 2).await.expect("read").len(), 1);
    let foreign = store.commit(&owner, vec![Change::DeleteToken(7)]).await;
    assert!(matches!(foreign, Err(StoreError::Forbidden)));
    let own = store.commit(&operator, vec![Change::DeleteToken(7)]).await;
    own.expect("deleted");
    let leaves = vec![Change::DeleteMembership(2, ProjectId(1))];
    store.commit(&operator, leaves).await.expect("left");
    // a project of one's own, and its first owner
    let mut own = project(6, "mine");
    own.account = 3;
    let first = Membership {
        project: ProjectId(6),
        ..member(3, Role::Owner)
    };
    let changes = vec![Change::Project(own), Change::Membership(first)];
    store.commit(&elsewhere, changes).await.expect("made");
    let forged = vec![Change::Project(project(7, "in another's name"))];
    let forged = store.commit(&elsewhere, forged).await;
    assert!(matches!(forged, Err(StoreError::Forbidden)));
    let held = Scope::member(3, [(ProjectId(6), Role::Owner)], false);
    let mut third = project(8, "third");
    third.account = 3;
    let third = store.commit(&held, vec![Change::Project(third)]).await;
    assert!(matches!(third, Err(StoreError::Forbidden)));
}

pub(super) async fn a_link_works_once_and_what_has_ended_goes(store: &dyn Store) {
    furnish(store).await;
    let changes = vec![
        Change::Invitation(invitation("i", None)),
        Change::Session(session("old", 10)),
        Change::Session(session("new", 100)),
        Change::Token(token(7, 1, "old")),
        Change::PasswordReset(reset("old", 2)),
    ];
    store.commit(&CENTER, changes).await.expect("done");
    let used = |name: &str, id| {
        vec![
            Change::Account(account(id, name)),
            Change::DeleteInvitation("i".into()),
        ]
    };
    let first = store.commit(&CENTER, used("first", 10)).await;
    first.expect("used");
    let second = store.commit(&CENTER, used("second", 11)).await;
    assert!(matches!(second, Err(StoreError::Conflict)));
    let second = store.account_by_name(&CENTER, "second").await;
    assert_eq!(second.expect("read"), None);
    let drop = store.commit(&CENTER, vec![Change::DropExpired(50)]).await;
    drop.expect("dropped");
    assert_eq!(store.session(&CENTER, "old").await.expect("read"), None);
    let link = store.password_reset(&CENTER, "old").await;
    assert_eq!(link.expect("read"), None);
    assert!(store.session(&CENTER, "new").await.expect("read").is_some());
    assert_eq!(store.token(&CENTER, "token 7").await.expect("read"), None);
}
