//! Messages of the schema as JSON, by their descriptors (the JSON of protocol buffers): with the names of the schema, and numbers as
//! numbers. What is not set is left out.

use std::sync::LazyLock;

use futures::Stream;
use percent_encoding::percent_decode_str;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};

use super::problem::Problem;
use crate::wire::Wire;

/// The package of the calls.
const PACKAGE: &str = "synapsenet.v1";
/// Bytes of one message of an answer: a page of grains has some 4 MiB, and what was signed as much again.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

static SCHEMA: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(synapsenet_proto::rpc::FILE_DESCRIPTOR_SET).unwrap_or_default());

/// All services.
#[cfg(test)]
pub(super) fn schema() -> &'static DescriptorPool {
    &SCHEMA
}

/// A call by its name: SERVICE/METHOD.
pub(super) fn method(call: &str) -> Option<MethodDescriptor> {
    let (service, method) = call.split_once('/')?;
    let service = SCHEMA.get_service_by_name(&format!("{PACKAGE}.{service}"))?;
    service.methods().find(|known| known.name() == method)
}

/// A message out of its JSON.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(descriptor: MessageDescriptor, value: Value) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize(descriptor, value).map_err(|error| error.to_string())
}

/// A message as JSON.
///
/// # Errors
/// When it has no form.
pub(super) fn write(message: &DynamicMessage) -> Result<Value, Problem> {
    let options = SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Problem::of(Status::internal(format!("the answer has no form: {error}"))))
}

/// Adds what stands in a query to the JSON of a message: `page_size=10&filter.tags=a&filter.tags=b`.
///
/// # Errors
/// When a name is no field.
pub(super) fn add_query(
    descriptor: &MessageDescriptor,
    query: &str,
    message: &mut Map<String, Value>,
) -> Result<(), String> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| format!("{name} is not UTF-8"))
        };
        add(descriptor, &decoded(name)?, decoded(value)?, message)?;
    }
    Ok(())
}

fn add(
    descriptor: &MessageDescriptor,
    path: &str,
    value: String,
    message: &mut Map<String, Value>,
) -> Result<(), String> {
    let unknown = || format!("{} has no field {path:?}", descriptor.name());
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = descriptor.get_field_by_name(name).ok_or_else(unknown)?;
    match (field.kind(), rest) {
        // A map: what follows is a key of it, whatever stands in that.
        (_, Some(key)) if field.is_map() => {
            match message.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(pairs) => drop(pairs.insert(key.to_owned(), Value::String(value))),
                _ => return Err(unknown()),
            }
            Ok(())
        }
        (Kind::Message(inner), Some(rest)) if !field.is_list() => {
            match message.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(object) => add(&inner, rest, value, object),
                _ => Err(unknown()),
            }
        }
        (Kind::Message(_), _) | (_, Some(_)) => Err(unknown()),
        (kind, None) => {
            // Numbers are read from text, too; what is yes or no is not.
            let value = match (kind, value.as_str()) {
                (Kind::Bool, "true") => Value::Bool(true),
                (Kind::Bool, "false") => Value::Bool(false),
                _ => Value::String(value),
            };
            if !field.is_list() {
                message.insert(name.to_owned(), value);
                return Ok(());
            }
            match message.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(value),
                _ => return Err(unknown()),
            }
            Ok(())
        }
    }
}

/// Makes a call of any kind: one message is a stream of one.
///
/// # Errors
/// What the node says, or that it does not.
pub(super) async fn call(
    wire: Wire,
    call: &MethodDescriptor,
    messages: impl Stream<Item = DynamicMessage> + Send + 'static,
) -> Result<Streaming<DynamicMessage>, Status> {
    let path = format!("/{}/{}", call.parent_service().full_name(), call.name());
    let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
    let mut services = Grpc::new(wire).max_decoding_message_size(MAX_MESSAGE_BYTES);
    services.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = services.streaming(Request::new(messages), path, Described(call.output())).await?;
    Ok(answer.into_inner())
}

/// Encodes any message, and decodes those of this kind.
#[derive(Debug, Clone)]
struct Described(MessageDescriptor);

impl Codec for Described {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Described {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(bytes).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Described {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_query(call: &str, query: &str) -> Result<Value, String> {
        let (descriptor, mut message) = (method(call).unwrap().input(), Map::new());
        add_query(&descriptor, query, &mut message)?;
        let message = read(descriptor, Value::Object(message))?;
        Ok(write(&message).unwrap_or_default())
    }

    #[test]
    fn a_query_says_what_a_body_could() {
        assert_eq!(
            of_query(
                "NodeService/List",
                "page_size=3&filter.tags=a&filter.tags=b%26c&filter.topic=notes&with_signed"
            )
            .unwrap(),
            json!({"page_size": 3, "with_signed": true, "filter": {"topic": "notes", "tags": ["a", "b&c"]}})
        );
        assert_eq!(
            of_query("NodeService/List", "filter.metadata.a.b=1&filter.metadata.c=x%3Dy").unwrap(),
            json!({"filter": {"metadata": {"a.b": "1", "c": "x=y"}}})
        );
        for wrong in [
            "size=3",
            "page_size=x",
            "filter=x",
            "filter.metadata=x",
            "filter.tags.a=x",
            "page_size.x=1",
            "with_signed=yes",
            "filter.x=%ff",
        ] {
            assert!(of_query("NodeService/List", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_message_keeps_the_names_of_the_schema_and_its_numbers_are_numbers() {
        let grain =
            json!({"id": "ab", "created_ms": 1_800_000_000_000_u64, "whose": "WHOSE_OWN", "signed": "AQI="});
        let message =
            read(SCHEMA.get_message_by_name("synapsenet.v1.Grain").unwrap(), grain.clone()).unwrap();
        assert_eq!(write(&message).unwrap_or_default(), grain);
        let unknown = read(method("NodeService/Put").unwrap().input(), json!({"drafts": {}}));
        assert!(unknown.unwrap_err().contains("drafts"));
    }
}
