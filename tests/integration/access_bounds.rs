//! What those may cost who may do little: seats, and lines in the audit log.

use std::path::Path;

use serde_json::Value;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::harness::{Client, TestNode, config, note, wait_for, within};

async fn node() -> TestNode {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    TestNode::fresh_with(config).await
}

/// The secret of a new token, which only looks.
async fn reader(node: &TestNode, name: &str) -> String {
    let scope = rpc::TokenScope::Read.into();
    let request = rpc::CreateTokenRequest { name: name.into(), scope, ..Default::default() };
    let mut access = AccessServiceClient::new(node.channel.clone());
    within("a token", access.create_token(request)).await.unwrap().into_inner().secret
}

async fn connect(node: &TestNode) -> Option<NodeServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(node.node.api_addresses()[1].clone()).unwrap();
    within("a connection", endpoint.connect()).await.ok().map(NodeServiceClient::new)
}

fn with<T>(secret: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    request
}

async fn look(client: &mut NodeServiceClient<Channel>, secret: &str) -> Result<(), Status> {
    within("an answer", client.status(with(secret, rpc::StatusRequest {}))).await.map(drop)
}

/// Whoever had a token kept all seats as long as it liked, also when the owner had taken it back.
#[tokio::test(flavor = "multi_thread")]
async fn who_filled_the_seats_with_a_token_that_ended_gives_way() {
    use rustix::process::{Resource, getrlimit};
    let node = node().await;
    let (crowd, honest) = (reader(&node, "crowd").await, reader(&node, "honest").await);
    let seats = (getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 4).clamp(16, 256);
    let mut crowded = Vec::new();
    for _ in 0..seats {
        let mut client = connect(&node).await.expect("there is a seat");
        look(&mut client, &crowd).await.unwrap();
        crowded.push(client);
    }
    // All are clients, so nobody gives way.
    let comes = async || match connect(&node).await {
        Some(mut client) => look(&mut client, &honest).await.is_ok(),
        None => false,
    };
    assert!(!comes().await);

    let mut access = AccessServiceClient::new(node.channel.clone());
    access.revoke_token(rpc::RevokeTokenRequest { name: "crowd".into() }).await.unwrap();
    wait_for("a seat", comes).await;
}

fn audited(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// A token that only looks could push out of the log what others did.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_again_and_again_fills_no_log() {
    const TIMES: usize = 300;
    let node = node().await;
    let secret = reader(&node, "curious").await;
    let mut client = connect(&node).await.unwrap();
    for number in 0..TIMES {
        let put =
            rpc::PutRequest { draft: Some(note("Not mine to say.")), share: false, ..Default::default() };
        let refused = match number % 2 {
            0 => client.put(with(&secret, put)).await.map(drop),
            _ => client.compact(with(&secret, rpc::CompactRequest {})).await.map(drop),
        };
        Client::assert_refused(refused, Code::PermissionDenied, "scope");
    }
    node.put("The owner's own.").await;
    let dir = node.dir().to_owned();
    drop(client);
    let kept = node.stop().await;
    let lines = audited(&dir);
    drop(kept);
    let refused: Vec<&Value> = lines.iter().filter(|line| line["who"] == "token curious").collect();
    assert!(refused.len() < 12, "{refused:#?}");
    assert!(refused.iter().all(|line| line["outcome"] == "PERMISSION_DENIED"));
    let times: u64 = refused.iter().map(|line| line["times"].as_u64().unwrap_or(1)).sum();
    assert_eq!(times, TIMES as u64, "each is counted");
    assert!(lines.iter().any(|line| line["call"] == "NodeService/Put" && line["outcome"] == "OK"));
}
