//! `token`: who else may call this node, and what.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::client::{AccessClient, call, connect_access};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use super::output::{FAINT, Output, STRONG, table};
use super::time;
use crate::data_folder;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print its secret, which is shown this once
    Create {
        /// Its name: 1 to 64 of a-z, 0-9, '.', '_' and '-'
        name: String,
        /// What its holder may do: look; put, withdraw and share as well; or everything but what the machine's owner may
        #[arg(long, value_enum, default_value = "read")]
        scope: ScopeName,
        /// Limit it to a topic; give it again for several
        #[arg(long, value_name = "TOPIC", value_parser = parse_topic)]
        topic: Vec<Topic>,
        /// When it ends by itself: 12h, 90d, 8w
        #[arg(long, value_name = "AGE", value_parser = time::parse_life)]
        expires: Option<Duration>,
        /// Write the secret into this new file, for you alone to read, and not to standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the tokens that there are, without their secrets
    List,
    /// End a token, and at once what is being done with it
    Revoke {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScopeName {
    Read,
    Write,
    Admin,
}

impl ScopeName {
    fn message(self) -> rpc::TokenScope {
        match self {
            Self::Read => rpc::TokenScope::Read,
            Self::Write => rpc::TokenScope::Write,
            Self::Admin => rpc::TokenScope::Admin,
        }
    }
}

fn scope_name(scope: rpc::TokenScope) -> &'static str {
    match scope {
        rpc::TokenScope::Read => "read",
        rpc::TokenScope::Write => "write",
        rpc::TokenScope::Admin => "admin",
        rpc::TokenScope::Unspecified => "unknown",
    }
}

/// A token, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokenRecord<'a> {
    name: &'a str,
    /// `read`, `write` or `admin`.
    scope: &'static str,
    /// That it is limited to; none is all.
    topics: &'a [String],
    /// Whether it opens.
    state: &'static str,
    /// RFC 3339 in UTC.
    created: Option<String>,
    /// Null when it does not.
    expires: Option<String>,
    /// Null when it was not.
    last_used: Option<String>,
    /// What its holder sends; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    /// SHA-256 of the certificate that the API shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_fingerprint: Option<&'a str>,
}

impl<'a> TokenRecord<'a> {
    fn new(token: &'a rpc::AccessToken) -> Self {
        Self {
            name: &token.name,
            scope: scope_name(token.scope()),
            topics: &token.topics,
            state: state(token),
            created: time::rfc3339(token.created_ms),
            expires: token.expires_ms.and_then(time::rfc3339),
            last_used: token.last_used_ms.and_then(time::rfc3339),
            secret: None,
            api_fingerprint: None,
        }
    }
}

/// A token that was revoked, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RevokedRecord<'a> {
    /// `revoked`.
    event: &'static str,
    name: &'a str,
}

/// Runs `token`.
pub(crate) async fn run(args: TokenArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_access(&context.target).await?;
    let out = &mut context.out;
    match args.command {
        None | Some(TokenCommand::List) => {
            let tokens = client.list_tokens(call(rpc::ListTokensRequest {})).await?.into_inner().tokens;
            show(&tokens, out)?;
        }
        Some(TokenCommand::Create { name, scope, topic, expires, out: file }) => {
            let request = rpc::CreateTokenRequest {
                name,
                scope: scope.message().into(),
                topics: topic.iter().map(ToString::to_string).collect(),
                expires_seconds: expires.map_or(0, |life| life.as_secs()),
            };
            create(&mut client, request, file.as_deref(), out).await?;
        }
        Some(TokenCommand::Revoke { name }) => {
            client.revoke_token(call(rpc::RevokeTokenRequest { name: name.clone() })).await?;
            if out.is_json() {
                out.record(&RevokedRecord { event: "revoked", name: &name })?;
            } else {
                out.summary(format_args!("revoked {name}: it opens nothing any more"))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The secret alone goes to standard output, so that `> FILE` makes a token file.
async fn create(
    client: &mut AccessClient,
    request: rpc::CreateTokenRequest,
    file: Option<&Path>,
    out: &mut Output,
) -> Result<(), Failure> {
    // A token whose secret nobody has is worth nothing: what is in the way is found before it is made.
    if let Some(file) = file.filter(|file| file.exists()) {
        let message = format!("{} is there already", file.display());
        return Err(Failure::incomplete(message, "name a new file"));
    }
    let response = client.create_token(call(request)).await?.into_inner();
    let token = response.token.unwrap_or_default();
    let (secret, fingerprint) = (response.secret.as_str(), response.api_fingerprint.as_str());
    if let Some(file) = file {
        data_folder::write_new(file, format!("{secret}\n").as_bytes()).map_err(|error| {
            let hint = format!(
                "revoke the token, as nobody has its secret: `synapsenet token revoke {}`",
                token.name
            );
            Failure::incomplete(format!("cannot write {}: {error}", file.display()), hint)
        })?;
    }
    if out.is_json() {
        return out.record(&TokenRecord {
            secret: Some(secret).filter(|_| file.is_none()),
            api_fingerprint: Some(fingerprint).filter(|fingerprint| !fingerprint.is_empty()),
            ..TokenRecord::new(&token)
        });
    }
    if file.is_none() {
        out.line(secret)?;
    }
    let topics =
        if token.topics.is_empty() { String::new() } else { format!(" {}", token.topics.join(", ")) };
    let ends =
        token.expires_ms.map_or("never expires".to_owned(), |at| format!("expires {}", time::local(at)));
    let kept = match file {
        Some(file) => format!("The secret is in {} and nowhere else.", file.display()),
        None => "This is shown once: keep it in a file of its holder.".to_owned(),
    };
    out.note(format_args!(
        "{STRONG}{}{STRONG:#} may {}{topics}, {ends}. {kept}",
        token.name,
        scope_name(token.scope())
    ))?;
    let pin = match fingerprint {
        "" => String::new(),
        fingerprint => format!(" --api-fingerprint {fingerprint}"),
    };
    out.note(format_args!(
        "{FAINT}There: synapsenet status --api ADDRESS --api-token-file FILE{pin}{FAINT:#}"
    ))
}

fn state(token: &rpc::AccessToken) -> &'static str {
    let now = jiff::Timestamp::now().as_millisecond();
    let is_over = |at: u64| i64::try_from(at).is_ok_and(|at| at <= now);
    match token {
        rpc::AccessToken { revoked_ms: Some(_), .. } => "revoked",
        rpc::AccessToken { expires_ms: Some(at), .. } if is_over(*at) => "expired",
        _ => "opens",
    }
}

fn show(tokens: &[rpc::AccessToken], out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return tokens.iter().try_for_each(|token| out.record(&TokenRecord::new(token)));
    }
    let when = |at: Option<u64>, none: &str| at.map_or(none.to_owned(), time::local);
    let rows = tokens.iter().map(|token| {
        [
            token.name.clone(),
            scope_name(token.scope()).to_owned(),
            if token.topics.is_empty() { "all".to_owned() } else { token.topics.join(",") },
            state(token).to_owned(),
            when(token.expires_ms, "never"),
            when(token.last_used_ms, "never"),
        ]
    });
    table(["NAME", "SCOPE", "TOPICS", "STATE", "EXPIRES", "LAST USED"], rows.collect(), out)?;
    if tokens.is_empty() {
        out.note("no token yet; `synapsenet token create NAME` makes one")?;
    }
    Ok(())
}
