//! Tokens are made, used, ended and read again.

use std::os::unix::fs::PermissionsExt;

use super::super::files::PREFIX;
use super::*;
use crate::data_folder::{self, TOKENS};

fn keys() -> (Keys, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Keys::load(dir.path(), true).unwrap(), dir)
}

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.into(), scope: Scope::Read, topics: Vec::new(), expires: None }
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

#[test]
fn only_a_token_opens() {
    let (keys, dir) = keys();
    let root = std::fs::read_to_string(dir.path().join(TOKEN)).unwrap();
    let (_, secret) = keys.create(wanted("phone")).unwrap();
    for (token, who) in [(&root, Who::ApiToken), (&secret, Who::Token("phone".into()))] {
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let caller = keys.check(Some(&format!("{scheme} {token}"))).unwrap();
            assert_eq!(caller.who(), &who);
        }
    }
    for none in [None, Some(""), Some("secret"), Some(secret.as_str()), Some("Basic secret")] {
        assert!(matches!(keys.check(none), Err(CallError::NoToken)), "{none:?}");
    }
    let long = bearer(&format!("{}{secret}", " ".repeat(MAX_AUTHORIZATION_BYTES)));
    for wrong in ["Bearer ", "Bearer x", &bearer(&secret[1..]), &bearer(&format!("{secret}0")), &long] {
        assert!(matches!(keys.check(Some(wrong)), Err(CallError::UnknownToken)), "{wrong:?}");
    }
}

