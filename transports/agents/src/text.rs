//! Small pieces of text for people: one line of bounded length out of any text.

/// The first line of `text` that is not blank, at most `limit` characters of it; `…` shows a cut.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    shortened(line, limit)
}

/// At most `limit` characters of `text`; `…` shows a cut.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(one_line("\n  héé  \nrest", 9), "héé");
        assert_eq!(one_line("🦀🦀🦀", 2), "🦀🦀…");
        assert_eq!(one_line("  \n\t", 2), "");
    }
}
