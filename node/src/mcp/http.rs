//! Agents over HTTP (Streamable HTTP of the protocol), by a token of the node. Each request stands by itself: there are no sessions
//! that could pile up, and what a request costs is over when it is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use percent_encoding::percent_decode_str;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use synapsenet_proto::Topic;

use super::{Agent, Namespace, Settings};
use crate::calls::access::Caller;
use crate::wire::{Wire, on_behalf_of};

/// The path of the door. What follows in the query is of the agent's owner: topic=T, tag=T (again for several), mesh=true,
/// write=false.
const PATH: &str = "/mcp";
/// A call that stands for all that write.
const A_WRITE: &str = "NodeService/BulkPut";
/// Bytes of one message: 32 texts of 16 KiB, with as much again for what JSON adds to them.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The door, for those whom somebody let in: their requests have an authorization and a caller.
pub(crate) fn routes(wire: Wire) -> Router {
    Router::new().route(PATH, any(serve)).with_state(wire)
}

async fn serve(State(wire): State<Wire>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    let may_write = caller.check(A_WRITE).is_ok();
    let settings = match read_query(request.uri().query().unwrap_or_default(), may_write) {
        Ok(settings) => settings,
        Err(words) => return (StatusCode::BAD_REQUEST, words + "\n").into_response(),
    };
    let agent = Agent::new(on_behalf_of(wire, request.headers(), request.extensions()), settings);
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_BODY_BYTES)
        // Whoever serves this looked at the names already: all of them, and at those alone that are configured.
        .disable_allowed_hosts();
    let service = StreamableHttpService::new(
        move || Ok(agent.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    service.handle(request).await.into_response()
}

fn read_query(query: &str, may_write: bool) -> Result<Settings, String> {
    let mut settings = Settings { may_write, namespace: Namespace::default(), asks_mesh: false };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| format!("{name} is not UTF-8"))?
            .into_owned();
        match (name, value.as_str()) {
            ("topic", _) => {
                Topic::new(value.as_str()).map_err(|error| format!("topic={value}: {error}"))?;
                settings.namespace.topic = Some(value);
            }
            ("tag", _) if !value.is_empty() => settings.namespace.tags.push(value),
            ("mesh", "true") => settings.asks_mesh = true,
            // A smaller right than that of the token can be asked for, and no greater one.
            ("write", "false") => settings.may_write = false,
            _ => {
                return Err(format!(
                    "{name}={value} means nothing here: topic=TOPIC, tag=TAG, mesh=true and write=false do"
                ));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_what_an_agent_is_about_and_gives_it_no_right() {
        let settings = read_query("topic=notes&tag=a%20b&tag=c+d&mesh=true", true).unwrap();
        assert_eq!(settings.namespace.topic.as_deref(), Some("notes"));
        assert_eq!(settings.namespace.tags, ["a b", "c d"]);
        assert!(settings.asks_mesh && settings.may_write);
        assert!(!read_query("write=false", true).unwrap().may_write);
        assert!(!read_query("", false).unwrap().may_write);
        for wrong in ["write=true", "topic=Bad!", "tag=", "mesh=yes", "x=1", "tag=%ff"] {
            assert!(read_query(wrong, false).is_err(), "{wrong}");
        }
    }
}
