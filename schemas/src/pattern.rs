//! The languages of two patterns, compared: does one hold everything of the other, do they share a text.
//!
//! Patterns are compiled to automata and the product is searched, so the answers are proofs. Only what means the same to
//! every JSON Schema validator is read (literals, classes, groups, alternatives, repetition, anchors); of everything
//! else nothing is claimed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

type Compiled = Rc<dense::DFA<Vec<u32>>>;

/// Compiled patterns, each compiled once.
#[derive(Default)]
pub(crate) struct Patterns {
    compiled: RefCell<HashMap<String, Option<Compiled>>>,
}

impl Patterns {
    /// Whether every text that `inner` finds a match in is one that `outer` finds a match in; `None` when that cannot be
    /// told.
    pub(crate) fn includes(&self, outer: &str, inner: &str) -> Option<bool> {
        if outer == inner {
            return Some(true);
        }
        let (outer, inner) = (self.compile(outer)?, self.compile(inner)?);
        let found = search(&inner, &outer, |inner, outer| inner && !outer)?;
        Some(!found)
    }

    /// Whether no text is matched by both; `None` when that cannot be told.
    pub(crate) fn are_disjoint(&self, one: &str, other: &str) -> Option<bool> {
        if one == other {
            return None;
        }
        let (one, other) = (self.compile(one)?, self.compile(other)?);
        let found = search(&one, &other, |one, other| one && other)?;
        Some(!found)
    }

    /// Whether a text is matched; `None` when that cannot be told.
    pub(crate) fn is_match(&self, pattern: &str, text: &str) -> Option<bool> {
        let automaton = self.compile(pattern)?;
        let mut state = begin(&automaton)?;
        for byte in text.bytes() {
            state = automaton.next_state(state, byte);
        }
        Some(is_accepting(&automaton, state))
    }

    fn compile(&self, pattern: &str) -> Option<Compiled> {
        if let Some(known) = self.compiled.borrow().get(pattern) {
            return known.clone();
        }
        let compiled = compile(pattern);
        self.compiled.borrow_mut().insert(pattern.to_owned(), compiled.clone());
        compiled
    }
}

/// States of one automaton; more is not worth the memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;

fn compile(pattern: &str) -> Option<Compiled> {
    if !means_the_same_everywhere(pattern) {
        return None;
    }
    // A pattern of a schema is searched for; with everything before and after it, the whole text is matched.
    let whole = format!("^(?s:.)*(?:{pattern})(?s:.)*$");
    let settings = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .dfa_size_limit(Some(MAX_BYTES))
        .determinize_size_limit(Some(MAX_BYTES));
    dense::Builder::new().configure(settings).build(&whole).ok().map(Rc::new)
}

/// Whether ECMA-262 and the automata read a pattern alike. Says no when in doubt.
fn means_the_same_everywhere(pattern: &str) -> bool {
    let mut letters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => {}
                _ => return false,
            },
            '[' if in_class => return false,
            '[' => {
                in_class = true;
                letters.next_if_eq(&'^');
                if letters.peek().is_none_or(|first| *first == ']') {
                    return false;
                }
            }
            ']' => in_class = false,
            '&' | '-' | '~' if in_class && letters.peek() == Some(&letter) => return false,
            '.' if !in_class => return false,
            '(' if !in_class && letters.peek() == Some(&'?') => {
                letters.next();
                if letters.next() != Some(':') {
                    return false;
                }
            }
            _ => {}
        }
    }
    !in_class
}

fn begin(automaton: &dense::DFA<Vec<u32>>) -> Option<StateID> {
    automaton.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()
}

fn is_accepting(automaton: &dense::DFA<Vec<u32>>, state: StateID) -> bool {
    automaton.is_match_state(automaton.next_eoi_state(state))
}

/// Whether some text leads both automata to where `wanted` holds of their acceptance.
fn search(one: &dense::DFA<Vec<u32>>, other: &dense::DFA<Vec<u32>>, wanted: fn(bool, bool) -> bool) -> Option<bool> {
    let first = (begin(one)?, begin(other)?);
    let mut seen = HashSet::from([first]);
    let mut open = vec![first];
    while let Some((at_one, at_other)) = open.pop() {
        if wanted(is_accepting(one, at_one), is_accepting(other, at_other)) {
            return Some(true);
        }
        for byte in 0..=u8::MAX {
            let next = (one.next_state(at_one, byte), other.next_state(at_other, byte));
            if one.is_quit_state(next.0) || other.is_quit_state(next.1) {
                return None;
            }
            // In both uses nothing is wanted of a text that the first automaton has given up.
            if !one.is_dead_state(next.0) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_compared_and_not_spellings() {
        let patterns = Patterns::default();
        let user = "^user:[A-Za-z0-9_.:@-]{1,128}$";
        let both = "^(user:[A-Za-z0-9_.:@-]{1,128}|connection:c[0-9a-f]{16})$";
        assert_eq!(patterns.includes(both, user), Some(true));
        assert_eq!(patterns.includes(user, both), Some(false));
        assert_eq!(patterns.includes("^[ab]+$", "^(a|b)(a|b)*$"), Some(true));
        assert_eq!(patterns.includes("^(a|b)(a|b)*$", "^[ab]+$"), Some(true));
        assert_eq!(patterns.includes("^a{1,3}$", "^a{1,4}$"), Some(false));
        // Without anchors a pattern is searched for.
        assert_eq!(patterns.includes("b", "^abc$"), Some(true));
        assert_eq!(patterns.includes("^b", "^abc$"), Some(false));
        assert_eq!(patterns.includes("", "^x$"), Some(true));
        assert_eq!(patterns.are_disjoint("^user:", "^room:"), Some(true));
        assert_eq!(patterns.are_disjoint("^user:", "m$"), Some(false));
        assert_eq!(patterns.is_match("^a[^b]$", "aé"), Some(true));
        assert_eq!(patterns.is_match("^a[^b]$", "ab"), Some(false));
    }

    #[test]
    fn nothing_is_claimed_of_what_validators_read_differently() {
        let patterns = Patterns::default();
        for odd in [r"^\d+$", "^.$", "(?i)a", "(?=a)b", r"\bword", "[a&&b]", "[[:alpha:]]", "a{", "[]a]", r"\p{L}"] {
            assert_eq!(patterns.includes("^a$", odd), None, "{odd}");
            assert_eq!(patterns.is_match(odd, "a"), None, "{odd}");
        }
        // The same text needs no reading.
        assert_eq!(patterns.includes(r"^\d+$", r"^\d+$"), Some(true));
    }
}
