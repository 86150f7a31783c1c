//! Whether the logins of Product Demo are the users that API keys and tokens name (AUTH-17).
//!
//! Two applications that count their users themselves both have a user 1. Where they are different people, the logins of
//! Product Demo are users of a namespace of their own, so that neither receives the other's stream. Product Demo's back ends
//! and clients go on writing the ids that they know: events of its types for `user:1` are for its user 1.

use serde_json::{Map, Value, value::to_raw_value};

use crate::{
    address::Audience,
    catalog::EventType,
    dialect::Dialect,
    error::{ErrorBody, ErrorCode},
    frame::{EventKind, Publication},
    id::UserId,
};

/// What the ids of its logins begin with, where they are users of their own.
const NAMESPACE: &str = "product:";

/// Whom a login of Product Demo is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProductUsers {
    /// The user of the same id that API keys and tokens name.
    #[default]
    Same,
    /// A user of its own, with the id `product:<login>`.
    Separate,
}

impl ProductUsers {
    /// The user that a login is; `None` when its id is too long for the namespace.
    pub fn user_of(self, login: &UserId) -> Option<UserId> {
        match self {
            Self::Same => Some(login.clone()),
            Self::Separate => format!("{NAMESPACE}{login}").parse().ok(),
        }
    }

    /// The id by which Product Demo knows a user that is a login of it.
    pub fn login_of(self, user: &UserId) -> UserId {
        match self {
            Self::Same => user.clone(),
            Self::Separate => login_id(user.as_str()).parse().unwrap_or_else(|_| user.clone()),
        }
    }

    /// Whether API keys and tokens must not name the user, because it is a login of Product Demo.
    pub fn reserves(self, user: &UserId) -> bool {
        self == Self::Separate && is_login(user)
    }

    /// Whom an event is for that a publisher addressed: of Product Demo's types, its own users.
    ///
    /// # Errors
    /// `invalid_id` for a user whose id is too long to be a login.
    pub fn audience(self, kind: &EventKind, to: Audience) -> Result<Audience, ErrorBody> {
        match (self, to) {
            (Self::Separate, Audience::User(user)) if Dialect::Product.supports(kind) && !is_login(&user) => {
                let too_long = || {
                    let message = "to: the user id is too long to be a login of Product Demo";
                    ErrorBody::new(ErrorCode::InvalidId, message)
                };
                self.user_of(&user).map(Audience::User).ok_or_else(too_long)
            }
            (_, to) => Ok(to),
        }
    }

    /// The publication as it is admitted: for its own users, and about them.
    ///
    /// # Errors
    /// As [`audience`](Self::audience).
    pub fn admit(self, publication: Publication) -> Result<Publication, ErrorBody> {
        if self == Self::Same {
            return Ok(publication);
        }
        let data = match publication.kind {
            EventKind::Known(EventType::UserActivity) => self.activity(publication.data.get()),
            _ => None,
        };
        let to = self.audience(&publication.kind, publication.to)?;
        Ok(Publication { to, data: data.unwrap_or(publication.data), ..publication })
    }

    /// The payload of an activity that names its author by the login. What cannot be read is left for admission to refuse.
    fn activity(self, data: &str) -> Option<Box<serde_json::value::RawValue>> {
        let mut members: Map<String, Value> = serde_json::from_str(data).ok()?;
        let author: UserId = members.get("user_id")?.as_str()?.parse().ok()?;
        if is_login(&author) {
            return None;
        }
        members.insert("user_id".into(), self.user_of(&author)?.as_str().into());
        to_raw_value(&members).ok()
    }
}

/// The id by which clients of Product Demo know a user.
pub(super) fn login_id(user: &str) -> &str {
    user.strip_prefix(NAMESPACE).unwrap_or(user)
}

fn is_login(user: &UserId) -> bool {
    user.as_str().starts_with(NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    fn publication(kind: &str, to: &str, data: &str) -> Publication {
        Publication::decode(&format!(r#"{{"type":"{kind}","to":"{to}","data":{data}}}"#)).unwrap()
    }

    #[test]
    fn auth_17_separate_logins_are_users_of_their_own_and_the_same_are_not_touched() {
        let apart = ProductUsers::Separate;
        assert_eq!(apart.user_of(&user("ada")), Some(user("product:ada")));
        assert_eq!(apart.login_of(&user("product:ada")), user("ada"));
        assert!(apart.reserves(&user("product:ada")) && !apart.reserves(&user("ada")));
        assert_eq!(apart.user_of(&user(&"x".repeat(128))), None);
        let same = ProductUsers::Same;
        assert_eq!(
            (same.user_of(&user("ada")), same.login_of(&user("product:ada"))),
            (Some(user("ada")), user("product:ada"))
        );
        assert!(!same.reserves(&user("product:ada")));
    }

    #[test]
    fn auth_17_events_of_its_types_are_for_its_users_and_all_others_for_those_of_tokens() {
        let status = r#"{"document_id":"d","status":"indexed"}"#;
        let to = |kind: &str, to: &str, data: &str| {
            ProductUsers::Separate.admit(publication(kind, to, data)).unwrap().to.to_string()
        };
        assert_eq!(to("document.status", "user:ada", status), "user:product:ada");
        assert_eq!(to("document.status", "user:product:ada", status), "user:product:ada");
        assert_eq!(to("_app.note", "user:ada", "{}"), "user:ada");
        assert_eq!(to("task.update", "user:ada", "{}"), "user:ada");
        let same = ProductUsers::Same.admit(publication("document.status", "user:ada", status)).unwrap();
        assert_eq!(same.to.to_string(), "user:ada");
        let long = publication("document.status", &format!("user:{}", "x".repeat(128)), status);
        assert_eq!(ProductUsers::Separate.admit(long).unwrap_err().code, ErrorCode::InvalidId);
    }

    #[test]
    fn auth_17_the_author_of_an_activity_is_the_login() {
        let author = |of: ProductUsers, data: &str| {
            of.admit(publication("user.activity", "global", data)).unwrap().data.get().to_owned()
        };
        let data = r#"{"user_id":"ada","username":"Ada","action":"x"}"#;
        assert!(author(ProductUsers::Separate, data).contains(r#""user_id":"product:ada""#));
        let login = r#"{"user_id":"product:ada","username":"Ada","action":"x"}"#;
        assert_eq!(author(ProductUsers::Separate, login), login);
        assert_eq!(author(ProductUsers::Same, data), data);
        assert_eq!(author(ProductUsers::Separate, r#"{"user_id":7}"#), r#"{"user_id":7}"#);
    }
}