#[test]
fn a_secret_is_nowhere_in_the_file_and_a_token_survives_a_restart() {
    let (keys, dir) = keys();
    let (key, secret) =
        keys.create(Wanted { topics: vec!["notes".into()], scope: Scope::Write, ..wanted("phone") }).unwrap();
    keys.check(Some(&bearer(&secret))).unwrap();
    keys.write_uses().unwrap();
    let text = std::fs::read_to_string(dir.path().join(TOKENS)).unwrap();
    assert!(!text.contains(secret.trim_start_matches(PREFIX)), "{text}");
    let mode = std::fs::metadata(dir.path().join(TOKENS)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = Keys::load(dir.path(), true).unwrap();
    let caller = again.check(Some(&bearer(&secret))).unwrap();
    assert_eq!((caller.scope, caller.topics.is_limited()), (Scope::Write, true));
    let known = &again.all()[0];
    assert!(known.last_used_ms.is_some(), "{known:?}");
    assert_eq!(Key { last_used_ms: None, ..known.clone() }, key);
}

#[test]
fn a_token_that_is_over_says_how_it_ended() {
    let (keys, _dir) = keys();
    let (_, revoked) = keys.create(wanted("revoked")).unwrap();
    let (_, expired) = keys.create(Wanted { expires: Some(Duration::ZERO), ..wanted("expired") }).unwrap();
    let caller = keys.check(Some(&bearer(&revoked))).unwrap();
    keys.revoke("revoked").unwrap();
    assert!(caller.end.unwrap().revoked.is_cancelled(), "what was begun with it ends");
    assert!(matches!(keys.check(Some(&bearer(&revoked))), Err(CallError::TokenRevoked)));
    assert!(matches!(keys.check(Some(&bearer(&expired))), Err(CallError::TokenExpired)));
    for gone in ["revoked", "expired", "never"] {
        assert!(matches!(keys.revoke(gone), Err(CallError::NoSuchToken(_))), "{gone}");
    }
    // The name is free again, and its new holder is not its old one.
    let (_, again) = keys.create(wanted("revoked")).unwrap();
    assert!(keys.check(Some(&bearer(&again))).is_ok());
    assert!(matches!(keys.check(Some(&bearer(&revoked))), Err(CallError::UnknownToken)));
}

#[test]
fn other_tokens_go_on_when_one_is_made_or_revoked() {
    let (keys, _dir) = keys();
    let (_, secret) = keys.create(wanted("stays")).unwrap();
    let caller = keys.check(Some(&bearer(&secret))).unwrap();
    keys.create(wanted("other")).unwrap();
    keys.revoke("other").unwrap();
    keys.write_uses().unwrap();
    let revoked = caller.end.unwrap().revoked;
    assert!(!revoked.is_cancelled());
    keys.revoke("stays").unwrap();
    assert!(revoked.is_cancelled());
}

#[test]
fn what_no_token_can_be_is_refused() {
    let (keys, dir) = keys();
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for name in ["", "Phone", "-x", ".x", "a b", "a/b", "\u{e4}", &long] {
        assert!(matches!(keys.create(wanted(name)), Err(CallError::Invalid(_))), "{name:?}");
    }
    keys.create(wanted(&long[1..])).unwrap();
    let twice = keys.create(wanted(&long[1..])).unwrap_err().to_string();
    assert!(twice.contains("already"), "{twice}");
    let limited = |scope, topics: &[&str]| {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        keys.create(Wanted { scope, topics, ..wanted("limited") })
    };
    assert!(limited(Scope::Admin, &["a"]).is_err() && limited(Scope::Read, &["Bad!"]).is_err());
    assert!(limited(Scope::Read, &["a"; MAX_TOPICS + 1]).is_err());
    let ages = Wanted { expires: Some(Duration::MAX), ..wanted("ages") };
    assert!(keys.create(ages).is_err());
    assert_eq!(Keys::load(dir.path(), false).unwrap().all().len(), 1, "nothing of it is kept");
}

#[test]
fn there_are_so_many_tokens_and_no_more() {
    let (keys, _dir) = keys();
    for number in 0..MAX_TOKENS {
        keys.create(wanted(&format!("t{number}"))).unwrap();
    }
    assert!(matches!(keys.create(wanted("more")), Err(CallError::TooManyTokens(_))));
    keys.revoke("t0").unwrap();
    keys.create(wanted("more")).unwrap();
}

#[test]
fn of_those_that_are_over_the_oldest_are_forgotten() {
    let key = |number: u64, revoked_ms| Key {
        name: format!("t{number}"),
        hash: blake3::hash(&number.to_le_bytes()).to_string(),
        scope: Scope::Read,
        topics: Vec::new(),
        created_ms: 1,
        expires_ms: None,
        last_used_ms: None,
        revoked_ms,
    };
    let mut keys: Vec<Key> =
        (0..MAX_RETIRED as u64 + 3).map(|number| key(number, Some(number + 1))).collect();
    keys.insert(0, key(9999, None));
    forget_retired(&mut keys, 1_000_000);
    assert_eq!(keys.len(), MAX_RETIRED + 1);
    assert!(!keys.iter().any(|key| ["t0", "t1", "t2"].contains(&key.name.as_str())));
    assert!(keys.iter().any(|key| key.name == "t9999"), "what opens stays");
}

#[test]
fn what_is_read_anew_ends_those_that_are_no_more() {
    let (keys, dir) = keys();
    let root = std::fs::read_to_string(dir.path().join(TOKEN)).unwrap();
    let (_, stays) = keys.create(wanted("stays")).unwrap();
    let (_, goes) = keys.create(wanted("goes")).unwrap();
    let callers = [&stays, &goes, &root].map(|secret| keys.check(Some(&bearer(secret))).unwrap());
    let kept: Vec<Key> = keys.all().into_iter().filter(|key| key.name == "stays").collect();
    data_folder::write(&dir.path().join(TOKENS), &serde_json::to_vec(&kept).unwrap()).unwrap();
    std::fs::remove_file(dir.path().join(TOKEN)).unwrap();
    assert_eq!(keys.reload().unwrap(), (1, 2), "a new api.token; it and one other are over");
    let ended = callers.map(|caller| caller.end.unwrap().revoked.is_cancelled());
    assert_eq!(ended, [false, true, true]);
    assert!(keys.check(Some(&bearer(&root))).is_err() && keys.check(Some(&bearer(&goes))).is_err());
    assert!(keys.check(Some(&bearer(&stays))).is_ok());

    std::fs::write(dir.path().join(TOKENS), "[{").unwrap();
    assert!(keys.reload().unwrap_err().to_string().contains("mend"));
    assert!(keys.check(Some(&bearer(&stays))).is_ok(), "all is as it was");
    assert_eq!(keys.reload().is_err(), Keys::load(dir.path(), true).is_err());
}

#[test]
fn a_token_is_revoked_also_where_that_cannot_be_written_down() {
    let (keys, dir) = keys();
    let (_, secret) = keys.create(wanted("stolen")).unwrap();
    // What cannot be read cannot be replaced either: as good as a disk that fails.
    std::fs::remove_file(dir.path().join(TOKENS)).unwrap();
    std::fs::create_dir(dir.path().join(TOKENS)).unwrap();
    let told = format!("{:#}", keys.revoke("stolen").unwrap_err());
    assert!(told.contains("opens nothing any more until"), "{told}");
    assert!(matches!(keys.check(Some(&bearer(&secret))), Err(CallError::TokenRevoked)));
}

#[test]
fn what_somebody_changed_in_the_file_is_not_written_over() {
    let (keys, dir) = keys();
    let (_, stolen) = keys.create(wanted("stolen")).unwrap();
    let (_, phone) = keys.create(wanted("phone")).unwrap();
    let path = dir.path().join(TOKENS);
    let kept: Vec<Key> = super::super::files::read(dir.path())
        .unwrap()
        .into_iter()
        .filter(|key| key.name == "phone")
        .collect();
    super::super::files::write(dir.path(), &kept).unwrap();
    let by_hand = std::fs::read(&path).unwrap();
    // It is used, and the node stops: the file stays as it was changed.
    keys.check(Some(&bearer(&stolen))).unwrap();
    keys.write_uses().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), by_hand);
    assert!(matches!(keys.create(wanted("third")), Err(CallError::Invalid(_))));
    // A token that is revoked meanwhile is marked in what was changed.
    keys.revoke("phone").unwrap();
    let again = Keys::load(dir.path(), true).unwrap();
    assert!(matches!(again.check(Some(&bearer(&stolen))), Err(CallError::UnknownToken)));
    assert!(matches!(again.check(Some(&bearer(&phone))), Err(CallError::TokenRevoked)));
    keys.reload().unwrap();
    keys.create(wanted("third")).unwrap();
}
