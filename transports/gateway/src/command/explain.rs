//! `eventwire explain`: who would receive an event, and which subscription, grant or claim decides.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Gateway;
use crate::cli::Failure;
use crate::http_client::HttpClient;
use crate::terminal::{Color, Pen, colored, plain};

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Type of the event, such as adw.text_block
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: String,
    /// Whom it would be for, such as adw:29fb6a3e
    #[arg(long, value_name = "AUDIENCE")]
    pub to: String,
    /// Only this connection
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    /// The answer as JSON; what happens in a pipe
    #[arg(long)]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// Asks and prints.
///
/// # Errors
/// An unreachable gateway, a refusal, an answer that is none.
pub async fn run(flags: ExplainArgs) -> Result<ExitCode, Failure> {
    let client = HttpClient::new(&flags.gateway.url, flags.gateway.token()?)?;
    let mut query = vec![("type", &flags.event_type), ("to", &flags.to)];
    query.extend(flags.connection.as_ref().map(|connection| ("connection", connection)));
    let answer = client.get(&format!("/v1/explain?{}", encode(&query))).await?;
    if answer.status != 200 {
        return Err(answer.failure("/v1/explain"));
    }
    let mut out = std::io::stdout().lock();
    if flags.json || !std::io::stdout().is_terminal() {
        writeln!(out, "{}", answer.json)?;
    } else {
        write!(out, "{}", table(&answer.json, Pen::new(colored(&std::io::stdout()))))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Two lines per connection: received or not, who, the rule that decided, what happened; what it subscribed to and its client.
fn table(answer: &Value, pen: Pen) -> String {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(plain).unwrap_or_default().into_owned();
    let mut out = format!("{} to {}\n", text(answer, "type"), text(answer, "to"));
    let connections = answer.get("connections").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if connections.is_empty() {
        out.push_str("  no connection is open\n");
    }
    for connection in connections {
        let delivered = connection.get("delivered").and_then(Value::as_bool).unwrap_or(false);
        let verdict = if delivered { pen.paint(Color::Green, "yes") } else { pen.paint(Color::Red, "no ") };
        let (id, rule, reason) =
            (text(connection, "connection_id"), text(connection, "rule"), text(connection, "reason"));
        let _ = writeln!(out, "  {verdict} {id:<18} {} {reason}", pen.paint(Color::Bold, &format!("{rule:<9}")));
        let targets = connection.get("subscriptions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let targets: Vec<String> =
            targets.iter().filter_map(Value::as_str).map(|target| plain(target).into_owned()).collect();
        let subscriptions = if targets.is_empty() {
            "no subscription".to_owned()
        } else {
            format!("subscribed to {}", targets.join(" "))
        };
        let user = match text(connection, "user_id") {
            user if user.is_empty() => "no user".to_owned(),
            user => format!("user {user}"),
        };
        let facts: Vec<String> =
            [user, subscriptions, text(connection, "client")].into_iter().filter(|fact| !fact.is_empty()).collect();
        let _ = writeln!(out, "      {}", pen.paint(Color::Dim, &facts.join("; ")));
    }
    out
}

/// A query string in which any text is safe.
fn encode(pairs: &[(&str, &String)]) -> String {
    let escaped = |value| utf8_percent_encode(value, NON_ALPHANUMERIC);
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        let (to, event_type) = ("room:a b&c=d/é".to_owned(), "adw.x".to_owned());
        assert_eq!(encode(&[("type", &event_type), ("to", &to)]), "type=adw%2Ex&to=room%3Aa%20b%26c%3Dd%2F%C3%A9");
    }

    #[test]
    fn the_table_says_of_each_connection_what_happened_and_who_it_is() {
        let answer = serde_json::json!({"type": "adw.text_block", "to": "adw:29fb6a3e", "connections": [
            {"connection_id": "c1", "delivered": true, "rule": "ROUTE-02", "reason": "subscribed to adw:29fb6a3e",
             "user_id": "ann", "subscriptions": ["adw:29fb6a3e", "room:\u{1b}[2J"], "client": "curl/8.5.0"},
            {"connection_id": "c2", "delivered": false, "rule": "ROUTE-02", "reason": "did not subscribe\u{1b}[2J"},
        ]});
        let table = table(&answer, Pen::new(false));
        assert!(table.contains("yes c1                 ROUTE-02  subscribed to adw:29fb6a3e\n"), "{table}");
        assert!(table.contains("user ann; subscribed to adw:29fb6a3e room:\\u{1b}[2J; curl/8.5.0\n"), "{table}");
        assert!(table.contains("no  c2                 ROUTE-02  did not subscribe\\u{1b}[2J\n"), "{table}");
        assert!(table.contains("no user; no subscription\n"), "{table}");
    }
}
