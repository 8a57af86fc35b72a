//! JSON over HTTP: the calls of gRPC by another door, with the same rights, errors and records.

use std::net::SocketAddr;

use serde_json::{Value, json};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;

use super::harness::{HttpAnswer, TestNode, ask_http, config, wait_for, within};
use super::metrics::scrape;
use super::schema::methods;

/// A node, and how its door is asked by the holder of a token.
struct Holder {
    address: SocketAddr,
    bearer: String,
}

async fn token(node: &TestNode, name: &str, scope: rpc::TokenScope, topics: &[&str]) -> Holder {
    let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
    let request =
        rpc::CreateTokenRequest { name: name.into(), scope: scope.into(), topics, expires_seconds: 0 };
    let mut access = AccessServiceClient::new(node.channel.clone());
    let secret = within("a token", access.create_token(request)).await.unwrap().into_inner().secret;
    Holder { address: node.node.metrics_address().unwrap(), bearer: format!("Bearer {secret}") }
}

impl Holder {
    async fn ask(&self, request: &str, body: &str) -> HttpAnswer {
        self.ask_with(request, &[], body).await
    }

    async fn ask_with(&self, request: &str, lines: &[(&str, &str)], body: &str) -> HttpAnswer {
        let mut all = vec![("Authorization", self.bearer.as_str())];
        all.extend(lines);
        ask_http(self.address, request, &all, body).await
    }

    /// What is answered to a call that is done.
    async fn done(&self, request: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(request, &body).await;
        assert_eq!(answer.status, 200, "{request}: {answer:?}");
        answer.json()
    }

