//! A watch as server-sent events, which browsers and many libraries take up again by themselves: each event with a cursor has it as
//! its id, and a reader that was cut off says the last one that it saw in `Last-Event-ID`.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value, json};
use tonic::Streaming;

use super::messages;
use super::problem::Problem;

/// The media type.
pub(super) const EVENTS: &str = "text/event-stream";
/// Where a reader says what it saw last.
const LAST: &str = "last-event-id";

/// Whether a call is a watch that is wanted as events.
pub(super) fn wanted(call: &MethodDescriptor, headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    call.name() == "Watch"
        && accepted.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with(EVENTS))
}

/// Goes on where the reader was, unless it says another place itself.
pub(super) fn take_up(call: &MethodDescriptor, headers: &HeaderMap, message: &mut Map<String, Value>) {
    if call.name() == "Watch"
        && !message.contains_key("cursor")
        && let Some(Ok(last)) = headers.get(LAST).map(|last| last.to_str())
    {
        message.insert("cursor".to_owned(), last.into());
    }
}

/// Messages as events, as they come. The last one has the error, if there was one, and the name `error`.
pub(super) fn answer(answers: Streaming<DynamicMessage>) -> Response {
    let events = futures::stream::unfold(Some(answers), |answers| async {
        let mut answers = answers?;
        let told = |problem: Problem| Some((failed(&problem), None));
        let (event, next) = match answers.message().await {
            Ok(Some(message)) => match messages::write(&message) {
                Ok(value) => Some((event(&value), Some(answers))),
                Err(problem) => told(problem),
            },
            Ok(None) => None,
            Err(status) => told(Problem::of(status)),
        }?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(event)), next))
    });
    let head = [(header::CONTENT_TYPE, EVENTS), (header::CACHE_CONTROL, "no-store")];
    (head, Body::from_stream(events)).into_response()
}

/// JSON has no line feed outside of its texts, and there it is escaped: the data of an event is one line.
fn event(value: &Value) -> String {
    let cursor = value["cursor"].as_str().map(|cursor| format!("id: {cursor}\n")).unwrap_or_default();
    format!("{cursor}data: {value}\n\n")
}

fn failed(problem: &Problem) -> String {
    format!("event: error\ndata: {}\n\n", json!({"error": problem.value()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_cursor_as_its_id_and_one_line_of_data() {
        let value = json!({"cursor": "ab", "grain_added": {"id": "line\nfeed"}});
        let event = event(&value);
        assert_eq!(event.lines().next(), Some("id: ab"));
        assert_eq!(event.lines().count(), 3, "{event}");
        assert!(event.ends_with("\n\n") && event.contains("line\\nfeed"));
        assert!(super::event(&json!({"peer_joined": "x"})).starts_with("data: "));
    }

    #[test]
    fn a_reader_goes_on_where_it_was_unless_it_says_where() {
        let watch = messages::method("NodeService/Watch").unwrap();
        let headers: HeaderMap = [
            (header::ACCEPT, "text/event-stream".parse().unwrap()),
            (LAST.parse().unwrap(), "ab".parse().unwrap()),
        ]
        .into_iter()
        .collect();
        let mut message = Map::new();
        take_up(&watch, &headers, &mut message);
        assert_eq!(message["cursor"], "ab");
        let mut message = json!({"cursor": "cd"}).as_object().cloned().unwrap_or_default();
        take_up(&watch, &headers, &mut message);
        assert_eq!(message["cursor"], "cd");
        assert!(wanted(&watch, &headers) && !wanted(&watch, &HeaderMap::new()));
        assert!(!wanted(&messages::method("NodeService/List").unwrap(), &headers));
    }
}
