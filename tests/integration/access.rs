//! Who is let in, and by which door.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::rpc::source_service_client::SourceServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use tonic_types::StatusExt;

use super::harness::{
    Client, TestNode, TestProcess, config, folder, note, program, ran, synapsenet, wait_for, within,
};

/// A node that listens on TCP, too.
async fn tcp_node() -> TestNode {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    TestNode::fresh_with(config).await
}

fn tcp_address(node: &TestNode) -> String {
    node.node.api_addresses()[1].clone()
}

async fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
    within("a connection", endpoint.connect()).await.unwrap()
}

/// Asks for the status with this authorization.
async fn status_with(channel: Channel, authorization: Option<&str>) -> Result<rpc::StatusResponse, Status> {
    let mut request = Request::new(rpc::StatusRequest {});
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    within("the status", NodeServiceClient::new(channel).status(request))
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_only_the_token_opens() {
    let node = tcp_node().await;
    let channel = connect(&tcp_address(&node)).await;
    let token = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    assert!(token.len() >= 64, "the token cannot be guessed");
    for wrong in [
        None,
        Some(String::new()),
        Some(token.clone()),
        Some("Bearer".into()),
        Some("Bearer wrong".into()),
        Some(format!("Bearer {}", &token[1..])),
        Some(format!("Basic {token}")),
    ] {
        let status = status_with(channel.clone(), wrong.as_deref()).await;
        Client::assert_refused(status, Code::Unauthenticated, "api.token");
    }
    let right = format!("Bearer {token}");
    let status = status_with(channel.clone(), Some(&right)).await.unwrap();
    assert_eq!(status.author, node.node.author());
    assert_eq!(status.api_addresses, node.node.api_addresses());

    // The scheme is read in any case, as HTTP has it.
    status_with(channel.clone(), Some(&format!("bearer {token}"))).await.unwrap();
    // The schema is for those who are let in, as much as the rest; health is for everybody, and tells nothing else.
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let asked = reflection.server_reflection_info(tokio_stream::iter([])).await;
    Client::assert_refused(asked.map(drop), Code::Unauthenticated, "api.token");
    // It is ready once it has its model.
    wait_for("health", async || {
        let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
        asked.unwrap().into_inner().status() == ServingStatus::Serving
    })
    .await;
    // Who can use the socket needs no token.
    assert_eq!(node.status().await.author, node.node.author());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_to_programs_too() {
    let node = tcp_node().await;
    let reason = |status: Status| {
        let info = status.get_details_error_info().unwrap_or_else(|| panic!("no details: {status:?}"));
        assert_eq!(info.domain, "synapsenet");
        assert!(!info.metadata["hint"].is_empty());
        info.reason
    };
    let channel = connect(&tcp_address(&node)).await;
    assert_eq!(reason(status_with(channel, None).await.unwrap_err()), "TOKEN_NEEDED");
    assert_eq!(reason(node.try_get(&"0".repeat(64)).await.unwrap_err()), "GRAIN_NOT_FOUND");
    assert_eq!(reason(node.try_put(note("")).await.unwrap_err()), "GRAIN_REFUSED");
}

/// Whoever has nothing but a token could search in what the node read of its machine's files.
#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_nobody_has_the_node_read_folders_of_its_machine() {
    let node = tcp_node().await;
    let dir = folder();
    let folder = dir.path().canonicalize().unwrap();
    std::fs::write(folder.join("a.md"), "What is on this machine alone.").unwrap();
    let token = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    let source = || rpc::RememberedSource { folder: folder.to_str().unwrap().into(), ..Default::default() };
    let request = || Request::new(rpc::AddSourceRequest { source: Some(source()) });
    let mut from_elsewhere = request();
    from_elsewhere.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut remote = SourceServiceClient::new(connect(&tcp_address(&node)).await);
    let refused = remote.add_source(from_elsewhere).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "SOCKET_NEEDED");
    SourceServiceClient::new(node.channel.clone()).add_source(request()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_stays_and_is_refused_when_others_can_read_it() {
    let mut with_tcp = config();
    with_tcp.api.listen = "127.0.0.1:0".into();
    let dir = folder();
    let token_file = dir.path().join("api.token");
    let node = TestNode::on(dir.path(), with_tcp.clone()).await;
    let token = std::fs::read_to_string(&token_file).unwrap();
    let node = node.restart_with(with_tcp.clone()).await;
    assert_eq!(std::fs::read_to_string(&token_file).unwrap(), token);
    node.stop().await;

    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = TestNode::try_on(dir.path(), with_tcp).await.err().expect("it is refused").to_string();
    assert!(error.contains("api.token") && error.contains("read by others"), "{error}");
    // Without TCP nobody needs it.
    TestNode::on(dir.path(), config()).await.stop().await;
}

/// Every file and folder below `dir`, with its mode.
fn modes(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(dir.to_owned(), std::fs::metadata(dir).unwrap().permissions().mode() & 0o777)];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else {
            let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
            found.push((path, mode));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_can_read_what_a_node_keeps() {
    let mut with_tcp = config();
    with_tcp.api.listen = "127.0.0.1:0".into();
    let owner = folder();
    let dir = owner.path().join("data");
    let node = TestNode::on(&dir, with_tcp).await;
    node.put("A secret.").await;
    node.wait_indexed().await;
    let socket = std::fs::metadata(dir.join("api.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(socket, 0o600, "{socket:o}");
    let check = || {
        let modes = modes(&dir);
        assert!(modes.len() > 3, "{modes:?}");
        for (path, mode) in modes {
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        }
    };
    check();
    node.stop().await;
    check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_others_can_read_is_refused() {
    let dir = folder();
    TestNode::on(dir.path(), config()).await.stop().await;
    let seed = dir.path().join("identity.seed");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o640)).unwrap();
    let before = std::fs::read(&seed).unwrap();
    let error = TestNode::try_on(dir.path(), config()).await.err().expect("it is refused").to_string();
    assert!(error.contains("chmod 600"), "{error}");
    assert_eq!(std::fs::read(&seed).unwrap(), before, "it is never overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_node_does_not_listen_without_tls() {
    let mut anywhere = config();
    anywhere.api.listen = "0.0.0.0:0".into();
    let node = TestNode::fresh_with(anywhere).await;
    let address = tcp_address(&node);
    assert!(address.starts_with("https://0.0.0.0:"), "{address}");
    let plain = address.replace("https://0.0.0.0", "http://127.0.0.1");
    let token = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    if let Ok(channel) = within("an answer", Endpoint::from_shared(plain).unwrap().connect()).await {
        assert!(status_with(channel, Some(&format!("Bearer {token}"))).await.is_err());
    }
    let fingerprint = node.node.api_fingerprint().unwrap();
    let address = address.replace("0.0.0.0", "127.0.0.1");
    let pinned = ["id", "--json", "--api", &address, "--api-fingerprint", fingerprint];
    let ran = synapsenet(node.dir(), &pinned).await.ended_with(0);
    assert_eq!(ran.record()["api_fingerprint"], fingerprint);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_refused_with_the_way_out() {
    let dir = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    for (flag, other) in [("--api-listen", "--metrics-listen"), ("--metrics-listen", "--api-listen")] {
        let arguments = ["run", flag, &taken.0, other, "127.0.0.1:0"];
        let ran = synapsenet(dir.path(), &arguments).await.ended_with(1);
        ran.assert_told(&format!("cannot listen on {}", taken.0), "");
        assert!(ran.err.contains(flag), "{}", ran.err);
    }
}

/// A certificate for this machine, and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_the_token_travels_encrypted_and_only_to_the_right_node() {
    let dir = folder();
    let (certificate_pem, key_pem) = certificate();
    let (certificate_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate_file, &certificate_pem).unwrap();
    std::fs::write(&key_file, &key_pem).unwrap();
    let mut secure = config();
    secure.api.listen = "127.0.0.1:0".into();
    secure.api.tls_cert = certificate_file.display().to_string();
    secure.api.tls_key = key_file.display().to_string();
    let node = TestNode::on(&dir.path().join("data"), secure.clone()).await;
    let address = tcp_address(&node);
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");

    let endpoint = |ca: &str| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
        Endpoint::from_shared(address.clone()).unwrap().tls_config(tls).unwrap()
    };
    let channel = within("a connection", endpoint(&certificate_pem).connect()).await.unwrap();
    let token = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    let status = status_with(channel.clone(), Some(&format!("Bearer {token}"))).await.unwrap();
    assert_eq!(status.author, node.node.author());
    let without = status_with(channel, None).await;
    Client::assert_refused(without, Code::Unauthenticated, "api.token");

    // Whoever trusts another certificate does not talk to it, nor does anybody in the clear.
    let (other, _) = certificate();
    assert!(within("an error", endpoint(&other).connect()).await.is_err());
    let plain = Endpoint::from_shared(address.replace("https", "http")).unwrap();
    if let Ok(channel) = within("an answer", plain.connect()).await {
        assert!(status_with(channel, Some(&format!("Bearer {token}"))).await.is_err());
    }

    // The command line takes the same road.
    let ca = certificate_file.to_str().unwrap();
    let ran =
        synapsenet(node.dir(), &["id", "--json", "--api", &address, "--api-ca", ca]).await.ended_with(0);
    assert_eq!(ran.record()["author"], node.node.author());
    std::fs::write(dir.path().join("other.pem"), other).unwrap();
    let other = dir.path().join("other.pem").display().to_string();
    let ran = synapsenet(node.dir(), &["id", "--api", &address, "--api-ca", &other]).await.ended_with(3);
    ran.assert_told("no secure connection", "--api-ca");

    // A key that does not fit is refused when the node starts, not when the first client comes.
    node.stop().await;
    std::fs::write(&key_file, "no key").unwrap();
    let wrong = TestNode::try_on(&dir.path().join("data"), secure.clone()).await.err().expect("it is no key");
    assert!(format!("{wrong:#}").contains("TLS"), "{wrong:#}");
    std::fs::remove_file(&key_file).unwrap();
    let missing = TestNode::try_on(&dir.path().join("data"), secure).await.err().expect("the key is missing");
    assert!(format!("{missing:#}").contains("api.tls_key"), "{missing:#}");
}

/// A certificate as `openssl req -x509` makes it: it may sign others, and names no host. With its key, in PEM.
fn usual_certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new([]).unwrap();
    certificate.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_trusts_the_very_certificate_that_it_is_given() {
    let dir = folder();
    let (certificate_pem, key_pem) = usual_certificate();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (own, key) = (file("cert.pem", &certificate_pem), file("key.pem", &key_pem));
    let mut secure = config();
    secure.api.listen = "127.0.0.1:0".into();
    (secure.api.tls_cert, secure.api.tls_key) = (own.clone(), key);
    let node = TestNode::on(&dir.path().join("data"), secure).await;
    let address = tcp_address(&node);
    let id = async |ca: &str| synapsenet(node.dir(), &["id", "--api", &address, "--api-ca", ca]).await;
    let is_reached = async |ca: &str| id(ca).await.ended_with(0).out.contains(node.node.author());
    assert!(is_reached(&own).await);
    // In a file of several, too.
    let (other_pem, _) = usual_certificate();
    let both = file("both.pem", &format!("{other_pem}{certificate_pem}"));
    assert!(is_reached(&both).await);
    // One that looks just like it, made with another key, is another's.
    let other = file("other.pem", &other_pem);
    id(&other).await.ended_with(3).assert_told("no secure connection", "--api-ca");
    id(&file("none.pem", "no certificate"))
        .await
        .ended_with(2)
        .assert_told("no certificate in PEM", "PEM file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_an_authority_signed_holds_for_its_host_alone() {
    let dir = folder();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(authority.clone(), &authority_key);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca = file("ca.pem", &authority_pem);
    for (host, exit) in [("127.0.0.1", 0), ("192.0.2.1", 3)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
        let mut secure = config();
        secure.api.listen = "127.0.0.1:0".into();
        secure.api.tls_cert = file("cert.pem", &certificate);
        secure.api.tls_key = file("key.pem", &key.serialize_pem());
        let node = TestNode::on(&dir.path().join(host), secure).await;
        synapsenet(node.dir(), &["id", "--api", &tcp_address(&node), "--api-ca", &ca]).await.ended_with(exit);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_the_token_and_says_when_it_is_wrong() {
    let node = tcp_node().await;
    let address = tcp_address(&node);
    let ran = synapsenet(node.dir(), &["id", "--api", &address]).await.ended_with(0);
    assert!(ran.out.contains(node.node.author()), "{ran:?}");
    let elsewhere = folder();
    let ran = synapsenet(elsewhere.path(), &["id", "--api", &address]).await.ended_with(4);
    ran.assert_told("api.token", "--api-token-file");
    let token = node.dir().join("api.token").display().to_string();
    synapsenet(elsewhere.path(), &["id", "--api", &address, "--api-token-file", &token]).await.ended_with(0);
    let wrong = elsewhere.path().join("token");
    std::fs::write(&wrong, "0".repeat(64)).unwrap();
    let wrong = wrong.display().to_string();
    let ran = synapsenet(elsewhere.path(), &["id", "--api", &address, "--api-token-file", &wrong]).await;
    ran.ended_with(4).assert_told("api.token", "--api-token-file");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_whoever_asks_by_the_standard_protocol() {
    let node = TestNode::fresh().await;
    let mut health = HealthClient::new(node.channel.clone());
    for service in ["", "synapsenet.v1.NodeService"] {
        wait_for("health", async || {
            let request = HealthCheckRequest { service: service.into() };
            health.check(request).await.unwrap().into_inner().status() == ServingStatus::Serving
        })
        .await;
    }
    let unknown = health.check(HealthCheckRequest { service: "nothing".into() }).await;
    Client::assert_refused(unknown, Code::NotFound, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_told_to_whoever_asks_by_reflection() {
    let node = TestNode::fresh().await;
    let mut reflection = ServerReflectionClient::new(node.channel.clone());
    let ask = |message: MessageRequest| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let questions = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("synapsenet.v1.NodeService".into())),
        ask(MessageRequest::FileContainingSymbol("synapsenet.v1.SignedGrain".into())),
        ask(MessageRequest::FileContainingSymbol("synapsenet.v1.Nothing".into())),
    ]);
    let mut answers = reflection.server_reflection_info(questions).await.unwrap().into_inner();
    let mut next = async || -> Result<MessageResponse, Status> {
        let answer: Option<ServerReflectionResponse> = within("an answer", answers.message()).await?;
        Ok(answer.unwrap().message_response.unwrap())
    };
    let Ok(MessageResponse::ListServicesResponse(services)) = next().await else { panic!("no list") };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["synapsenet.v1.NodeService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
    for word in ["BulkPut", "signature"] {
        let Ok(MessageResponse::FileDescriptorResponse(files)) = next().await else { panic!("no file") };
        let found =
            files.file_descriptor_proto.iter().any(|file| String::from_utf8_lossy(file).contains(word));
        assert!(found, "{word}");
    }
    assert!(!matches!(next().await, Ok(MessageResponse::FileDescriptorResponse(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_told_to_older_clients_as_well() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let node = TestNode::fresh().await;
    let mut reflection = v1alpha::server_reflection_client::ServerReflectionClient::new(node.channel.clone());
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("synapsenet.v1.NodeService".into())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::iter([question])).await;
    let answer = within("an answer", answers.unwrap().into_inner().message()).await.unwrap().unwrap();
    assert!(
        matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_))),
        "{answer:?}"
    );
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
    [&[high, middle, low, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// gRPC for Python calls a socket by its path, percent-encoded, that for Java as it is, that for Swift in Huffman's code. h2 ended
/// such a request with RST_STREAM (PROTOCOL_ERROR).
#[tokio::test(flavor = "multi_thread")]
async fn who_calls_the_socket_by_its_path_is_served() {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    let node = TestNode::fresh().await;
    let plain = [b"\x0f".as_slice(), b"%2Frun%2Fa.sock"].concat();
    let java = [b"\x0b".as_slice(), b"/run/a.sock"].concat();
    let swift = b"\x8b\x54\x58\x6c\xb6\xa5\x45\x84\x6b\xa0\xe4\xeb".to_vec();
    for authority in [plain, java, swift] {
        let path = b"/synapsenet.v1.NodeService/Status";
        // POST, http, path, authority, content-type, te: all but the first two come into the tables of both sides.
        let headers = [
            b"\x83\x86\x44".as_slice(),
            &[path.len() as u8],
            path,
            b"\x41",
            &authority,
            b"\x5f\x10application/grpc\x40\x02te\x08trailers",
        ]
        .concat();
        // The second request only points at what the first one said.
        let again = [0x83, 0x86, 65, 64, 63, 62].map(|index: u8| index | 0x80);
        let call = |stream: u8, block: &[u8]| {
            [frame(HEADERS, 4, stream, block), frame(0, END_STREAM, stream, &[0; 5])].concat()
        };
        let mut stream = UnixStream::connect(node.dir().join("api.sock")).await.unwrap();
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
        stream.write_all(&[preface, call(1, &headers), call(3, &again)].concat()).await.unwrap();
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let mut head = [0; 9];
            within("a frame", stream.read_exact(&mut head)).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            within("its payload", stream.read_exact(&mut payload)).await.unwrap();
            assert!(!matches!(head[3], 3 | 7), "the request is refused: {head:?} {payload:?}");
            if head[3] == HEADERS && head[4] & END_STREAM != 0 {
                ended.push(head[8]);
            }
        }
        ended.sort_unstable();
        assert_eq!(ended, [1, 3], "both are answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_port_is_taken_for_port_zero_and_told() {
    let dir = folder();
    let process = TestProcess::start(dir.path()).await;
    assert_eq!(process.ready["event"], "ready");
    assert_eq!(process.ready["data_dir"], dir.path().display().to_string());
    assert_eq!(process.ready["author"], process.status().await.author);
    let api = process.ready["api"].as_array().unwrap();
    assert_eq!(api[0], format!("unix:{}", dir.path().join("api.sock").display()));
    let tcp = api[1].as_str().unwrap();
    assert!(!tcp.ends_with(":0"), "{tcp}");
    let token = std::fs::read_to_string(dir.path().join("api.token")).unwrap();
    status_with(connect(tcp).await, Some(&format!("Bearer {token}"))).await.unwrap();
    let metrics = process.ready["metrics"].as_str().unwrap();
    let address = metrics.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
    super::metrics::scrape(address.parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_socket_would_have_too_long_a_path_is_refused_with_the_way_out() {
    let dir = folder();
    let deep = dir.path().join("x".repeat(110));
    let ran = ran(program(&deep, &[]), &["run", "--api-listen", "", "--metrics-listen", ""], "").await;
    ran.ended_with(1).assert_told("shorter --data-dir", "");
}

/// Sockets that say nothing, one more than there are seats.
async fn silent_sockets<S>(connect: impl AsyncFn() -> S) -> Vec<S> {
    use rustix::process::{Resource, getrlimit};
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut sockets = Vec::new();
    for _ in 0..=(descriptors / 4).clamp(16, 256) {
        sockets.push(connect().await);
    }
    sockets
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_push_each_other_out_and_no_client() {
    let node = tcp_node().await;
    let address = tcp_address(&node);
    let (at, path) = (address.strip_prefix("http://").unwrap(), node.dir().join("api.sock"));
    let right = format!("Bearer {}", std::fs::read_to_string(node.dir().join("api.token")).unwrap());
    let before = connect(&address).await;
    status_with(before.clone(), Some(&right)).await.unwrap();

    let mut over_tcp = silent_sockets(async || tokio::net::TcpStream::connect(at).await.unwrap()).await;
    let mut over_unix = silent_sockets(async || UnixStream::connect(&path).await.unwrap()).await;
    // The first to come goes for those that came after it; all would go for their silence, after a while. Whether it ends in
    // order or is reset, what the server said to it before is of no interest.
    let mut said = Vec::new();
    let _ = within("the end of the first over TCP", over_tcp[0].read_to_end(&mut said)).await;
    let _ = within("the end of the first over the socket", over_unix[0].read_to_end(&mut said)).await;
    status_with(before, Some(&right)).await.expect("who was there before goes on");
    status_with(connect(&address).await, Some(&right)).await.expect("who comes now is let in");
    node.put("Over the socket as ever.").await;
    Client::unix(&path).await.status().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_others_can_look_into_is_refused() {
    let dir = folder();
    TestNode::on(dir.path(), config()).await.stop().await;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = TestNode::try_on(dir.path(), config()).await.err().expect("it is refused").to_string();
    assert!(error.contains("chmod 700"), "{error}");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    TestNode::on(dir.path(), config()).await.stop().await;
}
