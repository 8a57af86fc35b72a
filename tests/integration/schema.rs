//! Each call of the schema: what it says to an empty request, to bytes that are none, and without a mesh.

use prost::Message;
use prost::bytes::{Buf, BufMut};
use synapsenet_proto::rpc;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::harness::{Client, TestNode, mesh_config, within};

/// Puts and reads the bytes of messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// Calls a method, named as SERVICE/METHOD, with one message of these bytes; gives how many messages came back. Of a
/// stream that does not end, the first one is waited for.
async fn call_raw(client: &Client, method: &str, message: &[u8]) -> Result<usize, Status> {
    call_raw_by(client.channel.clone(), &[], method, message).await
}

/// As [`call_raw`], with these authorizations.
pub(crate) async fn call_raw_by(
    channel: Channel,
    authorizations: &[&str],
    method: &str,
    message: &[u8],
) -> Result<usize, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = format!("/synapsenet.v1.{method}").parse().unwrap();
    let mut request = Request::new(tokio_stream::iter([message.to_vec()]));
    for authorization in authorizations {
        request.metadata_mut().append("authorization", authorization.parse().unwrap());
    }
    within(method, async {
        let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
        let mut count = 0;
        while answers.message().await?.is_some() {
            count += 1;
            if method == WATCH {
                break;
            }
        }
        Ok(count)
    })
    .await
}

/// The call whose answers end with the node.
pub(crate) const WATCH: &str = "NodeService/Watch";