    /// That a call is refused with this status and reason.
    async fn refused(&self, request: &str, body: &str, status: u16, reason: &str) -> Value {
        let answer = self.ask(request, body).await;
        assert!(answer.head.contains("content-type: application/problem+json"), "{request}: {answer:?}");
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["status"], &problem["reason"]),
            (status, &json!(status), &json!(reason)),
            "{problem}"
        );
        problem
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_puts_finds_and_withdraws_by_paths() {
    let node = TestNode::fresh().await;
    let program = token(&node, "program", rpc::TokenScope::Write, &[]).await;
    let put =
        json!({"draft": {"text": "The router stands in the cellar.", "topic": "notes", "tags": ["a", "b"]}});
    let stored = program.done("POST /v1/grains", put).await;
    assert_eq!(stored["outcome"], "PUT_OUTCOME_ADDED");
    let id = stored["id"].as_str().unwrap();
    let waited = program.ask("GET /v1/indexed", "").await;
    assert!(
        waited.body.lines().last().unwrap().contains("finished")
            && waited.head.contains("application/x-ndjson")
    );
    let question = json!({"text": "where is the router", "k": 3, "filter": {"tags": ["a"]}});
    let found = program.done("POST /v1/search", question.clone()).await;
    assert_eq!(
        (&found["hits"][0]["grain"]["id"], &found["summary"]["hits"]),
        (&json!(id), &json!(1)),
        "{found}"
    );
    assert!(found["hits"][0]["grain"]["created_ms"].is_u64(), "numbers are numbers");
    let lines = program
        .ask_with("POST /v1/search", &[("Accept", "application/x-ndjson")], &question.to_string())
        .await;
    let lines: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.len() == 2 && lines[0]["hit"]["grain"]["id"] == id && lines[1]["summary"]["hits"] == 1,
        "{lines:?}"
    );
    let got = program.done(&format!("GET /v1/grains/{}?context=2&with_signed", &id[..12]), Value::Null).await;
    assert!(
        got["grain"]["text"] == "The router stands in the cellar." && got["grain"]["signed"].is_string(),
        "{got}"
    );
    let listed = program
        .done("GET /v1/grains?filter.topic=notes&filter.tags=a&filter.tags=b&page_size=5", Value::Null)
        .await;
    assert_eq!(listed["grains"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        program.done("GET /v1/grains?filter.topic=others", Value::Null).await,
        json!({}),
        "nothing is left out"
    );
    assert_eq!(
        program.done("POST /v1/grains/count", json!({"filter": {"topic": "notes"}})).await,
        json!({"grains": 1})
    );
    assert_eq!(program.done("POST /v1/call/NodeService/Count", Value::Null).await, json!({"grains": 1}));
    assert_eq!(program.done("GET /v1/status", Value::Null).await["grains"], 1);
    assert!(program.done(&format!("DELETE /v1/grains/{id}"), Value::Null).await["id"].is_string());
    program.refused(&format!("GET /v1/grains/{id}"), "", 404, "GRAIN_NOT_FOUND").await;
    // What gRPC counts, and what it records, is counted and recorded; what ends before it comes there is counted, too.
    program.refused("POST /v1/grains", "{", 400, "INVALID_REQUEST").await;
    assert!(program.ask("POST /v1/grains/bulk", "{").await.body.contains("INVALID_REQUEST"));
    program.refused("GET /v1/nothing", "", 404, "INVALID_REQUEST").await;
    let page = scrape(program.address).await;
    assert_eq!(page.sum("syn_api_calls_total{", "NodeService/Retract"), 1.0);
    let counted =
        |method, code| page.sum(&format!("syn_api_calls_total{{method=\"{method}\",code=\"{code}\"}}"), "");
    assert_eq!(counted("NodeService/Put", "invalid_argument"), 1.0);
    assert_eq!(page.sum("syn_api_calls_total{method=\"NodeService/BulkPut\"", ""), 1.0, "once");
    assert_eq!(counted("unknown", "unimplemented"), 1.0);
    wait_for("the record", async || {
        let log = std::fs::read_to_string(node.dir().join("audit.log")).unwrap_or_default();
        log.lines().any(|line| line.contains("token program") && line.contains("NodeService/Retract"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_texts_come_as_lines_and_are_answered_in_their_order() {
    let node = TestNode::fresh().await;
    let program = token(&node, "program", rpc::TokenScope::Write, &[]).await;
    let line = |text: String| json!({"draft": {"text": text}}).to_string();
    let body: Vec<String> = (0..300).map(|n| line(format!("Number {n}."))).collect();
    let answer = program.ask("POST /v1/grains/bulk", &(body.join("\n") + "\n\n")).await;
    let answers: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 300);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["outcome"], "PUT_OUTCOME_ADDED");
        assert_eq!(answer["ordinal"].as_u64().unwrap_or(0), n as u64, "{answer}");
    }
    // What went wrong after the first answers is the last line, and what came before it is stored.
    let broken =
        program.ask("POST /v1/grains/bulk", &format!("{}\n{{\"draft\": 1}}\n", line("Before.".into()))).await;
    assert!(broken.body.contains("line 2") && broken.body.contains("INVALID_REQUEST"), "{broken:?}");
    assert_eq!(node.status().await.grains, 301);
    let long = program.ask("POST /v1/grains/bulk", &line("x".repeat(2 << 20))).await;
    assert!(long.body.contains("more than 1048576 bytes"), "{}", &long.body[..200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_here_what_it_opens_there() {
    let node = TestNode::fresh().await;
    let reader = token(&node, "reader", rpc::TokenScope::Read, &[]).await;
    let limited = token(&node, "limited", rpc::TokenScope::Write, &["notes"]).await;
    let nobody = Holder { address: reader.address, bearer: "Bearer 00".into() };
    let secret = node.put("The safe opens with 4711.").await;
    for request in [
        "GET /v1/status",
        "GET /v1/openapi.json",
        "POST /v1/call/AccessService/CreateToken",
        "GET /v1/nothing",
    ] {
        let problem = nobody.refused(request, "", 401, "TOKEN_UNKNOWN").await;
        assert!(problem["hint"].as_str().unwrap().contains("token create"), "{problem}");
        assert_eq!(ask_http(reader.address, request, &[], "").await.status, 401, "{request}");
    }
    let page = scrape(reader.address).await;
    let turned_away = |method| {
        page.sum(&format!("syn_api_calls_total{{method=\"{method}\",code=\"unauthenticated\"}}"), "")
    };
    assert_eq!(turned_away("NodeService/Status"), 2.0);
    assert_eq!(turned_away("AccessService/CreateToken"), 2.0);
    assert_eq!(turned_away("unknown"), 4.0);
    reader.refused("POST /v1/grains", r#"{"draft": {"text": "x"}}"#, 403, "SCOPE_NEEDED").await;
    // Nothing of the body is read of who may not make the call.
    reader.refused("POST /v1/documents", "{", 403, "SCOPE_NEEDED").await;
    reader.refused("POST /v1/call/NodeService/Backup", "", 403, "SOCKET_NEEDED").await;
    limited.refused(&format!("GET /v1/grains/{secret}"), "", 404, "GRAIN_NOT_FOUND").await;
    limited.refused("POST /v1/grains", r#"{"draft": {"text": "x"}}"#, 403, "TOPIC_FORBIDDEN").await;
    limited.refused("GET /v1/authors", "", 403, "TOPIC_FORBIDDEN").await;
    // A page in a browser has no business here, and gets nothing that would let it read an answer.
    let browser = reader.ask_with("GET /v1/status", &[("Origin", "http://localhost:3000")], "").await;
    assert!(browser.status == 403 && !browser.head.contains("access-control"), "{browser:?}");
    let asked = [("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "GET")];
    assert_eq!(ask_http(reader.address, "OPTIONS /v1/status", &asked, "").await.status, 403);
    assert_eq!(reader.ask_with("GET /v1/status", &[("Host", "evil.example")], "").await.status, 421);
    // Each call of the schema has a path, and none is open to who may only look unless it is there.
    for method in methods() {
        let answer = nobody.ask(&format!("POST /v1/call/{method}"), "").await;
        assert_eq!(answer.status, 401, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_told_what_is_wrong_with_it() {
    let node = TestNode::fresh().await;
    let program = token(&node, "program", rpc::TokenScope::Admin, &[]).await;
    for (request, body, status, word) in [
        ("POST /v1/search", "{", 400, "JSON"),
        ("POST /v1/search", "[]", 400, "JSON"),
        ("POST /v1/search", r#"{"query": "x"}"#, 400, "query"),
        ("POST /v1/search", "{}", 400, ""),
        ("GET /v1/grains?size=3", "", 400, "size"),
        ("GET /v1/grains/zz", "", 400, ""),
        ("GET /v1/nothing", "", 404, "openapi.json"),
        ("PATCH /v1/grains", "", 405, "GET and POST"),
    ] {
        let problem = program.refused(request, body, status, "INVALID_REQUEST").await;
        assert!(problem["detail"].as_str().unwrap().contains(word), "{request}: {problem}");
    }
    let large = format!(r#"{{"content": "{}"}}"#, "A".repeat(6 << 20));
    assert_eq!(program.ask("POST /v1/documents", &large).await.status, 413);
    let large = format!(r#"{{"text": "{}"}}"#, "A".repeat(1 << 20));
    assert_eq!(program.ask("POST /v1/search", &large).await.status, 413, "only documents are so large");
    let described = program.done("GET /v1/openapi.json", Value::Null).await;
    assert!(described["openapi"] == "3.1.0" && described["paths"]["/v1/search"]["post"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_made_again_with_its_key_is_done_once() {
    let node = TestNode::fresh().await;
    let program = token(&node, "program", rpc::TokenScope::Write, &[]).await;
    let put = |text: &str| json!({"draft": {"text": text}}).to_string();
    let key = [("Idempotency-Key", "b1946ac9")];
    let first = program.ask_with("POST /v1/grains", &key, &put("Once.")).await;
    let again = program.ask_with("POST /v1/grains", &key, &put("Once.")).await;
    assert_eq!((first.status, &first.body), (200, &again.body), "not that it was there already");
    assert!(
        again.head.contains("idempotency-replayed: true") && !first.head.contains("idempotency-replayed")
    );
    let other = program.ask_with("POST /v1/grains", &key, &put("Other.")).await;
    assert_eq!(other.status, 422, "{other:?}");
    let without = program.done("POST /v1/grains", json!({"draft": {"text": "Once."}})).await;
    assert_eq!(without["outcome"], "PUT_OUTCOME_DUPLICATE");
    assert_eq!(node.status().await.grains, 1);
    // What was refused was not done: it may be put right under its key.
    let key = [("Idempotency-Key", "second")];
    assert_eq!(program.ask_with("POST /v1/grains", &key, &put("")).await.status, 400);
    assert_eq!(program.ask_with("POST /v1/grains", &key, &put("Right.")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_let_in_by_its_origin_and_its_token() {
    const PAGE: &str = "https://notes.example";
    let mut open = config();
    open.metrics.cors_origins = vec![PAGE.into()];
    let node = TestNode::fresh_with(open).await;
    let program = token(&node, "page", rpc::TokenScope::Read, &[]).await;
    let (address, opens) = (program.address, format!("access-control-allow-origin: {PAGE}"));
    // A browser asks first, and sends no token with that.
    let asks = |origin: &'static str| {
        let lines = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        async move { ask_http(address, "OPTIONS /v1/search", &lines, "").await }
    };
    let told = asks(PAGE).await;
    assert!(told.status == 204 && told.head.contains(&opens) && told.body.is_empty(), "{told:?}");
    assert!(told.head.contains("authorization") && !told.head.contains('*'), "{told:?}");
    let stranger = asks("https://evil.example").await;
    assert!(stranger.status == 403 && !stranger.head.contains("access-control"), "{stranger:?}");

    let status = program.ask_with("GET /v1/status", &[("Origin", PAGE)], "").await;
    assert!(
        status.status == 200 && status.head.contains(&opens) && status.head.contains("vary: origin"),
        "{status:?}"
    );
    let without = ask_http(program.address, "GET /v1/status", &[("Origin", PAGE)], "").await;
    assert!(
        without.status == 401 && without.head.contains(&opens),
        "why it is refused can be read: {without:?}"
    );
    let stranger = program.ask_with("GET /v1/status", &[("Origin", "https://evil.example")], "").await;
    assert!(stranger.status == 403 && stranger.body.contains("metrics.cors_origins"), "{stranger:?}");
    assert!(!program.ask("GET /v1/status", "").await.head.contains("access-control"), "a program is no page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_told_which_field_is_wrong() {
    let node = TestNode::fresh().await;
    let program = token(&node, "program", rpc::TokenScope::Write, &[]).await;
    let wrong =
        json!({"text": "x", "filter": {"any": [{"topic": "a"}, {"tags": ["t".repeat(65)]}]}}).to_string();
    let problem = program.refused("POST /v1/search", &wrong, 400, "INVALID_REQUEST").await;
    assert_eq!(problem["violations"][0]["field"], "filter.any[1].tags");
    let wrong = json!({"draft": {"text": "x", "lang": "no language"}}).to_string();
    let problem = program.refused("POST /v1/grains", &wrong, 400, "GRAIN_REFUSED").await;
    assert_eq!(problem["violations"], json!([{"field": "draft.lang", "description": problem["detail"]}]));
    assert!(problem.get("retry_after_seconds").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_says_when_to_come_again() {
    let mut small = config();
    small.api.max_calls = 1;
    let node = TestNode::fresh_with(small).await;
    let program = token(&node, "program", rpc::TokenScope::Read, &[]).await;
    let watching = node.rpc.clone().watch(rpc::WatchRequest::default()).await.unwrap();
    let answer = program.ask("GET /v1/status", "").await;
    assert!(answer.status == 429 && answer.head.contains("retry-after: 1"), "{answer:?}");
    let problem = answer.json();
    assert_eq!((&problem["reason"], &problem["retry_after_seconds"]), (&json!("TOO_MANY_CALLS"), &json!(1)));
    drop(watching);
    wait_for("a place", async || program.ask("GET /v1/status", "").await.status == 200).await;
}
