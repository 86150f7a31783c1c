//! Payloads of the `mcp` family: a back end that speaks to MCP servers (Model Context Protocol, servers that offer tools)
//! for its users tells them how each of these connections fares and what comes over it.
//!
//! The family comes from Product Demo. What was `connectionId` there is `mcp_connection_id` here, because a connection
//! is something else in this protocol.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AnyValue;
use crate::id::ItemId;

/// A connection to an MCP server is being made. `mcp.connected` or `mcp.connect_error` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Connecting {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
    /// The server's host name or address.
    pub host: String,
    /// The server's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// The MCP server is reached and its tools can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Connected {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
    /// The name that the MCP server gave to the back end. Any text.
    pub client_id: String,
    /// The server's host name or address.
    pub host: String,
    /// The server's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// The MCP server could not be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConnectError {
    /// What went wrong, for a person to read.
    pub error: String,
    /// The connection, as in `mcp.connecting`; absent when none was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_connection_id: Option<ItemId>,
    /// The server's host name or address, when one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The server's port, 1 to 65535, when one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// A tool of an MCP server has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolResult {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
    /// The answer, in the MCP server's own form. From outside: show texts in it as text, never as markup.
    pub result: AnyValue,
}

/// The connection to an MCP server has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Disconnected {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
}

/// The connection to an MCP server was lost and is being made again. `mcp.connected` or `mcp.connect_error` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reconnecting {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
    /// Why, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Something that an MCP server sent over its event stream, passed on as it came. Results of tools come as
/// `mcp.tool_result` as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SseEvent {
    /// The connection to the MCP server, as the back end names it.
    pub mcp_connection_id: ItemId,
    /// What came, in the MCP server's own form. From outside: show texts in it as text, never as markup.
    pub event: AnyValue,
}

/// One complete payload for each event of the family, by name.
pub fn examples() -> Vec<(&'static str, Value)> {
    vec![
        ("connecting", json!({ "mcp_connection_id": "mcp-1", "host": "tools.example.org", "port": 8080 })),
        (
            "connected",
            json!({
                "mcp_connection_id": "mcp-1", "client_id": "client-7", "host": "tools.example.org", "port": 8080,
            }),
        ),
        (
            "connect_error",
            json!({
                "error": "tools.example.org:8080 does not answer", "mcp_connection_id": "mcp-1",
                "host": "tools.example.org", "port": 8080,
            }),
        ),
        ("tool_result", json!({ "mcp_connection_id": "mcp-1", "result": { "tool": "read_file", "text": "# Readme" } })),
        ("disconnected", json!({ "mcp_connection_id": "mcp-1" })),
        ("reconnecting", json!({ "mcp_connection_id": "mcp-1", "message": "The server forgot its client" })),
        ("sse_event", json!({ "mcp_connection_id": "mcp-1", "event": { "type": "notification", "level": "info" } })),
    ]
}