/// The methods that the schema has, as SERVICE/METHOD.
pub(crate) fn methods() -> Vec<String> {
    let descriptors = prost_types::FileDescriptorSet::decode(rpc::FILE_DESCRIPTOR_SET).unwrap();
    let services = descriptors.file.into_iter().flat_map(|file| file.service);
    let named = services.flat_map(|service| {
        let name = service.name.unwrap();
        service.method.into_iter().map(move |method| format!("{name}/{}", method.name.unwrap()))
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_the_schema_takes_an_empty_request_or_says_what_it_lacks() {
    let lacks = |method: &str| match method {
        "NodeService/Put" => Some("no draft"),
        "NodeService/Update" => Some("no draft"),
        "NodeService/GetDocument" | "NodeService/DeleteDocument" => Some("names no document"),
        "NodeService/ListDocuments" => None,
        "NodeService/Embed" => Some("there are 0 texts"),
        "NodeService/AddDocument" => Some("source"),
        "NodeService/AddLargeDocument" => Some("no document is named"),
        "NodeService/Search" => Some("question is empty"),
        "NodeService/SearchMany" => Some("1 to 64 are allowed"),
        "NodeService/Count" => None,
        "NodeService/Get" | "NodeService/Retract" | "NodeService/Share" | "NodeService/Pin" => {
            Some("64 hexadecimal digits")
        }
        "NodeService/BulkPut" | "NodeService/WaitIndexed" | "NodeService/List" | "NodeService/Status" => None,
        "NodeService/Verify" | "NodeService/Compact" | "NodeService/ListAuthors" | WATCH => None,
        "NodeService/Backup" => None,
        "NodeService/ExplainEmergence" => Some("64 hexadecimal digits"),
        "NodeService/TopEmergence" | "NodeService/EmergenceAuthors" | "NodeService/Digest" => None,
        "NodeService/SetLogLevel" => Some("no level is named"),
        "NodeService/Forget" | "NodeService/RetractMatching" | "NodeService/ShareMatching" => {
            Some("which grains")
        }
        "NodeService/SetAuthorRule" => Some("64 hexadecimal digits"),
        "MeshService/SetTopicPolicy" => Some("topic"),
        "MeshService/AddPeer" => Some("no multiaddress"),
        "MeshService/RemovePeer" | "MeshService/BanPeer" | "MeshService/UnbanPeer" => Some("no peer id"),
        "MeshService/JoinTopic" | "MeshService/LeaveTopic" => Some("topic"),
        "MeshService/ListPeers" | "MeshService/ListTopics" | "MeshService/SyncNow" => None,
        "MeshService/GetNetStatus" => None,
        "ModelService/ListModels" => None,
        "ModelService/GetModel" | "ModelService/UseModel" | "ModelService/FetchModel" => {
            Some("no model is named")
        }
        "ModelService/AddModel" => Some("no model is named"),
        "ModelService/RemoveModel" | "ModelService/DropVectors" => Some("no model is named"),
        "SourceService/ListSources" => None,
        "SourceService/AddSource" | "SourceService/SyncSource" => Some("no folder is named"),
        "SourceService/PauseSource" | "SourceService/RemoveSource" => Some("no folder is named"),
        "AccessService/CreateToken" => Some("what the token is for"),
        "AccessService/ListTokens" => None,
        "AccessService/RevokeToken" => Some("a token's name"),
        unknown => panic!("{unknown} is new in the schema: add it here and test what it does"),
    };
    let node = TestNode::fresh_with(mesh_config(&[])).await;
    let methods = methods();
    assert_eq!(methods.len(), 59);
    for method in methods {
        let answer = async {
            let call = call_raw(&node, &method, b"");
            if method == WATCH {
                // Something has to happen for it to be told.
                tokio::join!(call, put_until_told(&node)).0
            } else {
                call.await
            }
        };
        match lacks(&method) {
            Some(word) => Client::assert_refused(answer.await, Code::InvalidArgument, word),
            None => {
                assert!(answer.await.unwrap_or_else(|status| panic!("{method}: {status}")) > 0, "{method}")
            }
        }
    }
}

/// Puts grains until one is told to somebody who watches from now on.
async fn put_until_told(node: &TestNode) {
    let mut events = node.rpc.clone().watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
    let begun = events.message().await.unwrap().unwrap();
    assert!(begun.event.is_none() && !begun.cursor.is_empty(), "where it begins");
    let mut count = 0;
    let told = async { events.message().await.unwrap() };
    tokio::pin!(told);
    loop {
        count += 1;
        node.put(format!("Happening {count}.")).await;
        if let Ok(event) = tokio::time::timeout(std::time::Duration::from_millis(50), &mut told).await {
            let Some(rpc::watch_response::Event::GrainAdded(grain)) = event.unwrap().event else {
                panic!("a grain was added")
            };
            assert_eq!(grain.peer_id, "");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_to_the_mesh_side_of_a_node_without_a_mesh_says_so() {
    let node = TestNode::fresh().await;
    for method in methods().iter().filter(|method| method.starts_with("MeshService/")) {
        let answer = call_raw(&node, method, b"").await;
        Client::assert_refused(answer, Code::FailedPrecondition, "takes no part in a mesh");
    }
    let request = rpc::SearchRequest { text: "Anyone?".into(), mesh: true, ..Default::default() };
    Client::assert_refused(node.try_search(request).await, Code::FailedPrecondition, "takes no part");
    assert_eq!(node.status().await.mesh, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_are_refused_and_harm_nothing() {
    let node = TestNode::fresh().await;
    let id = node.put("This stays.").await;
    let garbage: [&[u8]; 5] =
        [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x00\x00", &[0x08; 33]];
    for method in methods() {
        if method == WATCH {
            // It has no field that bytes could be wrong for, and its answers do not end.
            continue;
        }
        for bytes in garbage {
            if let Err(status) = call_raw(&node, &method, bytes).await {
                // What prost cannot decode, tonic calls an internal error.
                assert!(
                    matches!(
                        status.code(),
                        Code::Internal | Code::InvalidArgument | Code::FailedPrecondition
                    ),
                    "{method}: {status}"
                );
            }
        }
    }
    Client::assert_refused(call_raw(&node, "NodeService/Destroy", b"").await, Code::Unimplemented, "");
    assert_eq!(node.get(&id).await.text, "This stays.");
    assert_eq!(node.status().await.grains, 1);
    node.verify_sound().await;
}
