//! Counts each call once, when it has ended: by its method, by the code of gRPC that it ended with, and by its time. Whoever hangs up
//! before that has cancelled it.

use std::time::Instant;

use tonic::Code;

use crate::metrics::{Doors, method_of, name_of};

/// A call that is to be counted. It is counted when it has ended, at the latest when this is dropped.
pub(super) struct Counting {
    doors: Doors,
    method: &'static str,
    start: Instant,
    is_counted: bool,
}

impl Counting {
    /// A call that begins now.
    pub fn begin(doors: Doors, path: &str) -> Self {
        Self { doors, method: method_of(path), start: Instant::now(), is_counted: false }
    }

    /// Counts the call, if it is not counted yet.
    pub fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.doors.called(self.method, name_of(code), self.start.elapsed());
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use tonic::Status;
    use tonic::body::Body;
    use tonic::codegen::http::Response;

    use super::super::answer::follow;
    use super::super::answer::tests::Frames;
    use super::*;
    use crate::metrics::Metrics;

    /// The samples of calls whose count is not 0.
    fn counted(registry: &Registry) -> Vec<String> {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        let counts = page.lines().filter_map(|line| line.strip_prefix("syn_api_calls_total"));
        counts.filter(|count| !count.ends_with(" 0")).map(str::to_owned).collect()
    }

    fn metrics() -> (Registry, Doors) {
        let mut registry = Registry::default();
        let doors = Metrics::register(&mut registry).doors;
        (registry, doors)
    }

    fn followed(doors: &Doors, path: &str, answer: Response<Body>) -> Response<Body> {
        let mut counting = Counting::begin(doors.clone(), path);
        follow(answer, move |code| counting.end(code))
    }

    #[test]
    fn who_hangs_up_has_cancelled_the_call() {
        let (registry, doors) = metrics();
        let put = "/synapsenet.v1.NodeService/Put";
        drop(Counting::begin(doors.clone(), put));
        let answer = followed(&doors, put, Response::new(Body::new(Frames([].into()))));
        assert_eq!(counted(&registry), ["{method=\"NodeService/Put\",code=\"cancelled\"} 1"]);
        drop(answer);
        assert_eq!(counted(&registry), ["{method=\"NodeService/Put\",code=\"cancelled\"} 2"]);
    }

    #[test]
    fn a_call_is_counted_only_once_and_a_strange_one_as_unknown() {
        let (registry, doors) = metrics();
        let refused = Status::unauthenticated("no").into_http();
        drop(followed(&doors, "/synapsenet.v1.NodeService/Put", refused));
        drop(followed(&doors, "/a/c", Response::new(Body::empty())));
        let strange = Response::builder().header("grpc-status", "seventeen or so");
        drop(followed(&doors, "/a/b", strange.body(Body::empty()).unwrap()));
        let mut counts = counted(&registry);
        counts.sort();
        assert_eq!(
            counts,
            [
                "{method=\"NodeService/Put\",code=\"unauthenticated\"} 1",
                "{method=\"unknown\",code=\"unknown\"} 2"
            ]
        );
    }
}
