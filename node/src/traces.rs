//! Where the time of a call goes: spans as OpenTelemetry has them, sent to a collector where the owner names one (`log.otlp`). Without
//! one, nothing is recorded. They tell names, times and codes, and no texts.
//!
//! ```text
//!  a call, its parts --Span--> queue, never waited for --> a task --OTLP over gRPC--> the collector
//! ```

use std::time::Duration;

use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans that may wait for the collector, of some hundred bytes each.
const QUEUE: usize = 4096;
/// Spans that are sent together at most ...
const MAX_BATCH: usize = 512;
/// ... and how long the first of them waits for others.
const GATHER: Duration = Duration::from_millis(200);
/// The longest that a collector may take for a batch.
const MAX_SEND: Duration = Duration::from_secs(5);
/// And for what is left when the node stops.
const MAX_GOODBYE: Duration = Duration::from_secs(2);
/// The header in which a caller says of which trace its call is part (W3C Trace Context).
const PARENT: &str = "traceparent";

/// Records calls. Clones share the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces(Option<SdkTracer>);

/// What became of spans.
#[derive(Debug, Clone, Default)]
struct Counts {
    sent: Counter,
    dropped: Counter,
}

/// Begins to record for the collector at this address, `http://HOST:PORT`; an empty one is nobody's. Answers what is left to run.
///
/// # Errors
/// When the address cannot be used.
pub(crate) fn start(address: &str, registry: &mut Registry) -> anyhow::Result<(Traces, Option<Sending>)> {
    let counts = Counts::default();
    registry.register("syn_trace_spans_sent", "Spans of traces that the collector took", counts.sent.clone());
    let dropped =
        "Spans of traces that were dropped, because the collector did not take them, or not in time";
    registry.register("syn_trace_spans_dropped", dropped, counts.dropped.clone());
    if address.is_empty() {
        return Ok((Traces::default(), None));
    }
    let mut exporter =
        SpanExporter::builder().with_tonic().with_endpoint(address).with_timeout(MAX_SEND).build().map_err(
            |error| {
                anyhow::Error::new(error).context(format!("traces cannot be sent to {address} (log.otlp)"))
            },
        )?;
    // What the environment says of resources and samples is not asked: the owner named a collector, and no more.
    let resource = Resource::builder_empty()
        .with_service_name("synapsenet")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    exporter.set_resource(&resource);
    let (queue, spans) = mpsc::channel(QUEUE);
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource)
        .with_span_processor(Queue { spans: queue, dropped: counts.dropped.clone() })
        .build();
    let tracer = provider.tracer("synapsenet");
    Ok((Traces(Some(tracer)), Some(Sending { spans, exporter, counts, _provider: provider })))
}

/// Says why an address is none of a collector.
///
/// # Errors
/// With that.
pub(crate) fn check(address: &str) -> Result<(), String> {
    let uri: Result<tonic::codegen::http::Uri, _> = address.parse();
    let is_plain = |uri: tonic::codegen::http::Uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some() && matches!(uri.path(), "" | "/")
    };
    if address.is_empty() || uri.is_ok_and(is_plain) {
        return Ok(());
    }
    Err("must be the address of a collector of OpenTelemetry that takes gRPC, such as http://127.0.0.1:4317, or empty".into())
}

/// A span that has ended goes into the queue, if there is room.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    dropped: Counter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Who sends.
#[derive(Debug)]
pub(crate) struct Sending {
    spans: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    counts: Counts,
    /// With it, nothing more would be recorded.
    _provider: SdkTracerProvider,
}

impl Sending {
    /// Sends until `stop`, and then what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut is_heard = true;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = self.spans.recv_many(&mut batch, MAX_BATCH) => {}
            }
            if batch.len() < MAX_BATCH {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
            self.fill(&mut batch);
            let was_heard = is_heard;
            is_heard = self.send(batch).await;
            match (was_heard, is_heard) {
                (true, false) => {
                    tracing::warn!("the collector of log.otlp takes no traces; they are dropped")
                }
                (false, true) => tracing::info!("the collector takes traces again"),
                _ => {}
            }
        }
        let goodbye = async {
            loop {
                let mut batch = Vec::new();
                self.fill(&mut batch);
                if batch.is_empty() || !self.send(batch).await {
                    break;
                }
            }
        };
        // What it does not take now is lost with the process.
        let _ = tokio::time::timeout(MAX_GOODBYE, goodbye).await;
    }

    fn fill(&mut self, batch: &mut Vec<SpanData>) {
        while batch.len() < MAX_BATCH
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
    }

    /// Whether the collector took them.
    async fn send(&self, batch: Vec<SpanData>) -> bool {
        let count = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.counts.sent.inc_by(count);
                true
            }
            Err(error) => {
                tracing::debug!(%error, count, "spans are dropped");
                self.counts.dropped.inc_by(count);
                false
            }
        }
    }
}

