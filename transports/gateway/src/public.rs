//! What strangers see, as the setting `anonymous_scope` writes it (AUTH-17).
//!
//! The form is that of targets, `adw:ID`, `room:NAME` and `session:ID`, with `*` for all of a kind, so that a flag and a variable
//! can carry it as well as the file.

use eventwire_protocol::{Audience, PublicScope, Scope, SessionId};

/// The word for no target at all.
const NONE: &str = "none";

/// Reads the targets that connections without credentials may join.
///
/// # Errors
/// One line that names the word.
pub(crate) fn read(words: &[String]) -> Result<PublicScope, String> {
    let mut scope = PublicScope::none();
    if let [only] = words
        && only == NONE
    {
        return Ok(scope);
    }
    for word in words {
        add(&mut scope, word)?;
    }
    Ok(scope)
}

fn add(scope: &mut PublicScope, word: &str) -> Result<(), String> {
    match word {
        "adw:*" => scope.adws = Scope::All,
        "room:*" => scope.rooms = Scope::All,
        "session:*" => scope.contexts = Scope::All,
        NONE => return Err(format!("{NONE} means no target at all and cannot be combined with others")),
        _ => {
            let target = word.parse::<Audience>().ok().filter(|target| !target.is_part());
            match target {
                Some(Audience::Adw(id, _)) => insert(&mut scope.adws, id),
                Some(Audience::Room(name)) => insert(&mut scope.rooms, name),
                Some(Audience::Session(SessionId::Context(id), _)) => insert(&mut scope.contexts, id),
                _ => {
                    return Err(format!(
                        "{word:?} is none of adw:ID, room:NAME and session:ID (with * for all of a kind), or {NONE} alone"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn insert<T: Ord>(scope: &mut Scope<T>, target: T) {
    if let Scope::Only(targets) = scope {
        targets.insert(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn auth_17_the_scope_of_strangers_is_what_it_names_and_nothing_else() {
        assert_eq!(read(&words("none")), Ok(PublicScope::none()));
        assert_eq!(read(&words("adw:*,room:*,session:*")), Ok(PublicScope::all()));
        let some = read(&words("adw:29fb6a3e,room:tasks,session:lobby,room:more")).unwrap();
        assert_eq!(some.adws, Scope::Only(["29fb6a3e".parse().unwrap()].into()));
        assert_eq!(some.rooms, Scope::Only(["tasks".parse().unwrap(), "more".parse().unwrap()].into()));
        assert_eq!(some.contexts, Scope::Only(["lobby".parse().unwrap()].into()));
        assert_eq!(read(&words("room:x,room:*")).unwrap().rooms, Scope::All);
        for text in
            ["*", "", "user:ada", "global", "adw:x/raw", "room:", "session:~1", "none,room:x", "adw:29fb6a3e/raw"]
        {
            let error = read(&words(text)).unwrap_err();
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }
}
