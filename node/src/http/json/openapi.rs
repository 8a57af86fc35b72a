//! The description of the door that is checked in and served: made from the table and the schema, and held against `proto/openapi.json`.

use std::collections::BTreeMap;
use std::path::Path;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::events::EVENTS;
use super::table::{BY_NAME, BY_NAME_VERB, ROUTES};
use super::{LINES, OPENAPI, messages};

/// The schemas of what is named, as far as it was met.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.name().to_owned();
        if !self.0.contains_key(&name) {
            self.0.insert(name.clone(), Value::Null);
            let fields: Vec<_> = message.fields().collect();
            let properties: Map<_, _> =
                fields.iter().map(|field| (field.name().to_owned(), self.field(field))).collect();
            let schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
            self.0.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
        self.0.insert(kind.name().to_owned(), json!({"type": "string", "enum": names}));
        json!({"$ref": format!("#/components/schemas/{}", kind.name())})
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            return json!({"type": "object", "additionalProperties": {"type": "string"}});
        }
        let one = match field.kind() {
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Message(inner) => self.message(&inner),
            Kind::Enum(kind) => self.enumeration(&kind),
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
                json!({"type": "integer", "minimum": 0})
            }
            _ => json!({"type": "integer"}),
        };
        if field.is_list() { json!({"type": "array", "items": one}) } else { one }
    }

    /// The fields of a message as parameters of a query, those of a message in it after a point.
    fn query(&mut self, message: &MessageDescriptor, prefix: &str, left_out: &[&str]) -> Vec<Value> {
        let mut parameters = Vec::new();
        for field in message.fields().filter(|field| !left_out.contains(&field.name())) {
            let name = format!("{prefix}{}", field.name());
            match field.kind() {
                // What is said several times, or within itself, is for a body; of a map, `metadata.KEY=value` is no name of a parameter.
                Kind::Message(_) if field.is_list() => {}
                _ if field.is_map() => {}
                Kind::Message(inner) => parameters.extend(self.query(&inner, &format!("{name}."), &[])),
                _ => parameters.push(json!({"name": name, "in": "query", "schema": self.field(&field)})),
            }
        }
        parameters
    }

    fn operation(&mut self, verb: &str, path: &str, call: &MethodDescriptor, id: String) -> Value {
        let named: Vec<&str> =
            path.split('/').filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}')).collect();
        let mut parameters: Vec<_> = named
            .iter()
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let has_body = !matches!(verb, "GET" | "DELETE");
        let (input, output) = (self.message(&call.input()), self.message(&call.output()));
        let mut operation = json!({"operationId": id, "tags": [call.parent_service().name()]});
        if has_body {
            let kind = if call.is_client_streaming() { LINES } else { "application/json" };
            operation["requestBody"] = json!({"content": {kind: {"schema": input}}});
        } else {
            parameters.extend(self.query(&call.input(), "", &named));
        }
        if verb != "GET" && !call.is_client_streaming() && !call.is_server_streaming() {
            parameters.push(json!({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128}}));
        }
        operation["parameters"] = parameters.into();
        let mut content = Map::new();
        if call.name() == "Search" {
            let hit = json!({"type": "array", "items": {"$ref": "#/components/schemas/Hit"}});
            let summary = json!({"$ref": "#/components/schemas/SearchSummary"});
            let schema = json!({"type": "object", "properties": {"hits": hit, "summary": summary}});
            content.insert("application/json".to_owned(), json!({"schema": schema}));
        }
        if call.name() == "Watch" {
            content.insert(EVENTS.to_owned(), json!({"schema": {"type": "string"}}));
        }
        let kind = if call.is_server_streaming() { LINES } else { "application/json" };
        content.insert(kind.to_owned(), json!({"schema": output}));
        operation["responses"] = json!({
            "200": {"description": "Done.", "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        });
        operation
    }
}

fn description() -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (verb, path, name) in ROUTES {
        let call = messages::method(name).unwrap();
        // One that has two paths has the name of the second, too: an id is of one operation.
        let mut ids = paths.values().flat_map(Map::values).filter_map(|known| known["operationId"].as_str());
        let id = match ids.any(|id| id == call.name()) {
            true => format!("{}Each", call.name()),
            false => call.name().to_owned(),
        };
        let operation = schemas.operation(verb, path, &call, id);
        paths.entry(path.to_owned()).or_default().insert(verb.to_lowercase(), operation);
    }
    let services =
        messages::schema().services().filter(|service| service.full_name().starts_with("synapsenet."));
    for call in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let name = format!("{}/{}", call.parent_service().name(), call.name());
        let path = format!("{BY_NAME}{name}");
        let id = format!("{}_{}", call.parent_service().name(), call.name());
        let operation = schemas.operation(BY_NAME_VERB, &path, &call, id);
        paths.entry(path).or_default().insert(BY_NAME_VERB.to_lowercase(), operation);
    }
    let problem = json!({"type": "object", "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
        "reason": {"type": "string", "description": "ErrorReason of the schema, without its prefix"}, "hint": {"type": "string"},
        "violations": {"type": "array", "items": {"type": "object", "properties": {
            "field": {"type": "string", "description": "such as filter.any[1].tags"}, "description": {"type": "string"},
        }}},
        "retry_after_seconds": {"type": "integer", "description": "the same request may succeed after so long"},
    }});
    schemas.0.insert("Problem".to_owned(), problem);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "synapsenet", "version": "1",
            "description": "The calls of gRPC as JSON; proto/schema says what each field means. Calls of many messages take and give one a \
                            line; an error after the first has a line {\"error\": Problem}, the last one.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:7718"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "Why it was not done.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
            "schemas": schemas.0,
        },
    })
}

#[test]
fn the_description_that_is_served_is_that_of_the_schema() {
    let made = format!("{:#}\n", description());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/openapi.json"), &made).unwrap();
        return;
    }
    assert!(
        OPENAPI == made,
        "proto/openapi.json is another: REWRITE=1 cargo test --lib openapi makes it anew"
    );
    let calls = messages::schema().services().map(|service| service.methods().count()).sum::<usize>();
    let described = description();
    let by_name =
        described["paths"].as_object().unwrap().keys().filter(|path| path.starts_with(BY_NAME)).count();
    assert_eq!(by_name, calls, "each call is there");
}
