//! Documents, and vectors of texts, between the messages of the API and the values of the node.

use synapsenet_proto::rpc;

use super::convert::grain_message;
use crate::calls::documents::{DocumentReport, Parts};
use crate::calls::embed::{Embedded, Role};
use crate::calls::error::invalid;
use crate::calls::{Call, CallError};

/// Reads the place in a document where the parts before ended; empty for the first.
///
/// # Errors
/// When it is none.
pub(super) fn read_part(token: &str) -> Result<usize, CallError> {
    let is_number = token.len() <= 9 && token.bytes().all(|byte| byte.is_ascii_digit());
    match token {
        "" => Ok(0),
        token if is_number => token.parse().map_err(|_| no_token()),
        _ => Err(no_token()),
    }
}

fn no_token() -> CallError {
    invalid("this is no page token: use the one that came with the parts before")
}

/// A document as a client sees it.
pub(super) fn document_message(report: DocumentReport) -> rpc::Document {
    rpc::Document {
        uri: report.uri,
        file_uri: report.file.unwrap_or_default(),
        title: report.title,
        topic: report.topic.to_string(),
        grains: u32::try_from(report.grains).unwrap_or(u32::MAX),
        created_ms: report.created_ms,
        updated_ms: report.updated_ms,
    }
}

/// Parts of a document.
pub(super) fn parts_message(call: &Call, parts: Parts) -> rpc::GetDocumentResponse {
    rpc::GetDocumentResponse {
        grains: parts.records.iter().map(|record| grain_message(call, record, false)).collect(),
        next_page_token: parts.next.map(|next| next.to_string()).unwrap_or_default(),
        document: Some(document_message(parts.document)),
    }
}

/// A page of documents, and the token of the next one.
pub(super) fn documents_message(
    (documents, next): (Vec<DocumentReport>, Option<String>),
) -> rpc::ListDocumentsResponse {
    rpc::ListDocumentsResponse {
        documents: documents.into_iter().map(document_message).collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

/// What a text is to the model.
///
/// # Errors
/// When there is no such role.
pub(super) fn read_role(role: i32) -> Result<Role, CallError> {
    match rpc::EmbedRole::try_from(role) {
        Ok(rpc::EmbedRole::Unspecified | rpc::EmbedRole::Passage) => Ok(Role::Passage),
        Ok(rpc::EmbedRole::Question) => Ok(Role::Question),
        Err(_) => Err(invalid(format!("there is no role {role}: say passage or question"))),
    }
}

/// Vectors of texts.
pub(super) fn embedded_message(embedded: Embedded) -> rpc::EmbedResponse {
    let values = |vector: &synapsenet_proto::Vector| rpc::Embedding { values: vector.values().to_vec() };
    rpc::EmbedResponse {
        embeddings: embedded.vectors.iter().map(values).collect(),
        model_id: embedded.space.to_string(),
        model: embedded.model,
        dimension: embedded.dimension as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_parts_is_read_or_refused() {
        assert_eq!((read_part("").unwrap(), read_part("120").unwrap()), (0, 120));
        for wrong in ["-1", "x", "+1", "1234567890", "1 "] {
            assert!(read_part(wrong).is_err(), "{wrong}");
        }
    }
}
