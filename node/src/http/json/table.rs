//! Which verb and path means which call. Each call of the schema has a path by its name, too: `POST /v1/call/SERVICE/METHOD`.

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;
use prost_reflect::MethodDescriptor;

use super::messages;
use super::problem::Problem;

/// What the paths of calls by their names begin with.
pub(super) const BY_NAME: &str = "/v1/call/";
/// The verb of all of them.
pub(super) const BY_NAME_VERB: &str = "POST";

/// Verb, path and call. What stands in braces is a field of the request.
pub(super) const ROUTES: [(&str, &str, &str); 32] = [
    ("POST", "/v1/search", "NodeService/Search"),
    ("POST", "/v1/searches", "NodeService/SearchMany"),
    ("GET", "/v1/grains", "NodeService/List"),
    ("POST", "/v1/grains", "NodeService/Put"),
    ("POST", "/v1/grains/bulk", "NodeService/BulkPut"),
    ("POST", "/v1/grains/count", "NodeService/Count"),
    ("POST", "/v1/grains/retract", "NodeService/RetractMatching"),
    ("POST", "/v1/grains/share", "NodeService/ShareMatching"),
    ("POST", "/v1/grains/forget", "NodeService/Forget"),
    ("GET", "/v1/grains/{id}", "NodeService/Get"),
    ("PUT", "/v1/grains/{id}", "NodeService/Update"),
    ("DELETE", "/v1/grains/{id}", "NodeService/Retract"),
    ("POST", "/v1/retractions", "NodeService/Retract"),
    ("POST", "/v1/shares", "NodeService/Share"),
    ("POST", "/v1/grains/{id}/share", "NodeService/Share"),
    ("POST", "/v1/grains/{id}/pin", "NodeService/Pin"),
    ("POST", "/v1/documents", "NodeService/AddDocument"),
    ("GET", "/v1/documents", "NodeService/ListDocuments"),
    ("GET", "/v1/documents/{uri}", "NodeService/GetDocument"),
    ("DELETE", "/v1/documents/{uri}", "NodeService/DeleteDocument"),
    ("POST", "/v1/embed", "NodeService/Embed"),
    ("GET", "/v1/indexed", "NodeService/WaitIndexed"),
    ("GET", "/v1/events", "NodeService/Watch"),
    ("GET", "/v1/authors", "NodeService/ListAuthors"),
    ("PUT", "/v1/authors/{author}", "NodeService/SetAuthorRule"),
    ("GET", "/v1/status", "NodeService/Status"),
    ("GET", "/v1/peers", "MeshService/ListPeers"),
    ("GET", "/v1/topics", "MeshService/ListTopics"),
    ("GET", "/v1/models", "ModelService/ListModels"),
    ("GET", "/v1/sources", "SourceService/ListSources"),
    ("GET", "/v1/tokens", "AccessService/ListTokens"),
    ("DELETE", "/v1/tokens/{name}", "AccessService/RevokeToken"),
];

/// Fields of the request that the path names.
pub(super) type Named = Vec<(&'static str, String)>;

/// The call that a request means.
///
/// # Errors
/// When it means none.
pub(super) fn find(verb: &str, path: &str) -> Result<(MethodDescriptor, Named), Problem> {
    let mut verbs = Vec::new();
    if let Some(call) = path.strip_prefix(BY_NAME).and_then(messages::method) {
        if verb == BY_NAME_VERB {
            return Ok((call, Vec::new()));
        }
        verbs.push(BY_NAME_VERB);
    }
    for (wanted, pattern, call) in ROUTES {
        let Some(named) = matched(pattern, path) else { continue };
        match messages::method(call) {
            Some(call) if wanted == verb => return Ok((call, named)),
            _ => verbs.push(wanted),
        }
    }
    Err(match verbs.as_slice() {
        [] => Problem::new(
            StatusCode::NOT_FOUND,
            "INVALID_REQUEST",
            "nothing has this path; /v1/openapi.json lists all",
        ),
        verbs => Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "INVALID_REQUEST",
            format!("this path takes {} alone", verbs.join(" and ")),
        ),
    })
}

/// The fields that a path names, if it is of this pattern. What is written out goes before what is named, by its place in the table.
fn matched(pattern: &'static str, path: &str) -> Option<Named> {
    let (mut pieces, mut named) = (path.split('/'), Vec::new());
    for wanted in pattern.split('/') {
        let piece = pieces.next()?;
        match wanted.strip_prefix('{').and_then(|wanted| wanted.strip_suffix('}')) {
            Some(name) if !piece.is_empty() => {
                named.push((name, percent_decode_str(piece).decode_utf8().ok()?.into_owned()));
            }
            None if wanted == piece => {}
            _ => return None,
        }
    }
    pieces.next().is_none().then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_is_a_call_and_its_fields_are_of_its_request() {
        for (verb, path, call) in ROUTES {
            let method = messages::method(call).unwrap_or_else(|| panic!("{call} is no call"));
            let (found, named) = find(verb, path).unwrap_or_else(|_| panic!("{path} is not found"));
            assert_eq!(found, method, "{verb} {path}");
            for (name, _) in named {
                assert!(method.input().get_field_by_name(name).is_some(), "{call} has no {name}");
            }
        }
    }

    #[test]
    fn a_path_names_fields_and_a_call_goes_by_its_name_too() {
        let (call, named) = find("DELETE", "/v1/grains/ab%20cd").unwrap();
        assert_eq!((call.name(), named), ("Retract", vec![("id", "ab cd".to_owned())]));
        assert_eq!(find("POST", "/v1/call/MeshService/AddPeer").unwrap().0.name(), "AddPeer");
        assert_eq!(find("POST", "/v1/grains/bulk").unwrap().0.name(), "BulkPut");
        let status = |verb, path| find(verb, path).unwrap_err().status();
        assert_eq!(status("PATCH", "/v1/grains"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status("GET", "/v1/call/NodeService/Put"), StatusCode::METHOD_NOT_ALLOWED);
        for path in ["/v1/grain", "/v1/grains/", "/v1/grains/a/b", "/v1/call/NodeService/Destroy", "/v1/"] {
            assert_eq!(status("GET", path), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