/// The header of the caller, as the propagator asks for it. What a caller adds to its trace besides is none of ours.
struct Parent<'a>(&'a str);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == PARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT]
    }
}

impl Traces {
    /// Begins the span of a call, as part of the trace that its caller names.
    pub fn call(&self, method: &'static str, header: impl Fn(&'static str) -> Option<String>) -> CallSpan {
        let context = self.0.as_ref().map(|tracer| {
            let parent = header(PARENT).map_or_else(Context::new, |parent| {
                TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(&parent))
            });
            let attributes = [KeyValue::new("rpc.system", "grpc"), KeyValue::new("rpc.method", method)];
            let span = tracer.span_builder(method).with_kind(SpanKind::Server).with_attributes(attributes);
            parent.with_span(span.start_with_context(tracer, &parent)).with_value(tracer.clone())
        });
        CallSpan(context)
    }
}

/// The span of a call. One that is dropped before its end was told was cancelled.
#[derive(Debug)]
pub(crate) struct CallSpan(Option<Context>);

impl CallSpan {
    /// Has the parts of this work be parts of the call.
    pub fn around<F>(&self, work: F) -> WithContext<F> {
        work.with_context(self.0.clone().unwrap_or_default())
    }

    /// Ends it with the code of gRPC.
    pub fn end(&mut self, code: i32) {
        if let Some(context) = self.0.take() {
            let span = context.span();
            span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
            if code != 0 {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        const CANCELLED: i32 = 1;
        self.end(CANCELLED);
    }
}

/// A part of a call, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    _span: Option<Span>,
}

/// Begins a part of the call that is being served here, if that is recorded.
pub(crate) fn part(name: &'static str) -> Part {
    let context = Context::current();
    Part { _span: context.get::<SdkTracer>().map(|tracer| tracer.start_with_context(name, &context)) }
}

/// What is being served here: for work that goes on in another thread.
pub(crate) fn here() -> Context {
    Context::current()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_collector() {
        for right in ["", "http://127.0.0.1:4317", "http://collector.lan:4317/", "http://[::1]:4317"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in
            ["127.0.0.1:4317", "https://example.com", "http://a/v1/traces", "grpc://a:1", "http:// a", "x"]
        {
            assert!(check(wrong).unwrap_err().contains("http://"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nothing_is_recorded_where_no_collector_is_named() {
        let (traces, sending) = start("", &mut Registry::default()).unwrap();
        assert!(sending.is_none());
        let mut span = traces.call("NodeService/Put", |_| panic!("nobody asks for it"));
        assert!(span.around(async { part("store")._span.is_none() }).await);
        span.end(0);
    }

    #[tokio::test]
    async fn a_full_queue_holds_nobody_up_and_what_is_lost_is_counted() {
        let (traces, sending) = start("http://127.0.0.1:9", &mut Registry::default()).unwrap();
        let sending = sending.unwrap();
        for _ in 0..QUEUE + 7 {
            traces.call("NodeService/Put", |_| None).end(0);
        }
        assert_eq!(sending.counts.dropped.get(), 7);
        // Whoever wants its trace not recorded is not.
        let unsampled = |_: &str| Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".to_owned());
        traces.call("NodeService/Put", unsampled).end(0);
        assert_eq!(sending.counts.dropped.get(), 7);
    }

    #[tokio::test]
    async fn a_call_and_its_parts_are_of_the_trace_of_the_caller() {
        let (traces, sending) = start("http://127.0.0.1:9", &mut Registry::default()).unwrap();
        let mut spans = sending.unwrap().spans;
        let parent = |_: &str| Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
        let call = traces.call("NodeService/Search", parent);
        call.around(async {
            drop(part("model"));
            crate::blocking::blocking(|| drop(part("store"))).await;
        })
        .await;
        drop(call);
        let [model, store, call] = std::array::from_fn(|_| spans.try_recv().unwrap());
        assert_eq!((model.name.as_ref(), store.name.as_ref()), ("model", "store"));
        assert_eq!(call.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(call.parent_span_id.to_string(), "00f067aa0ba902b7");
        for part in [&model, &store] {
            assert_eq!(part.parent_span_id, call.span_context.span_id());
            assert_eq!(part.span_context.trace_id(), call.span_context.trace_id());
        }
        assert!(call.attributes.contains(&KeyValue::new("rpc.grpc.status_code", 1_i64)), "it was cancelled");
        // What is no trace is none.
        traces.call("NodeService/Put", |_| Some("00-no".to_owned())).end(0);
        assert_ne!(spans.try_recv().unwrap().span_context.trace_id(), call.span_context.trace_id());
    }
}
