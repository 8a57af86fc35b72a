//! The command line says and does what scripts rely on.

use serde_json::{Value, json};
use synapsenet_proto::rpc;
use tonic::Code;

use super::harness::{Client, Ran, TestNode, config, folder, noise, program, ran, synapsenet, wait_for};

/// Runs the program on the folder of a node.
async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

/// The records of one kind of event.
fn events<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_questions_are_answered_in_one_call_as_each_alone() {
    let node = TestNode::fresh().await;
    for (topic, text) in [
        ("house", "The spare key of the shed hangs behind the meter."),
        ("house", "The boiler is serviced each October."),
        ("garden", "Tomatoes want lime and a lot of water."),
    ] {
        on(&node, &["add", text, "--topic", topic, "--quiet"]).await.ended_with(0);
    }
    let questions = ["where is the shed key", "what do tomatoes need", "when is the boiler serviced"];
    let file = node.dir().join("questions.txt");
    std::fs::write(&file, format!("{}\n\n", questions.join("\n"))).unwrap();
    let many = on(&node, &["search", "--json", "-k", "2", "--questions", file.to_str().unwrap()]).await;
    let many = many.ended_with(0).records();
    for question in questions {
        let alone = on(&node, &["search", "--json", "-k", "2", question]).await.ended_with(0).records();
        let of_it = many.iter().filter(|hit| hit["question"] == question);
        let both = of_it.map(|hit| (&hit["id"], &hit["score"])).collect::<Vec<_>>();
        assert_eq!(both, alone.iter().map(|hit| (&hit["id"], &hit["score"])).collect::<Vec<_>>());
        assert!(!both.is_empty());
    }
    let shown = on(&node, &["search", "-k", "1", "--questions", file.to_str().unwrap()]).await.ended_with(0);
    assert!(questions.iter().all(|question| shown.out.contains(question)), "{}", shown.out);

    for (args, count) in [
        (&["list", "--count", "--json"][..], 3),
        (&["list", "--count", "--json", "--topic", "house"], 2),
        (&["list", "--count", "--json", "--topic", "cellar"], 0),
    ] {
        assert_eq!(on(&node, args).await.ended_with(0).record(), json!({ "grains": count }), "{args:?}");
    }

    let by = [
        "list",
        "--count",
        "--json",
        "--by",
        "topic",
        "--topic",
        "house",
        "--topic",
        "cellar",
        "--not-tag",
        "x",
    ];
    let values = json!([{"value": "house", "grains": 2}]);
    let topics = json!({"facet": "topic", "values": values, "others": 0, "distinct": 1});
    let counted = on(&node, &by).await.ended_with(0).record();
    assert_eq!(counted, json!({"grains": 2, "by": [topics], "partial": false}));

    let listed = on(&node, &["list", "--json", "--topic", "garden"]).await.ended_with(0).record();
    let id = listed["id"].as_str().unwrap();
    let got = on(&node, &["get", "--json", "--with-vector", id]).await.ended_with(0).record();
    let schema = on(&node, &["schema", "get"]).await.ended_with(0);
    let schema: Value = serde_json::from_str(&schema.out).unwrap();
    let missing = |name: &&String| schema["properties"].get(name).is_none();
    assert_eq!(got.as_object().unwrap().keys().find(missing), None, "all that is printed is in its schema");
    std::fs::write(&file, got["vector"]["components"].to_string()).unwrap();
    let near = ["search", "--json", "--vector", file.to_str().unwrap(), "--space"];
    let space = got["vector"]["space_id"].as_str().unwrap();
    let best = on(&node, &[&near[..], &[space, "-k", "1"]].concat()).await.ended_with(0).record();
    assert_eq!(best["id"], json!(id));
    let other = "ab".repeat(32);
    let refused = on(&node, &[&near[..], &[&other]].concat()).await.ended_with(2);
    assert!(refused.err.contains("this node embeds for"), "{refused:?}");
    on(&node, &["schema", "nothing"]).await.ended_with(2).assert_told("prints records", "search");

    std::fs::write(&file, " \n").unwrap();
    let none = on(&node, &["search", "--questions", file.to_str().unwrap()]).await;
    assert!(none.code != 0 && none.err.contains("no question"), "{}", none.err);
    let ask = |search: rpc::SearchRequest, times: usize| {
        let mut client = node.rpc.clone();
        let request = rpc::SearchManyRequest { searches: vec![search; times] };
        async move { client.search_many(request).await.map(drop) }
    };
    let good = rpc::SearchRequest { text: "x".into(), ..rpc::SearchRequest::default() };
    ask(good.clone(), 64).await.unwrap();
    for (search, times, word) in [
        (good.clone(), 0, "1 to 64"),
        (good.clone(), 65, "1 to 64"),
        (rpc::SearchRequest { k: 100, ..good.clone() }, 11, "at most 1000"),
        (rpc::SearchRequest { mesh: true, ..good }, 2, "one question at a time"),
        (rpc::SearchRequest::default(), 2, "search 1: the question is empty"),
    ] {
        Client::assert_refused(ask(search, times).await, Code::InvalidArgument, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_cannot_read_is_told_when_it_is_added_and_by_status() {
    let node = TestNode::fresh().await;
    let plain = on(&node, &["add", "The main valve is in the cellar."]).await.ended_with(0);
    assert!(!plain.err.contains("cannot read"), "{}", plain.err);
    let thai = on(&node, &["add", "วาล์วน้ำหลักอยู่หลังเครื่องซักผ้าในห้องใต้ดิน"]).await.ended_with(0);
    assert!(
        thai.err.contains("1 grain found by words only") && thai.err.contains("multilingual"),
        "{}",
        thai.err
    );
    let status = on(&node, &["status", "--json"]).await.ended_with(0).record();
    assert_eq!((&status["unreadable"], &status["searchable"]), (&json!(1), &json!(1)));
    let shown = on(&node, &["status"]).await.ended_with(0);
    assert!(shown.out.contains("1 grain by words only") && shown.out.contains("0 wait"), "{}", shown.out);
    // It has no vector, and is found among what a filter leaves all the same.
    let found = on(&node, &["search", "--json", "--topic", "commons", "เครื่องซักผ้า"]).await.ended_with(0);
    assert!(found.out.contains("วาล์วน้ำหลัก"), "{}", found.out);
    let again = on(&node, &["add", "Another one that it can read."]).await.ended_with(0);
    assert!(!again.err.contains("cannot read"), "{}", again.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_is_named_shows_where_and_says_when_nothing_answers() {
    let node = TestNode::fresh().await;
    let named = "Printer in the attic, serial number SN-4471-B, gets toner in spring.";
    for text in [named, "Printer in the cellar, serial number SN-4417-B, gets toner in autumn."] {
        on(&node, &["add", text, "--quiet"]).await.ended_with(0);
    }
    let found = on(&node, &["search", "--json", "which device has serial number SN-4471-B?"]).await;
    let hits = found.ended_with(0).records();
    assert_eq!((hits.len(), &hits[0]["text"]), (2, &json!(named)), "what names different things is no copy");
    let place = named.find("SN-4471-B").unwrap();
    assert!(
        hits[0]["marks"].as_array().unwrap().contains(&json!([place, place + "SN-4471-B".len()])),
        "{}",
        hits[0]
    );
    assert!(hits[0]["words"].as_f64().unwrap() > 0.0 && hits[0]["cosine"].is_number());
    let phrase = on(&node, &["search", "--json", "toner \"in spring\""]).await.ended_with(0).records();
    assert_eq!(phrase.iter().map(|hit| &hit["text"]).collect::<Vec<_>>(), [named]);
    let without = on(&node, &["search", "--json", "printer toner -autumn"]).await.ended_with(0).records();
    assert_eq!(without.iter().map(|hit| &hit["text"]).collect::<Vec<_>>(), [named]);
    let words = on(&node, &["search", "--json", "--mode", "words", "attic"]).await.ended_with(0).record();
    assert_eq!(
        (&words["text"], &words["cosine"], &words["space_id"]),
        (&json!(named), &Value::Null, &Value::Null)
    );
    let second =
        on(&node, &["search", "--json", "--offset", "1", "printer toner"]).await.ended_with(0).records();
    assert_eq!(second.len(), 1);
    let id = hits[0]["id"].as_str().unwrap();
    let alike = on(&node, &["search", "--json", "--like", &id[..12]]).await.ended_with(0).record();
    assert_eq!(alike["id"], hits[1]["id"]);

    let nothing = on(&node, &["search", "quantum chromodynamics"]).await.ended_with(0);
    assert!(nothing.out.is_empty() && nothing.err.contains("nothing here answers it"), "{}", nothing.err);
    let german = on(&node, &["search", "Wo ist der Drucker und wie heißt er?"]).await.ended_with(0);
    assert!(german.err.contains("multilingual-e5-small"), "{}", german.err);
    let thai = on(&node, &["search", "เครื่องพิมพ์"]).await.ended_with(0);
    assert!(thai.err.contains("cannot read this question"), "{}", thai.err);
    for (args, word) in [
        (&["search", "x", "--min-score", "2"][..], "scores are -1 to 1"),
        (&["search", "x", "--like", id], "cannot be used with"),
        (&["search", "--mode", "best", "x"], "hybrid"),
        (&["search", "--like", "ffffffffffff"], "no grain"),
    ] {
        let refused = on(&node, args).await;
        assert!(refused.code != 0 && refused.err.to_lowercase().contains(word), "{args:?}: {}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_added_found_shown_and_withdrawn() {
    let node = TestNode::fresh().await;
    let added = on(
        &node,
        &[
            "add",
            "--json",
            "--topic",
            "house",
            "--tag",
            "a",
            "--tag",
            "b",
            "--title",
            "Boiler",
            "--lang",
            "en",
            "--share",
            "The boiler is serviced every October.",
        ],
    )
    .await
    .ended_with(0)
    .records();
    let id = events(&added, "text")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(events(&added, "text")[0]["outcome"], "added");
    let summary = json!({
        "event": "summary",
        "added": 1,
        "unchanged": 0,
        "retracted": 0,
        "refused": 0,
        "skipped": 0,
        "left_out": {"files": 0, "folders": 0},
    });
    assert_eq!(added.last(), Some(&summary));
    on(&node, &["add", "Water the tomatoes in the evening.", "--quiet"]).await.ended_with(0);

    // It has waited: both can be found at once, best first.
    let ask = ["search", "--json", "--min-score", "-1", "heating", "maintenance"];
    let hits = on(&node, &ask).await.ended_with(0).records();
    assert_eq!(hits.len(), 2);
    let best = &hits[0];
    assert!(best["score"].as_f64().unwrap() > hits[1]["score"].as_f64().unwrap());
    for (field, value) in [
        ("id", json!(id)),
        ("text", json!("The boiler is serviced every October.")),
        ("title", json!("Boiler")),
        ("topic", json!("house")),
        ("author", json!(node.node.author())),
        ("source", Value::Null),
        ("tags", json!(["a", "b"])),
        ("lang", json!("en")),
        ("shared", json!(true)),
    ] {
        assert_eq!(best[field], value, "{field}");
    }
    let one = on(&node, &["search", "--json", "-k", "1", "plants"]).await.ended_with(0).record();
    assert_eq!(one["text"], "Water the tomatoes in the evening.");
    assert_eq!(one["shared"], false, "private unless it was shared");
    let filtered =
        on(&node, &["search", "--json", "--min-score", "-1", "plants", "--topic", "house", "--tag", "b"])
            .await;
    assert_eq!(filtered.ended_with(0).record()["id"], json!(id));
    assert_eq!(on(&node, &["search", "--json", "plants", "--tag", "none"]).await.ended_with(0).out, "");

    node.emergence_of(&id).await;
    let shown = on(&node, &["get", "--json", &id[..8]]).await.ended_with(0).record();
    assert_eq!((&shown["id"], shown["searchable"].as_bool()), (&json!(id), Some(true)));
    assert!(shown["emergence"]["score"].as_f64().is_some());
    let listed = on(&node, &["list", "--json"]).await.ended_with(0).records();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["id"], json!(id), "newest first");
    assert_eq!(on(&node, &["list", "--json", "--limit", "1"]).await.records().len(), 1);

    // Nothing is withdrawn without a yes.
    on(&node, &["retract", &id]).await.ended_with(2).assert_told("no terminal", "--yes");
    let retracted = on(&node, &["retract", "--json", "--yes", &id[..10]]).await.ended_with(0).record();
    assert_eq!(retracted["id"], json!(id));
    on(&node, &["get", &id]).await.ended_with(1).assert_told("no grain has the id", "list");
    assert_eq!(on(&node, &["list", "--json", "--all"]).await.records().len(), 1);
    let all = on(&node, &["list", "--json", "--all", "--retractions"]).await.records();
    assert!(all.iter().any(|grain| grain["kind"] == "retraction" && grain["id"] == retracted["retraction"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_added_kept_in_step_and_left_alone_where_it_should() {
    let node = TestNode::fresh().await;
    let notes = folder();
    let write = |name: &str, text: &[u8]| {
        let path = notes.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "house.md",
        b"# House\n\n## Roof\n\nThe tiles are from 1987.\n\n## Cellar\n\nThe pump stands in the corner.\n",
    );
    write("deep/er/page.html", b"<h1>Bread</h1><script>nope()</script><p>Twelve hours of rest.</p>");
    write("list.txt", b"milk\neggs\n");
    write(".hidden.md", b"Nobody sees this.");
    write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    write("latin1.txt", b"caf\xe9");
    write("empty.md", b"");
    let path = notes.path().to_str().unwrap().to_owned();

    let added = on(&node, &["add", "--json", "--topic", "notes", &path]).await;
    let records = added.records();
    let documents = events(&records, "document");
    let by_name =
        |name: &str| documents.iter().find(|record| record["source"].as_str().unwrap().ends_with(name));
    assert_eq!(by_name("/house.md").unwrap()["added"], 2);
    assert_eq!(by_name("/deep/er/page.html").unwrap()["added"], 1);
    assert_eq!(by_name("/list.txt").unwrap()["added"], 1);
    assert_eq!(documents.len(), 3, "{records:?}");
    let skipped: Vec<_> =
        events(&records, "skipped").iter().map(|r| r["source"].as_str().unwrap().to_owned()).collect();
    assert!(skipped.iter().any(|name| name.ends_with("picture.png")), "{skipped:?}");
    let summary = records.last().unwrap();
    assert_eq!((&summary["added"], &summary["unchanged"]), (&json!(4), &json!(0)));

    let house = by_name("/house.md").unwrap()["source"].as_str().unwrap().to_owned();
    assert!(house.starts_with("file:///"), "{house}");
    let hit = on(&node, &["search", "--json", "-k", "1", "where is the water pump"]).await.record();
    assert_eq!(hit["title"], "House > Cellar");
    assert_eq!((&hit["file"], &hit["source"]["ordinal"]), (&json!(house), &json!(1)));
    let signed = hit["source"]["uri"].as_str().unwrap();
    assert!(signed.ends_with("/house.md") && !signed.contains(&path), "{signed}");
    let bread = on(&node, &["search", "--json", "-k", "1", "baking"]).await.record();
    assert_eq!(bread["text"], "Twelve hours of rest.");

    // Again: nothing. Edited: what went is withdrawn, what came is added.
    let again = on(&node, &["add", "--json", "--topic", "notes", &path]).await.records();
    let summary = again.last().unwrap();
    assert_eq!(
        (&summary["added"], &summary["unchanged"], &summary["retracted"]),
        (&json!(0), &json!(4), &json!(0))
    );
    write("house.md", b"# House\n\n## Roof\n\nThe tiles are from 1987.\n\n## Cellar\n\nThe pump was sold.\n");
    let house = notes.path().join("house.md").display().to_string();
    let edited = on(&node, &["add", "--json", "--topic", "notes", &house]).await.ended_with(0).records();
    let summary = edited.last().unwrap();
    assert_eq!(
        (&summary["added"], &summary["unchanged"], &summary["retracted"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let listed = on(&node, &["list", "--json", "--all", "--source", &house]).await.records();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|grain| grain["text"] != "The pump stands in the corner."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hardly_meant_is_left_out_of_a_folder_and_counted() {
    let node = TestNode::fresh().await;
    let notes = folder();
    let write = |name: &str, text: &str| {
        let path = notes.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("note.md", "The hose is drained in November.");
    write("draft.md", "Nobody sees this draft.");
    write("old/note.md", "The hose was green.");
    write("private/diary.md", "Nobody reads this.");
    write(".synapseignore", "private/\n");
    for n in 0..20 {
        write(&format!("node_modules/pad/{n}.js"), "module.exports = pad");
    }
    let path = notes.path().to_str().unwrap().to_owned();
    let arguments = ["add", "--json", "--exclude", "draft*", "--exclude", "old/", &path];

    // A dry run needs no node.
    let elsewhere = folder();
    let mut dry = arguments.to_vec();
    dry.push("--dry-run");
    let planned = synapsenet(&elsewhere.path().join("none"), &dry).await.ended_with(0).records();
    let (would, end) = (&planned[0], &planned[1]);
    assert_eq!((planned.len(), &would["event"], &would["bytes"]), (2, &json!("would_add"), &json!(32)));
    assert!(would["source"].as_str().unwrap().ends_with("/note.md") && would["modified_ms"].is_u64());
    let left_out = json!({"files": 1, "folders": 1});
    let dry_run =
        json!({"event": "dry_run", "would_add": 1, "refused": 0, "skipped": 0, "left_out": left_out});
    assert_eq!(end, &dry_run);
    assert_eq!(node.status().await.grains, 0);

    let added = on(&node, &arguments).await.ended_with(0).records();
    let summary = added.last().unwrap();
    assert_eq!((&summary["added"], &summary["left_out"]), (&json!(1), &left_out));
    let people = on(&node, &["add", &path]).await.ended_with(0);
    let told = "left out 1 hidden file and 1 folder such as node_modules (--no-ignore takes them)";
    assert!(people.err.contains(told), "{}", people.err);
    let all = on(&node, &["add", "--json", "--no-ignore", &path]).await.ended_with(0).records();
    assert!(events(&all, "document").len() > 20, "{all:?}");
    on(&node, &["add", "--exclude", "[a", &path]).await.ended_with(2).assert_told("'*.log'", "--help");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_around_a_grain_is_shown_in_the_order_of_its_document() {
    let node = TestNode::fresh().await;
    let notes = folder();
    let chapters = ["one", "two", "three", "four", "five"];
    let text =
        chapters.map(|name| format!("# Chapter {name}\n\nThis is said in chapter {name}.\n\n")).concat();
    let path = notes.path().join("book.md");
    std::fs::write(&path, text).unwrap();
    std::fs::write(notes.path().join("other.md"), "# Chapter two\n\nThis is another book.").unwrap();
    on(&node, &["add", "--quiet", notes.path().to_str().unwrap()]).await.ended_with(0);
    let listed = on(&node, &["list", "--json"]).await.records();
    let id_of = |word: &str| {
        let grain = listed.iter().find(|grain| grain["text"].as_str().unwrap().contains(word)).unwrap();
        grain["id"].as_str().unwrap().to_owned()
    };
    let around = async |word: &str, context: &str| {
        let id = id_of(word);
        let got = on(&node, &["get", "--json", &id, "--context", context]).await.ended_with(0).record();
        ["before", "after"].map(|side| {
            let titles = got[side].as_array().unwrap().iter().map(|grain| grain["title"].as_str().unwrap());
            titles.map(|title| title.split(' ').next_back().unwrap().to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(around("chapter three", "1").await, [["two"], ["four"]]);
    assert_eq!(around("chapter two", "50").await, [&["one"][..], &["three", "four", "five"]]);
    assert_eq!(around("another book", "3").await, [&[][..] as &[&str], &[]]);
    let bare = on(&node, &["get", "--json", &id_of("chapter two")]).await.record();
    assert!(bare.get("before").is_none());
    let people = on(&node, &["get", &id_of("chapter two"), "--context", "1"]).await.ended_with(0).out;
    let places =
        ["in chapter one.", "in chapter two.", "in chapter three."].map(|text| people.find(text).unwrap());
    assert!(places.is_sorted() && !people.contains("chapter four"), "{people}");
    assert!(!people.contains('\u{1b}'), "there is no terminal that a link is for");
    let alone = node.put("From nowhere.").await;
    let got = on(&node, &["get", "--json", &alone, "--context", "3"]).await.ended_with(0).record();
    assert_eq!((&got["before"], &got["after"]), (&json!([]), &json!([])));
    on(&node, &["get", &alone, "--context", "51"]).await.ended_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_grain_is_opened_as_a_click_would() {
    use std::os::unix::fs::PermissionsExt;
    let node = TestNode::fresh().await;
    let (notes, programs) = (folder(), folder());
    let path = notes.path().canonicalize().unwrap().join("my note.md");
    std::fs::write(&path, "The pump stands in the corner.").unwrap();
    on(&node, &["add", "--quiet", path.to_str().unwrap()]).await.ended_with(0);
    let id = node.list(Default::default()).await[0].id.clone();
    let opener = programs.path().join("xdg-open");
    let told = programs.path().join("told");
    std::fs::write(&opener, format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", told.display())).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o700)).unwrap();
    let open = async |id: &str| {
        let environment =
            [("PATH", programs.path().to_str().unwrap()), ("EDITOR", "no-editor-without-a-terminal")];
        ran(program(node.dir(), &environment), &["open", "--json", id], "").await
    };
    let opened = open(&id[..8]).await.ended_with(0).record();
    assert_eq!(opened, json!({"id": id, "file": path, "opener": "xdg-open"}));
    assert_eq!(std::fs::read_to_string(&told).unwrap(), path.to_str().unwrap());

    std::fs::remove_file(&opener).unwrap();
    let refused = open(&id).await.ended_with(1);
    assert!(refused.err.contains("did not open") && refused.err.contains("xdg-utils"), "{}", refused.err);
    std::fs::remove_file(&path).unwrap();
    assert!(open(&id).await.ended_with(1).err.contains("is gone"));
    let alone = node.put("From nowhere.").await;
    assert!(open(&alone).await.ended_with(1).err.contains("no file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_a_text_or_a_text_a_line() {
    let node = TestNode::fresh().await;
    let input = async |arguments: &[&str], text: &str| ran(program(node.dir(), &[]), arguments, text).await;
    let one =
        input(&["add", "--json", "-"], "The first line.\nThe second line.\n").await.ended_with(0).records();
    assert_eq!(events(&one, "text").len(), 1);
    let id = events(&one, "text")[0]["id"].as_str().unwrap().to_owned();
    assert!(node.get(&id).await.text.contains("second"));

    let lines = "alpha\n\n  beta  \n".to_owned() + &"x".repeat(20_000) + "\ngamma";
    let ran = input(&["add", "--json", "--lines", "-"], &lines).await.ended_with(1);
    let records = ran.records();
    let stored: Vec<_> =
        events(&records, "line").iter().map(|record| record["line"].as_u64().unwrap()).collect();
    assert_eq!(stored, [1, 3, 5]);
    let refused = events(&records, "refused");
    assert_eq!((refused.len(), &refused[0]["line"]), (1, &json!(4)));
    assert!(refused[0]["reason"].as_str().unwrap().contains("16384"));
    let texts: Vec<_> = node.list(Default::default()).await.into_iter().map(|grain| grain.text).collect();
    assert!(
        ["alpha", "beta", "gamma"].iter().all(|text| texts.iter().any(|known| known == text)),
        "{texts:?}"
    );

    let empty = input(&["add", "--json", "-"], " \n").await.ended_with(1);
    assert_eq!(empty.records().last().unwrap()["refused"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_is_split_and_not_cut() {
    let node = TestNode::fresh().await;
    let filler = (0..420).map(|n| format!("On page {n} nothing of interest was said. ")).collect::<String>();
    let text = format!("{filler}The treasure lies beneath the oak.");
    assert!(text.len() > synapsenet_proto::MAX_TEXT_BYTES);
    let added = ran(program(node.dir(), &[]), &["add", "--json", "-"], &text).await.ended_with(0).records();
    assert!(added.last().unwrap()["added"].as_u64().unwrap() > 10);
    let hit = on(&node, &["search", "--json", "-k", "1", "buried gold under a tree"]).await.record();
    assert!(hit["text"].as_str().unwrap().contains("treasure"), "{hit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_who_and_how_it_is() {
    let node = TestNode::fresh().await;
    node.put("One.").await;
    node.wait_indexed().await;
    assert!(on(&node, &["id"]).await.ended_with(0).out.contains(node.node.author()));
    let id = json!({"author": node.node.author(), "peer_id": null, "addresses": [], "api_fingerprint": null});
    assert_eq!(on(&node, &["id", "--json"]).await.record(), id);
    let status = on(&node, &["status", "--json"]).await.ended_with(0).record();
    for (field, value) in [
        ("grains", json!(1)),
        ("searchable", json!(1)),
        ("pending", json!(0)),
        ("max_grains", json!(1_000_000)),
        ("author", json!(node.node.author())),
        ("data_dir", json!(node.dir())),
        ("topics", json!([{"topic": "commons", "grains": 1}])),
        ("metrics_address", json!(node.node.metrics_address().unwrap().to_string())),
    ] {
        assert_eq!(status[field], value, "{field}");
    }
    let model = &status["model"];
    assert_eq!((&model["state"], &model["provider"]), (&json!("loaded"), &json!("cpu")));
    assert_eq!((&model["dimension"], &model["max_tokens"]), (&json!(384), &json!(256)));
    assert!(model["name"].as_str().unwrap().starts_with("all-MiniLM-L6-v2"));
    let people = on(&node, &["status"]).await.ended_with(0);
    assert!(people.out.contains("1 grain of at most 1,000,000"), "{}", people.out);
    assert!(!people.out.contains('\u{1b}'), "no colours where no terminal is");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_checked_and_compacted_with_and_without_a_running_node() {
    let node = TestNode::fresh().await;
    for n in 0..20 {
        let id = node.put(format!("Page {n}: {}", noise(n, 4000))).await;
        if n % 2 == 0 {
            node.try_retract(&id).await.unwrap();
        }
    }
    node.wait_indexed().await;
    let database = node.dir().join("grains.redb");
    let size = || std::fs::metadata(&database).unwrap().len();
    let check = async |dir: &std::path::Path| {
        let verified = synapsenet(dir, &["verify", "--json"]).await.ended_with(0).record();
        assert_eq!((&verified["ok"], &verified["problems"]), (&json!(true), &json!([])));
        assert_eq!(verified["checked"], verified["total"]);
        assert!(verified["total"].as_u64().unwrap() >= 10);
        let before = size();
        let compacted = synapsenet(dir, &["compact", "--json"]).await.ended_with(0).record();
        assert_eq!(compacted["bytes_before"], before);
        assert!(compacted["bytes_after"].as_u64().unwrap() < before, "{compacted}");
        compacted
    };
    let compacted = check(node.dir()).await;
    assert_eq!(compacted["bytes_after"], size());
    assert_eq!(node.search("page").await.hits.len(), 10, "the node goes on");
    let dir = node.dir().to_owned();
    let _owned = node.stop().await;
    check(&dir).await;
    let node = TestNode::on(&dir, config()).await;
    assert_eq!(node.search("page").await.hits.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_a_command_says_how_to_start_one() {
    let dir = folder();
    let path = dir.path().join("none");
    for arguments in
        [&["search", "x"][..], &["status"], &["add", "x"], &["list"], &["get", "12345678"], &["id"]]
    {
        let ran = synapsenet(&path, arguments).await.ended_with(3);
        ran.assert_told("no node answers", &format!("synapsenet run --data-dir {}", path.display()));
    }
    for arguments in [&["verify"][..], &["compact"], &["export"]] {
        synapsenet(&path, arguments).await.ended_with(3).assert_told("no data folder", "synapsenet run");
    }
    assert!(!path.exists(), "asking makes nothing");
    // The same for scripts.
    let ran = synapsenet(&path, &["status", "--json"]).await.ended_with(3);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["code"], 3);
    assert!(error["error"].as_str().unwrap().contains("no node answers") && error["hint"].is_string());
    assert_eq!(ran.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_told_before_a_node_is_asked() {
    let dir = folder();
    for arguments in [
        &["frobnicate"][..],
        &["search"],
        &["search", "x", "-k", "0"],
        &["search", "x", "-k", "1001"],
        &["get", "xyz"],
        &["list", "--topic", "Bad!"],
        &["list", "--since", "yesterday"],
        &["list", "--since", "2026-02-02", "--until", "2026-01-01"],
        &["status", "--api", "somewhere"],
        &["run", "--offline", "--listen", "/ip4/127.0.0.1/tcp/0"],
        &["run", "--listen", "127.0.0.1:7716"],
        &["run", "--api-listen", "somewhere"],
    ] {
        let ran = synapsenet(dir.path(), arguments).await.ended_with(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{ran:?}");
        let mut with_json = vec!["--json"];
        with_json.extend(arguments);
        let ran = synapsenet(dir.path(), &with_json).await.ended_with(2);
        let error: Value = serde_json::from_str(&ran.err).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(error["code"], 2, "{error}");
    }
    let help = synapsenet(dir.path(), &["--help"]).await.ended_with(0);
    assert!(help.out.contains("Exit codes") && help.err.is_empty());
    let version = concat!("synapsenet ", env!("CARGO_PKG_VERSION"));
    let short = synapsenet(dir.path(), &["-V"]).await.ended_with(0);
    assert_eq!(short.out.trim(), version);
    let long = synapsenet(dir.path(), &["--version"]).await.ended_with(0);
    assert_eq!(long.out.lines().next(), Some(version));
    for fact in ["commit:", "target:", "profile:", "rustc:"] {
        assert!(long.out.lines().any(|line| line.starts_with(fact)), "{long:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effective_settings_are_shown_with_their_origins() {
    let dir = folder();
    std::fs::write(dir.path().join("config.toml"), "[storage]\nhnsw_m = 24\n[log]\nlevel = \"warn\"\n")
        .unwrap();
    let environment = [("SYNAPSENET_LOG__LEVEL", "debug")];
    let shown = ran(program(dir.path(), &environment), &["config", "show", "--json"], "")
        .await
        .ended_with(0)
        .records();
    let setting = |key: &str| shown.iter().find(|record| record["key"] == key).unwrap();
    assert_eq!(setting("storage.hnsw_m")["value"], 24);
    assert!(setting("storage.hnsw_m")["origin"].as_str().unwrap().contains("config.toml"));
    assert_eq!(setting("log.level")["value"], "debug");
    assert!(setting("log.level")["origin"].as_str().unwrap().contains("SYNAPSENET_LOG__LEVEL"));
    for (key, value) in [
        ("storage.hnsw_ef_construction", json!(200)),
        ("storage.hnsw_max_elements", json!(1_000_000)),
        ("ai.provider", json!("cpu")),
        ("network.max_peers", json!(50)),
    ] {
        assert_eq!((&setting(key)["value"], &setting(key)["origin"]), (&value, &json!("default")), "{key}");
    }
    // What is shown for people is a configuration again.
    let people = ran(program(dir.path(), &environment), &["config", "show"], "").await.ended_with(0);
    let file = dir.path().join("shown.toml");
    std::fs::write(&file, &people.out).unwrap();
    let elsewhere = folder();
    let arguments = ["config", "show", "--json", "--config", file.to_str().unwrap()];
    let again = synapsenet(elsewhere.path(), &arguments).await.ended_with(0).records();
    let values = |records: &[Value]| {
        records.iter().map(|r| (r["key"].clone(), r["value"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&shown));
    let missing =
        synapsenet(dir.path(), &["config", "show", "--config", "/nonexistent.toml"]).await.ended_with(2);
    missing.assert_told("/nonexistent.toml", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_made_for_each_shell_without_home_or_node() {
    let dir = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = synapsenet(dir.path(), &["completions", shell]).await.ended_with(0);
        for word in ["synapsenet", "search", "retract", "--data-dir", "--no-wait"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(ran.out.contains(word), "{word} is missing for {shell}");
        }
    }
    synapsenet(dir.path(), &["completions", "tcsh"]).await.ended_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_page_is_made_for_each_command_without_home_or_node() {
    let (dir, pages) = (folder(), folder());
    let to = pages.path().to_str().unwrap();
    synapsenet(dir.path(), &["man", to]).await.ended_with(0);
    for page in ["synapsenet.1", "synapsenet-search.1", "synapsenet-sources-add.1", "synapsenet-health.1"] {
        let text = std::fs::read_to_string(pages.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("data\\-dir"), "{page}: {text}");
    }
    assert!(!pages.path().join("synapsenet-man.1").exists(), "nobody reads of what only packages use");
    synapsenet(dir.path(), &["man", "/there/is/none"])
        .await
        .ended_with(1)
        .assert_told("/there/is/none", "folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_a_node_that_serves_from_none() {
    let node = TestNode::fresh().await;
    let ask = async || synapsenet(node.dir(), &["health", "--writes", "--json"]).await;
    wait_for("the model", async || ask().await.code == 0).await;
    let ran = ask().await.ended_with(0);
    assert_eq!(ran.records(), [json!({ "status": "serving", "writes": "serving" })]);
    let dir = folder();
    synapsenet(dir.path(), &["health"]).await.ended_with(3).assert_told("no node answers", "run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let node = TestNode::fresh().await;
    for n in 0..40 {
        node.put(format!("Line {n}: {}", "a text that fills some space ".repeat(300))).await;
    }
    let mut command = program(node.dir(), &[]);
    command.args(["list", "--all", "--json"]);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = super::harness::within("its end", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
