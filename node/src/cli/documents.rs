//! Documents as a whole: `list --documents` and `get --document`.

use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{Client, call};
use super::failure::Failure;
use super::output::{FAINT, Output, one_line, printable};
use super::record::GrainRecord;
use super::source::{display, place_of};
use super::time;

/// Parts or documents asked for at once.
const PAGE: u32 = 200;

/// A document, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DocumentRecord<'a> {
    /// As its grains name it.
    uri: &'a str,
    /// Where the file lies; null when that is not known.
    file: Option<&'a str>,
    title: &'a str,
    topic: &'a str,
    /// How many grains were taken from it.
    grains: u32,
    /// When the oldest of them was made: RFC 3339 in UTC.
    created: Option<String>,
    /// When the newest was.
    updated: Option<String>,
}

impl<'a> DocumentRecord<'a> {
    fn new(document: &'a rpc::Document) -> Self {
        Self {
            uri: &document.uri,
            file: Some(document.file_uri.as_str()).filter(|file| !file.is_empty()),
            title: &document.title,
            topic: &document.topic,
            grains: document.grains,
            created: time::rfc3339(document.created_ms),
            updated: time::rfc3339(document.updated_ms),
        }
    }
}

/// Shows documents whose names or paths begin so, at most `limit`.
///
/// # Errors
/// When the node has no answer.
pub(super) async fn list(
    client: &mut Client,
    source: Option<&str>,
    limit: u64,
    out: &mut Output,
) -> Result<(), Failure> {
    let prefix = source.map(|text| place_of(text).prefix).unwrap_or_default();
    let (mut left, mut page_token, mut shown) = (limit, String::new(), 0);
    loop {
        let page_size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let request = rpc::ListDocumentsRequest { prefix: prefix.clone(), page_size, page_token };
        let page = client.list_documents(call(request)).await?.into_inner();
        for document in &page.documents {
            show(document, out)?;
        }
        shown += page.documents.len();
        left = left.saturating_sub(page.documents.len() as u64);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return if shown == 0 { out.note("no document here, or none that matches") } else { Ok(()) };
        }
        if left == 0 {
            return out.note(format_args!("{FAINT}there are more: --limit N or --all shows them{FAINT:#}"));
        }
    }
}

fn show(document: &rpc::Document, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&DocumentRecord::new(document));
    }
    let place =
        if document.file_uri.is_empty() { document.uri.as_str().into() } else { display(&document.file_uri) };
    let (updated, parts) = (time::local(document.updated_ms), document.grains);
    let topic = one_line(&document.topic, 12);
    out.line(format_args!("{updated}  {topic:12}  {parts:>5}  {}", printable(&place)))
}

/// Shows the parts of a document, in its order.
///
/// # Errors
/// When there is no such document, or the node has no answer.
pub(super) async fn get(client: &mut Client, document: &str, out: &mut Output) -> Result<(), Failure> {
    let uri = place_of(document).prefix;
    let mut page_token = String::new();
    loop {
        let request =
            rpc::GetDocumentRequest { uri: uri.clone(), page_size: PAGE, page_token: page_token.clone() };
        let page = client.get_document(call(request)).await?.into_inner();
        if page_token.is_empty()
            && let Some(document) = &page.document
            && !out.is_json()
        {
            show(document, out)?;
        }
        for part in &page.grains {
            if out.is_json() {
                out.record(&GrainRecord::new(part))?;
            } else {
                super::grains::show_part(part, FAINT, out)?;
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_documented_fields() {
        let document = rpc::Document {
            uri: "file:ab/a.md".into(),
            title: "A".into(),
            topic: "notes".into(),
            grains: 2,
            created_ms: 0,
            updated_ms: 1000,
            ..rpc::Document::default()
        };
        let value = serde_json::to_value(DocumentRecord::new(&document)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "uri": "file:ab/a.md", "file": null, "title": "A", "topic": "notes", "grains": 2,
                "created": "1970-01-01T00:00:00Z", "updated": "1970-01-01T00:00:01Z",
            })
        );
    }
}
