//! HTTP by hand, so that a test sees what is really answered.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl HttpAnswer {
    /// The body, which must be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends one request with these lines in its head, and reads the answer to its end. Without a line for it, it names the address as
/// its host.
pub(crate) async fn ask_http(
    address: SocketAddr,
    request: &str,
    lines: &[(&str, &str)],
    body: &str,
) -> HttpAnswer {
    let answer = within("an answer", async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut text =
            format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in lines {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
        // Who is refused by its head need not be read to the end.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    })
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let head = head.to_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    HttpAnswer { status, head, body }
}

/// The chunks of a body as one text.
fn joined(chunked: &str) -> String {
    let (mut rest, mut whole) = (chunked, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}
