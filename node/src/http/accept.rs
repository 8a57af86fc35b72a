//! In which format the metrics are wanted, by the Accept header of a request (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// A format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, which everything reads.
    Text,
}

impl Format {
    /// What a request wants: OpenMetrics if it is named and liked as well as plain text at least; otherwise plain text.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut open_metrics, mut text) = (0.0, 0.0);
        for range in accepted.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())
            });
            let quality: f32 = quality.flatten().unwrap_or(1.0);
            let liked = match name.to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open_metrics,
                "text/plain" | "text/*" => &mut text,
                _ => continue,
            };
            *liked = quality.max(*liked);
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &[&str]) -> Format {
        Format::wanted(&accept.iter().map(|value| (header::ACCEPT, value.parse().unwrap())).collect())
    }

    #[test]
    fn who_reads_open_metrics_gets_it_and_everybody_else_plain_text() {
        for open_metrics in [
            // What Prometheus 2.42 and 3 send.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "Application/OpenMetrics-Text",
            "text/plain;q=0.9, application/openmetrics-text ; Q=0.9",
        ] {
            assert_eq!(wanted(&[open_metrics]), Format::OpenMetrics, "{open_metrics}");
        }
        assert_eq!(wanted(&["text/plain;q=0.1", "application/openmetrics-text"]), Format::OpenMetrics);
        for text in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited, text/plain;version=0.0.4",
            ";;;q=,,=",
        ] {
            assert_eq!(wanted(&[text]), Format::Text, "{text}");
        }
        assert_eq!(wanted(&[]), Format::Text);
    }
}
