//! Users and keys in the file.

use crate::Home;
use mqtt_bouncer::accounts::{AccountChange, ApiKey, Digest, PasswordHash, Role, User};
use mqtt_bouncer::admission::{List, Timestamp, Until};
use mqtt_bouncer::store::{Change, Store};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_123);

fn user(name: &str) -> User {
    User {
        name: name.parse().expect("a name"),
        role: Role::Viewer,
        password: PasswordHash::of_nobody(),
        description: "größe".into(),
        created_at: NOW,
    }
}

fn key(name: &str, expired_at: Until) -> ApiKey {
    ApiKey {
        name: name.parse().expect("a name"),
        key: format!("key of {name}").into(),
        secret: Digest::of(name),
        role: Role::Administrator,
        enabled: false,
        expired_at,
        description: "".into(),
        created_at: NOW,
    }
}

fn change(store: &Store, changes: Vec<AccountChange>) {
    store.change_blocking(changes.into_iter().map(Change::Account).collect()).expect("written");
}

#[test]
fn accounts_come_back_as_they_were_and_clearing_bans_leaves_them() {
    let home = Home::new();
    let (store, ..) = home.open();
    let end = Until::Moment(NOW.after(Duration::from_hours(1)));
    let keys = [key("a", Until::Infinity), key("b", end)];
    change(&store, vec![AccountChange::PutUser(user("eve")), AccountChange::PutUser(user("bob"))]);
    change(&store, keys.clone().map(AccountChange::PutKey).to_vec());
    store.change_blocking(vec![Change::Clear(List::Bans)]).expect("written");
    store.close();
    let (store, _, loaded) = home.open();
    assert_eq!(
        (loaded.accounts.users, loaded.accounts.keys),
        (vec![user("bob"), user("eve")], keys.to_vec())
    );

    let eve = User { role: Role::Administrator, ..user("eve") };
    let removed = "bob".parse().expect("a name");
    change(&store, vec![AccountChange::PutUser(eve.clone()), AccountChange::RemoveUser(removed)]);
    change(&store, vec![AccountChange::RemoveKey("a".parse().expect("a name"))]);
    store.close();
    let (store, loaded) = Store::open(home.path(), None).expect("a store");
    assert_eq!((&loaded.accounts.users, &loaded.accounts.keys), (&vec![eve], &keys[1..].to_vec()));
    drop(store);
}

#[test]
fn a_row_that_is_no_account_lets_nobody_in_and_stops_nobody() {
    let home = Home::new();
    let (store, ..) = home.open();
    change(
        &store,
        vec![AccountChange::PutUser(user("eve")), AccountChange::PutKey(key("a", Until::Infinity))],
    );
    store.close();
    let file = rusqlite::Connection::open(home.path()).expect("a file");
    file.execute("INSERT INTO users VALUES ('x y', 'viewer', '', '', 0), ('bob', 'root', '', '', 0)", [])
        .expect("rows");
    file.execute("INSERT INTO api_keys VALUES ('b', 'k', x'00', 'viewer', 1, NULL, '', 0)", [])
        .expect("a row");
    drop(file);
    let (_store, _, loaded) = home.open();
    assert_eq!((loaded.accounts.users.len(), loaded.accounts.keys.len()), (1, 1));
}
