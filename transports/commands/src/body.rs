//! The JSON text of a command as a back end is brought it.

use bytes::Bytes;
use eventwire_protocol::application::Cancels;

/// The JSON text of a command with what it cancels as of now (CMD-16). `command` is the text of an object with members.
pub(crate) fn with_cancels(command: &Bytes, cancels: Option<&Cancels>) -> Bytes {
    let members = command.strip_suffix(b"}");
    let (Some(members), Some(cancels)) = (members, cancels.and_then(|cancels| serde_json::to_vec(cancels).ok())) else {
        return command.clone();
    };
    let mut text = Vec::with_capacity(command.len() + cancels.len() + 12);
    for part in [members, b",\"cancels\":", &cancels, b"}"] {
        text.extend_from_slice(part);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::ApplicationCommand;
    use serde_json::json;

    use super::*;

    #[test]
    fn cmd_16_what_is_cancelled_becomes_a_member_of_the_command() {
        let command = json!({
            "id": "c1", "time": "2026-11-20T23:40:01Z", "dialect": "monadic", "name": "CANCEL",
            "connection_id": "c00000000000000ff", "urgent": true, "data": {},
        });
        let body: Bytes = command.to_string().into();
        assert_eq!(with_cancels(&body, None), body);
        let cancels = Cancels { in_work: vec!["a\"1".into()], withdrawn: vec!["a2".into()], ..Cancels::default() };
        let read: ApplicationCommand = serde_json::from_slice(&with_cancels(&body, Some(&cancels))).unwrap();
        let before: ApplicationCommand = serde_json::from_value(command).unwrap();
        assert_eq!(read, ApplicationCommand { cancels: Some(cancels), ..before });
    }
}
