//! The door for agents: the Model Context Protocol, by the library `rmcp`. It translates between tools and calls of the node, and
//! decides nothing: each call goes the way of gRPC (see `wire`), with its guard, its limits, its counters and its record.
//!
//! ```text
//!  an agent --standard input and output--> `synapsenet mcp` --socket--+
//!                                                                     +--> the node's services
//!  an agent --HTTP--> this node --within the process------------------+
//! ```

mod arguments;
mod deeds;
pub(crate) mod http;
mod namespace;
mod passage;
mod tools;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListResourceTemplatesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourceContents, ResourceTemplate, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, ServiceExt};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;
use serde_json::{Map, Value};
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tokio::sync::Semaphore;

use crate::wire::Wire;
use arguments::MAX_CHARS;
use deeds::Refused;
pub(crate) use namespace::Namespace;

/// Bytes of one message of an agent: 32 texts of 16 KiB, with room for what JSON adds to them.
const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// Bytes of an answer of the node: 50 grains, each with what its author signed at most.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Tools that one agent has at work at the same time: it waits for most of them itself.
const MAX_AT_WORK: usize = 16;
/// What a grain is called as a resource: this, and its id.
const GRAIN: &str = "grain://";

type JsonArguments = Option<Map<String, Value>>;

/// What an agent is given, by the owner of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// What it is about.
    pub namespace: Namespace,
    /// Whether it has the tools that write. What it may is for the node to say.
    pub may_write: bool,
    /// Whether its searches ask peers, too.
    pub asks_mesh: bool,
}

/// The tools of one agent.
#[derive(Clone)]
pub(crate) struct Agent {
    client: NodeServiceClient<Wire>,
    settings: Arc<Settings>,
    at_work: Arc<Semaphore>,
}

impl Agent {
    /// Tools that go this way to the node.
    pub fn new(wire: Wire, settings: Settings) -> Self {
        let client = NodeServiceClient::new(wire).max_decoding_message_size(MAX_ANSWER_BYTES);
        Self { client, settings: Arc::new(settings), at_work: Arc::new(Semaphore::new(MAX_AT_WORK)) }
    }

    /// Serves an agent on standard input and output until it hangs up.
    ///
    /// # Errors
    /// When what comes is not the protocol.
    pub async fn serve_stdio(self) -> anyhow::Result<()> {
        let (input, output) = stdio_pipes();
        let transport = AsyncRwTransport::new(input, output).with_max_line_length(MAX_MESSAGE_BYTES);
        self.serve(transport).await?.waiting().await?;
        Ok(())
    }

    fn client(&self) -> NodeServiceClient<Wire> {
        self.client.clone()
    }

    async fn do_tool(&self, name: &str, arguments: JsonArguments) -> Result<Value, Refused> {
        let Ok(_place) = self.at_work.try_acquire() else {
            return Err(Refused(format!(
                "{MAX_AT_WORK} tools are at work: wait for one of them, then try again"
            )));
        };
        if tools::WRITING.contains(&name) && !self.settings.may_write {
            return Err(Refused(format!(
                "{name} is refused: this connection only reads; its owner lets it write by `synapsenet mcp --write`, or over \
                 HTTP by a token with the scope write"
            )));
        }
        match name {
            "search" => self.search(arguments).await,
            "get" => self.get(arguments).await,
            "recent" => self.recent(arguments).await,
            "related" => self.related(arguments).await,
            "remember" => self.remember(arguments).await,
            "forget" => self.forget(arguments).await,
            _ => Err(Refused(format!("there is no tool {name}"))),
        }
    }
}

impl ServerHandler for Agent {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let mut info = ServerConfig::new(capabilities).with_instructions(tools::INSTRUCTIONS);
        info.server_info = Implementation::new("synapsenet", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {}

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let Settings { may_write, asks_mesh, .. } = *self.settings;
        Ok(ListToolsResult { tools: tools::tools(may_write, asks_mesh), ..ListToolsResult::default() })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let known = tools::tools(true, false);
        if !known.iter().any(|tool| tool.name == request.name) {
            return Err(ErrorData::invalid_params(
                "there is no tool of this name; tools/list names them",
                None,
            ));
        }
        // What went wrong is for the agent to read, so it is an answer and no error of the protocol.
        let result = match self.do_tool(&request.name, request.arguments).await {
            Ok(answer) => CallToolResult::structured(answer),
            Err(Refused(words)) => CallToolResult::error(vec![ContentBlock::text(words)]),
        };
        Ok(result.into())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let grain = ResourceTemplate::new(format!("{GRAIN}{{id}}"), "grain")
            .with_description("One grain, with whose it is.")
            .with_mime_type("application/json");
        Ok(ListResourceTemplatesResult { resource_templates: vec![grain], ..Default::default() })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let not_found = |words: String| ErrorData::resource_not_found(words, None);
        let id = request.uri.strip_prefix(GRAIN);
        let id = id.ok_or_else(|| not_found(format!("a resource here is called {GRAIN}ID")))?;
        let one = self.one(id, 0, MAX_CHARS).await.map_err(|Refused(words)| not_found(words))?;
        let text = serde_json::to_string(&one.grain)
            .map_err(|error| ErrorData::internal_error(format!("the grain has no form: {error}"), None))?;
        let contents = ResourceContents::text(text, request.uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
