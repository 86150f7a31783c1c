//! What is safe and pleasant to print: text from events goes through here before it reaches a terminal.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Text without anything a terminal would act on: control characters, line separators and marks that reorder text become `\u{..}`.
/// Events carry text of strangers; an escape sequence in it could rewrite the screen.
#[must_use]
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => safe.push('⏎'),
            '\t' => safe.push(' '),
            character if acts(character) => safe.extend(character.escape_unicode()),
            character => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// JSON in which every character that a terminal would act on is an escape: such characters occur in JSON strings only, which
/// mean the same with the escape in place.
#[must_use]
pub(crate) fn escaped_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if acts(character) {
            let mut units = [0; 2];
            safe.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(character);
        }
    }
    safe
}

fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether to color what goes to `stream`: a terminal that understands it, and nobody said no (<https://no-color.org>).
#[must_use]
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of a terminal; `None` for anything else.
#[must_use]
pub(crate) fn width(stream: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The colors that are used, as SGR parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

/// A pen that colors, or does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pen {
    colored: bool,
}

impl Pen {
    /// A pen for a stream that is colored or not.
    #[must_use]
    pub(crate) fn new(colored: bool) -> Self {
        Self { colored }
    }

    /// `text`, in `color` if at all.
    #[must_use]
    pub(crate) fn paint(self, color: Color, text: &str) -> String {
        let code = match color {
            Color::Bold => 1,
            Color::Dim => 2,
            Color::Red => 31,
            Color::Green => 32,
            Color::Yellow => 33,
            Color::Blue => 34,
            Color::Magenta => 35,
            Color::Cyan => 36,
        };
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_acts_on_passes() {
        let hostile = "a\u{1b}]0;title\u{7}b\r\u{9b}2J\u{202e}c\n\td\u{0}";
        let safe = plain(hostile);
        assert!(!safe.chars().any(acts), "{safe:?}");
        assert_eq!(safe, "a\\u{1b}]0;title\\u{7}b\\u{d}\\u{9b}2J\\u{202e}c⏎ d\\u{0}");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in ["", "hello", "größer → 日本語 👩‍💻", "<b>&amp;"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn a_pen_without_color_changes_nothing() {
        assert_eq!(Pen::new(false).paint(Color::Red, "x"), "x");
        assert_eq!(Pen::new(true).paint(Color::Red, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
