//! Whoever breaks a call off keeps the turn, the room and the place that its document takes, until that has been read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;
use synapsenet_proto::rpc::add_large_document_request::Item;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::harness::{Client, TestProcess, folder, wait_for, within};

/// What stands for pdftotext: it reads until there is the file `go` beside it.
const READER: &str = "#!/bin/sh
while [ ! -e \"${0%/*}/go\" ]; do sleep 0.02; done
printf '<head><title>Pump</title></head><pre>\\nThe pump stands in the cellar.\\f</pre>'
";

/// How many of them run: of those, each leads a group of processes. What it starts has its arguments for a moment.
fn reading(program: &Path) -> usize {
    let is_one = |entry: std::io::Result<std::fs::DirEntry>| {
        let folder = entry.ok()?.path();
        let line = std::fs::read(folder.join("cmdline")).ok()?;
        let is_program = line.split(|byte| *byte == 0).nth(1)? == program.as_os_str().as_encoded_bytes();
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // Behind the name: the state, the parent, the group (proc_pid_stat(5)).
        let group = stat.rsplit_once(") ")?.1.split(' ').nth(2)?.to_owned();
        (is_program && folder.ends_with(group)).then_some(())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(is_one).count()
}

fn document(uri: &str) -> rpc::AddDocumentRequest {
    rpc::AddDocumentRequest { uri: uri.into(), content: b"%PDF-1.4".to_vec(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_call_was_broken_off_keeps_its_turn_its_room_and_its_place() {
    let (dir, programs) = (folder(), folder());
    let program = programs.path().join("pdftotext");
    std::fs::write(&program, READER).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.path().display());
    let environment = [("PATH", path.as_str()), ("SYNAPSENET_API__MAX_CALLS", "3")];
    let node = TestProcess::start_with(dir.path(), &[], &environment).await;
    let scope = rpc::TokenScope::Write.into();
    let wanted = rpc::CreateTokenRequest { name: "guest".into(), scope, ..Default::default() };
    let made =
        AccessServiceClient::new(node.channel.clone()).create_token(wanted).await.unwrap().into_inner();
    let address = node.ready["api"][1].as_str().unwrap().to_owned();
    let channel: Channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let guest = NodeServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", format!("Bearer {}", made.secret).parse().unwrap());
        Ok(request)
    });
    // Who asks how many places are left takes one for that moment, so whoever finds none tries again.
    let add = |uri: &'static str, is_large: bool| {
        let mut guest = guest.clone();
        tokio::spawn(async move {
            loop {
                let added = if is_large {
                    let large = rpc::LargeDocument { document: Some(document(uri)), size: 8 };
                    let item = rpc::AddLargeDocumentRequest { item: Some(Item::Document(large)) };
                    guest.add_large_document(tokio_stream::iter([item])).await.map(drop)
                } else {
                    guest.add_document(document(uri)).await.map(drop)
                };
                match added {
                    Err(refused) if refused.code() == Code::ResourceExhausted => {}
                    ended => return ended,
                }
            }
        })
    };

    let broken_off = add("broken.pdf", true);
    wait_for("the first to be read", async || reading(&program) == 1).await;
    broken_off.abort();
    assert!(broken_off.await.unwrap_err().is_cancelled());
    // One of these waits for room, and the other for its turn.
    let (large, small) = (add("large.pdf", true), add("small.pdf", false));
    let asked = async || node.rpc.clone().status(rpc::StatusRequest {}).await;
    wait_for("all three to have their places", async || asked().await.is_err()).await;
    for _ in 0..20 {
        Client::assert_refused(asked().await, Code::ResourceExhausted, "max_calls");
        assert_eq!(reading(&program), 1, "nobody reads beside the one that goes on");
    }
    std::fs::write(programs.path().join("go"), "").unwrap();
    within("the large one", large).await.unwrap().unwrap();
    within("the small one", small).await.unwrap().unwrap();
    // What nobody waited for was not stored.
    let grains = node.list_pages(rpc::ListRequest::default()).await.concat();
    let sources: Vec<String> = grains.into_iter().map(|grain| grain.source.unwrap().uri).collect();
    assert_eq!(sources.len(), 2, "{sources:?}");
    assert!(!sources.iter().any(|uri| uri.contains("broken")), "{sources:?}");
}
