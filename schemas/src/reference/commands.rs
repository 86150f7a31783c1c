//! The page of what clients send.

use std::collections::BTreeSet;
use std::fmt::Write;

use eventwire_protocol::{Dialect, limits};
use serde_json::json;

use super::{GENERATED, cell, field_table, pretty, type_section};
use crate::dialects::{self, Tag, client, tag_of};
use crate::profile::closure;
use crate::source::Source;

/// The page.
pub(super) fn page(source: &Source) -> String {
    let payloads: BTreeSet<String> = source.commands.iter().map(|command| command.data_name()).collect();
    let mut types: BTreeSet<String> = BTreeSet::new();
    for payload in source.commands.iter().filter_map(|command| source.received.get(&command.data_name())) {
        types.extend(closure(payload, &source.received).into_keys());
    }
    types.retain(|name| !payloads.contains(name));
    let mut page = format!(
        "# Commands\n\n{GENERATED}\n\n\
         What a client may send over a socket: one JSON object in one text frame, of at most {} bytes. Members that are not\n\
         named here are refused. How commands are answered stands in [CMD](../spec/CMD.md), how they are refused in\n\
         [errors](errors.md), and the schema of them all in [command.schema.json](../../schemas/v1/command.schema.json).\n\n\
         | field | type | required | meaning |\n| --- | --- | --- | --- |\n\
         | `type` | string | yes | Which command it is. |\n\
         | `id` | string | no | Chosen by you, {} characters at most; the answer carries it as `re`. |\n\
         | `data` | object | see below | What the command needs. |\n",
        limits::MAX_COMMAND_BYTES,
        limits::MAX_COMMAND_ID_CHARACTERS,
    );
    for command in &source.commands {
        let _ = write!(page, "\n## {}\n\n{}", command.name, command.summary);
        page.push_str(if command.is_data_optional { " `data` may be left out.\n" } else { " `data` is required.\n" });
        field_table(&mut page, &source.received, &command.data_name(), &types);
        let example = json!({ "type": command.name, "id": "1", "data": command.example });
        let _ = write!(page, "\n```json\n{}\n```\n", pretty(&example));
    }
    page.push_str("\n## Types\n");
    types.iter().for_each(|name| type_section(&mut page, &source.received, name, &types));
    older(&mut page);
    page
}

/// What frontends of the older systems send.
fn older(page: &mut String) {
    page.push_str(
        "\n## In the older systems\n\n\
         What their frontends send is read as it was by their own servers. Every member stands in the schema of each.\n",
    );
    for dialect in dialects::dialects().filter(|dialect| dialect.family() == *dialect) {
        let variants: Vec<&str> = dialects::dialects()
            .filter(|variant| variant.family() == dialect && *variant != dialect)
            .map(Dialect::as_str)
            .collect();
        let heading = format!("In {}", dialects::system(dialect));
        let _ = write!(page, "\n### {heading}\n\n");
        if let Some(variant) = variants.first() {
            let _ = write!(page, "Sent under `{variant}` as well. ");
        }
        let told = match tag_of(dialect) {
            Tag::EventName => "The events of Socket.IO, by name.",
            Tag::Member(_) if dialect == Dialect::Monadic => "Named in the member `message`.",
            Tag::Member(_) if dialect == Dialect::SharedContext => {
                "Frames with a `type`, calls of tools by `tool`, and requests of JSON-RPC 2.0 by `method`."
            }
            Tag::Member(_) => "Named in the member `type`.",
        };
        let _ = write!(
            page,
            "{told} Schema: [client.schema.json](../../schemas/v1/dialects/{}/client.schema.json).\n\n\
             | name | asks | an example |\n| --- | --- | --- |\n",
            dialect.as_str()
        );
        for command in client::table(dialect) {
            let name = if command.name.is_empty() { "anything else".to_owned() } else { format!("`{}`", command.name) };
            let example =
                if command.example.is_null() { "no argument".to_owned() } else { format!("`{}`", command.example) };
            let _ = writeln!(page, "| {name} | {} | {} |", cell(command.summary), cell(&example));
        }
    }
}
