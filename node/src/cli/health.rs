//! `health`: does the node serve? For container engines, service managers and scripts, which look at the exit code.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc::HEALTH_OF_WRITES;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::client::{HealthClient, connect_health};
use super::context::Context;
use super::failure::{Exit, Failure};

/// How long a node may take to say how it is: far longer than it needs, and shorter than the time after which a container engine
/// gives up waiting for a check.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of the whole node in the health service.
const NODE: &str = "";

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    /// Fail, too, while the node can be asked but nothing can be changed, as on a full disk
    #[arg(long)]
    writes: bool,
}

/// How a node is, for scripts.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct HealthRecord {
    /// `serving` or `not serving`.
    status: &'static str,
    /// The same, for changes.
    writes: &'static str,
}

/// Runs `health`: code 0 for a node that serves, 1 for one that does not, 3 where there is none.
pub(crate) async fn run(args: HealthArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_health(&context.target).await?;
    let status = ask(&mut client, NODE, PATIENCE).await?;
    let writes = ask(&mut client, HEALTH_OF_WRITES, PATIENCE).await?;
    let record = HealthRecord { status: shown(status), writes: shown(writes) };
    let out = &mut context.out;
    if out.is_json() {
        out.record(&record)?;
    } else {
        let but = if writes == ServingStatus::Serving { "" } else { ", but nothing can be changed" };
        out.line(format_args!("{}{but}", record.status))?;
    }
    Ok(verdict(status, writes, args.writes))
}

fn verdict(status: ServingStatus, writes: ServingStatus, must_write: bool) -> Exit {
    let serves = status == ServingStatus::Serving && (!must_write || writes == ServingStatus::Serving);
    if serves { Exit::Done } else { Exit::Incomplete }
}

fn shown(status: ServingStatus) -> &'static str {
    match status {
        ServingStatus::Serving => "serving",
        ServingStatus::NotServing => "not serving",
        ServingStatus::Unknown | ServingStatus::ServiceUnknown => "unknown",
    }
}

/// What the node says of one of its services. A service that it does not know is unknown, not an error.
async fn ask(client: &mut HealthClient, service: &str, patience: Duration) -> Result<ServingStatus, Failure> {
    let asking = client.check(Request::new(HealthCheckRequest { service: service.to_owned() }));
    match tokio::time::timeout(patience, asking).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().status()),
        Ok(Err(status)) if status.code() == Code::NotFound => Ok(ServingStatus::ServiceUnknown),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Failure::incomplete(
            "the node takes calls and does not say how it is",
            "it starts, stops or is stuck: its log says which",
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::net::UnixListener;
    use tokio_stream::wrappers::UnixListenerStream;
    use tonic::transport::Server;

    use super::super::context::Global;
    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        global: Global,
        #[command(flatten)]
        health: HealthArgs,
    }

    /// Runs `health` with these options against what is at the socket in `dir`.
    async fn health(dir: &tempfile::TempDir, options: &[&str]) -> Result<Exit, Failure> {
        let path = dir.path().to_str().unwrap();
        let options = Options::parse_from(["health", "--data-dir", path].iter().chain(options));
        run(options.health, &mut Context::new(options.global).unwrap()).await
    }

    #[tokio::test]
    async fn the_exit_code_says_how_the_node_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(health(&dir, &[]).await.unwrap_err().exit(), Exit::Unreachable, "there is none");

        let (reporter, service) = tonic_health::server::health_reporter();
        let incoming = UnixListenerStream::new(UnixListener::bind(dir.path().join("api.sock")).unwrap());
        let server = tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        assert_eq!(health(&dir, &[]).await.unwrap(), Exit::Done);
        // Of an older node, which does not tell of changes apart, nobody knows whether it takes any.
        assert_eq!(health(&dir, &["--writes"]).await.unwrap(), Exit::Incomplete);

        reporter.set_service_status(HEALTH_OF_WRITES, tonic_health::ServingStatus::Serving).await;
        assert_eq!(health(&dir, &["--writes"]).await.unwrap(), Exit::Done);
        reporter.set_service_status(HEALTH_OF_WRITES, tonic_health::ServingStatus::NotServing).await;
        assert_eq!(health(&dir, &[]).await.unwrap(), Exit::Done, "what can be asked is not restarted");
        assert_eq!(health(&dir, &["--writes"]).await.unwrap(), Exit::Incomplete);

        reporter.set_service_status(NODE, tonic_health::ServingStatus::NotServing).await;
        assert_eq!(health(&dir, &[]).await.unwrap(), Exit::Incomplete);
        server.abort();
    }

    #[tokio::test]
    async fn a_node_that_takes_a_connection_and_says_nothing_does_not_serve() {
        let dir = tempfile::tempdir().unwrap();
        let _deaf = UnixListener::bind(dir.path().join("api.sock")).unwrap();
        let options = Options::parse_from(["health", "--data-dir", dir.path().to_str().unwrap()]);
        let context = Context::new(options.global).unwrap();
        let mut client = connect_health(&context.target).await.unwrap();
        let asked = ask(&mut client, NODE, Duration::from_millis(10)).await;
        assert_eq!(asked.unwrap_err().exit(), Exit::Incomplete);
    }

    #[test]
    fn health_is_one_json_object() {
        let record = HealthRecord { status: "serving", writes: "not serving" };
        assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"status":"serving","writes":"not serving"}"#);
    }
}
