//! A node on a store as earlier versions left it: all that it held is there, and nothing is embedded anew.

use std::path::Path;

use redb::{Database, Key, ReadableTable, TableDefinition, Value, WriteTransaction};
use synapsenet_proto::rpc;

use super::harness::{TestNode, config, folder, note};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

fn drop_table<K: Key + 'static, V: Value + 'static>(txn: &WriteTransaction, name: &str) {
    assert!(txn.delete_table(TableDefinition::<K, V>::new(name)).unwrap(), "there is a table {name}");
}

/// Takes out what a format brought.
type Step = fn(&WriteTransaction);

/// Format 6 has an order by metadata, knows pins, and tells the owner's occasions from those of others.
fn as_format_5(txn: &WriteTransaction) {
    drop_table::<(&str, u64, u64), ()>(txn, "by_metadata");
    drop_table::<u64, bool>(txn, "pins");
    drop_table::<(u64, u32), u32>(txn, "owner_access");
    txn.open_table(META).unwrap().insert("format", 5).unwrap();
}

/// Format 5 counts how often a grain was of use.
fn as_format_4(txn: &WriteTransaction) {
    drop_table::<(u64, u32), u32>(txn, "grain_access");
    txn.open_table(META).unwrap().insert("format", 4).unwrap();
}

/// Format 4 knows where documents were moved to.
fn as_format_3(txn: &WriteTransaction) {
    drop_table::<u64, &str>(txn, "moved");
    txn.open_table(META).unwrap().insert("format", 3).unwrap();
}

/// Format 3 counts strangers and authors, keeps apart what is only claimed, and has lanes for what is pending.
fn as_format_2(txn: &WriteTransaction) {
    {
        let waiting = txn.open_table(TableDefinition::<u64, u32>::new("waiting")).unwrap();
        let mut pending = txn.open_table(TableDefinition::<u64, ()>::new("pending")).unwrap();
        for entry in waiting.iter().unwrap() {
            pending.insert(entry.unwrap().0.value(), ()).unwrap();
        }
    }
    drop_table::<u64, u32>(txn, "waiting");
    drop_table::<(u32, u64), ()>(txn, "lanes");
    drop_table::<u64, u16>(txn, "unchecked");
    drop_table::<(u64, u64), (u64, bool)>(txn, "strangers");
    drop_table::<&[u8; 32], u64>(txn, "authors");
    drop_table::<&[u8; 32], u8>(txn, "author_rules");
    drop_table::<&str, u8>(txn, "topic_policies");
    drop_table::<(&str, &[u8; 32]), ()>(txn, "topic_authors");
    drop_table::<&[u8; 32], u64>(txn, "forgotten");
    drop_table::<u64, &[u8; 32]>(txn, "forgotten_order");
    drop_table::<&[u8; 32], (u64, u64)>(txn, "purges");
    let mut meta = txn.open_table(META).unwrap();
    for later in ["stranger_bytes", "stranger_notes", "forgotten_seq"] {
        meta.remove(later).unwrap();
    }
    meta.insert("format", 2).unwrap();
}

/// Format 2 has an order of what is shared, and notes that say the same.
fn as_format_1(txn: &WriteTransaction) {
    {
        let by_words = txn.open_table(TableDefinition::<(&[u8; 32], u64), ()>::new("by_words")).unwrap();
        let mut fingerprints =
            txn.open_table(TableDefinition::<&[u8; 32], u64>::new("fingerprints")).unwrap();
        for entry in by_words.iter().unwrap() {
            let entry = entry.unwrap();
            let (words, slot) = entry.0.value();
            fingerprints.insert(words, slot).unwrap();
        }
    }
    drop_table::<(&[u8; 32], u64), ()>(txn, "by_words");
    drop_table::<(&str, u64, &[u8; 32]), u64>(txn, "shared");
    let mut meta = txn.open_table(META).unwrap();
    meta.remove("shared_seq").unwrap();
    meta.insert("format", 1).unwrap();
}

/// Writes a store as a program of an earlier format would have left it.
fn lay_out_as(dir: &Path, format: u64) {
    let database = Database::open(dir.join("grains.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let steps: [(u64, Step); 5] =
        [(5, as_format_5), (4, as_format_4), (3, as_format_3), (2, as_format_2), (1, as_format_1)];
    for (_, step) in steps.iter().filter(|(step, _)| *step >= format) {
        step(&txn);
    }
    txn.commit().unwrap();
}

fn format_of(dir: &Path) -> u64 {
    let database = Database::open(dir.join("grains.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = txn.open_table(META).unwrap();
    meta.get("format").unwrap().unwrap().value()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_each_earlier_format_opens_with_all_that_it_held() {
    for format in [5, 4, 3, 2, 1] {
        let owned = folder();
        let dir = owned.path().join("data");
        let node = TestNode::on(&dir, config()).await;
        let key = node.put("The spare key hangs behind the clock in the hall.").await;
        let in_topic =
            rpc::Draft { topic: "house".into(), tags: vec!["valves".into()], ..note("The valve is shut.") };
        let valve = node.put_draft(in_topic).await;
        let told = node.share("The router's address is 10.0.0.1.").await;
        let gone = node.put("The safe opens with 4711.").await;
        node.try_retract(&gone).await.unwrap();
        node.wait_indexed().await;
        let before = node.status().await;
        node.stop().await;
        let now = format_of(&dir);
        assert_eq!(now, 6, "say here how format {now} differs from the one before");
        lay_out_as(&dir, format);

        let node = TestNode::on(&dir, config()).await;
        let status = node.status().await;
        assert_eq!(
            (status.grains, status.retractions),
            (before.grains, before.retractions),
            "format {format}"
        );
        assert_eq!((status.pending, status.searchable), (0, 3), "nothing is embedded anew");
        assert_eq!(node.search("where is the key").await.ids()[0], key);
        assert_eq!(node.get(&valve).await.tags, ["valves"]);
        assert!(node.get(&told).await.shared && !node.get(&key).await.shared);
        assert!(node.try_get(&gone).await.is_err());
        let by_topic = rpc::Filter { topic: "house".into(), ..Default::default() };
        assert_eq!(node.search_in("valve", 10, by_topic).await.ids(), [valve.as_str()]);
        node.verify_sound().await;
        // It goes on like any other, and does not go back.
        let new = node.put("The piano was tuned in May.").await;
        node.wait_indexed().await;
        assert_eq!(node.search("a musical instrument").await.ids()[0], new);
        node.verify_sound().await;
        node.stop().await;
        assert_eq!(format_of(&dir), 6);
        TestNode::on(&dir, config()).await.stop().await;
    }
}
