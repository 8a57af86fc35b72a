//! Traces: sent to the collector that is named, told where a call belongs, and never waited for.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use synapsenet_proto::rpc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::harness::{TestNode, config, folder, nearest, synapsenet, wait_for};
use super::metrics::scrape;

/// A trace that somebody else began, and the span in it from which the node is called.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one; gives its address.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap().clone();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The span of this name that has ended.
    async fn span(&self, name: &str) -> Span {
        let found = || self.spans().into_iter().find(|span| span.name == name);
        wait_for(name, async || found().is_some()).await;
        found().unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_a_span_of_its_callers_trace_with_what_the_model_the_graph_and_the_store_took() {
    let collector = Collector::default();
    let mut config = config();
    config.log.otlp = collector.start().await;
    let node = TestNode::fresh_with(config).await;
    node.put("The spare key hangs behind the clock.").await;
    node.wait_indexed().await;
    let put = collector.span("NodeService/Put").await;
    assert_ne!(hex(&put.trace_id), TRACE);

    let mut request = Request::new(nearest("Where is the key?"));
    let parent = format!("00-{TRACE}-{CALLER}-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", parent);
    let mut hits = node.rpc.clone().search(request).await.unwrap().into_inner();
    while hits.message().await.unwrap().is_some() {}

    let call = collector.span("NodeService/Search").await;
    assert_eq!((hex(&call.trace_id).as_str(), hex(&call.parent_span_id).as_str()), (TRACE, CALLER));
    assert!(call.end_time_unix_nano > call.start_time_unix_nano);
    let spans = collector.spans();
    let parts: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == call.span_id).collect();
    for name in ["model", "graph", "store"] {
        let part =
            parts.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no {name}: {parts:?}"));
        assert_eq!(hex(&part.trace_id), TRACE);
        assert!(call.start_time_unix_nano <= part.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= call.end_time_unix_nano);
    }
    let of_put = spans.iter().filter(|span| span.parent_span_id == put.span_id);
    assert!(of_put.map(|part| part.name.as_str()).any(|name| name == "store"));
    let told = format!("{:?}", collector.0.lock().unwrap());
    assert!(told.contains("synapsenet") && !told.contains("hangs") && !told.contains("Where"), "{told}");
    assert!(scrape(node.node.metrics_address().unwrap()).await.value("syn_trace_spans_sent_total") > 0.0);

    // A refusal is told by its code, and what has ended when the node stops is sent.
    node.rpc.clone().get(rpc::GetRequest::default()).await.unwrap_err();
    node.stop().await;
    let refused = collector.span("NodeService/Get").await;
    let code = refused.attributes.iter().find(|attribute| attribute.key == "rpc.grpc.status_code").unwrap();
    assert!(format!("{:?}", code.value).contains("IntValue(3)"), "{code:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_nobody_up_and_what_it_misses_is_counted() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = config();
    config.log.otlp = format!("http://{closed}");
    let node = TestNode::fresh_with(config).await;
    let id = node.put("Kept all the same.").await;
    assert_eq!(node.get(&id).await.text, "Kept all the same.");
    let page = node.node.metrics_address().unwrap();
    wait_for("what is dropped", async || scrape(page).await.value("syn_trace_spans_dropped_total") > 0.0)
        .await;
    assert_eq!(scrape(page).await.value("syn_trace_spans_sent_total"), 0.0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_where_nobody_asked_for_it() {
    let node = TestNode::fresh().await;
    node.put("Told to nobody.").await;
    let page = scrape(node.node.metrics_address().unwrap()).await;
    assert_eq!(
        (page.value("syn_trace_spans_sent_total"), page.value("syn_trace_spans_dropped_total")),
        (0.0, 0.0)
    );
    let dir = folder();
    std::fs::write(dir.path().join("config.toml"), "[log]\notlp = \"https://collector.example\"\n").unwrap();
    synapsenet(dir.path(), &["run", "--offline"]).await.ended_with(2).assert_told("log.otlp", "");
}
