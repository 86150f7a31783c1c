//! Reads the lines of an event stream (WHATWG HTML, section 9.2.6). Ours, and not a crate's, since a line needs a bound: what
//! is longer than any frame is not kept.

use std::collections::VecDeque;

/// A block that an empty line has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// The `id:` of this block, if it has one.
    pub(crate) id: Option<String>,
    /// Its data; `None` when it has no `data:` line.
    pub(crate) data: Option<String>,
    /// The `retry:` of this block, in milliseconds.
    pub(crate) retry: Option<u64>,
}

/// A line or the data of one event is larger than anything that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Bytes in, blocks out, in whatever pieces the bytes come.
#[derive(Debug)]
pub(crate) struct Reader {
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return, which a line feed may belong to.
    after_return: bool,
    /// Nothing was read yet, so a byte order mark may stand here.
    first: bool,
    block: Block,
    begun: bool,
    ready: VecDeque<Block>,
}

impl Reader {
    /// A reader that takes lines, and data of one block, up to so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Reader {
            limit,
            line: Vec::new(),
            after_return: false,
            first: true,
            block: Block::default(),
            begun: false,
            ready: VecDeque::new(),
        }
    }

    /// Takes bytes. After an error nothing is read any more.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_return) {
            match rest {
                [b'\n', tail @ ..] => rest = tail,
                [] => self.after_return = true,
                _ => {}
            }
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(end);
            self.keep(line)?;
            self.end_of_line()?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] => tail,
                [b'\r'] => {
                    self.after_return = true;
                    &[]
                }
                [_, tail @ ..] => tail,
                [] => &[],
            };
        }
        self.keep(rest)
    }

    /// The next block that has come whole.
    pub(crate) fn next(&mut self) -> Option<Block> {
        self.ready.pop_front()
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() > self.limit {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_of_line(&mut self) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf".as_slice()) {
            Some(rest) if self.first => rest,
            _ => &line,
        };
        self.first = false;
        if line.is_empty() {
            if std::mem::take(&mut self.begun) {
                self.ready.push_back(std::mem::take(&mut self.block));
            }
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                let data = self.block.data.take();
                let data = match data {
                    Some(data) if data.len() + value.len() >= self.limit => return Err(TooLong),
                    Some(data) => data + "\n" + value,
                    None => value.to_owned(),
                };
                self.block.data = Some(data);
                self.begun = true;
            }
            "id" if !value.contains('\0') => {
                self.block.id = Some(value.to_owned());
                self.begun = true;
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                if let Ok(millis) = value.parse() {
                    self.block.retry = Some(millis);
                    self.begun = true;
                }
            }
            // Comments, `event:`, and what a later version adds.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Block> {
        let mut reader = Reader::new(1 << 20);
        reader.push(bytes).unwrap();
        std::iter::from_fn(|| reader.next()).collect()
    }

    fn block(id: Option<&str>, data: Option<&str>, retry: Option<u64>) -> Block {
        Block { id: id.map(str::to_owned), data: data.map(str::to_owned), retry }
    }

    #[test]
    fn blocks_are_read_as_the_standard_says() {
        assert_eq!(
            read(b"\xef\xbb\xbfretry: 2000\nid: a-1\n\ndata: {\"a\":1}\n\n: keep-alive\n\n"),
            [block(Some("a-1"), None, Some(2000)), block(None, Some("{\"a\":1}"), None)]
        );
        assert_eq!(read(b"data:x\rdata:  y\r\ndata\n\n"), [block(None, Some("x\n y\n"), None)]);
        assert_eq!(read(b"event: add\nretry: 1x\nid: a\0b\nnonsense\n\n"), []);
        assert_eq!(read(b"id\ndata: 1\n\n"), [block(Some(""), Some("1"), None)]);
        // What no empty line has ended is not there.
        assert_eq!(read(b"data: 1\n"), []);
    }

    #[test]
    fn nothing_larger_than_its_bound_is_kept() {
        let mut reader = Reader::new(100);
        assert_eq!(reader.push(&[b'x'; 101]), Err(TooLong));
        let mut reader = Reader::new(100);
        let pieces = b"data: 0123456789012345678901234567890123456789\n".repeat(3);
        assert_eq!(reader.push(&pieces), Err(TooLong));
        let mut reader = Reader::new(100);
        let line = format!("data: {}\n\n", "x".repeat(94));
        reader.push(line.as_bytes()).unwrap();
        assert_eq!(reader.next().unwrap().data.unwrap().len(), 94);
    }

    /// Lines by splitting the whole text, fields by searching in them.
    fn naive(text: &str) -> Vec<Block> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut blocks = Vec::new();
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop();
        for lines in lines.split_inclusive(|line| line.is_empty()) {
            let Some(("", lines)) = lines.split_last().map(|(last, lines)| (*last, lines)) else { continue };
            let values = |name: &str| -> Vec<&str> {
                lines
                    .iter()
                    .filter_map(|line| {
                        let rest = line.strip_prefix(name)?;
                        if rest.is_empty() { Some("") } else { rest.strip_prefix(": ").or(rest.strip_prefix(':')) }
                    })
                    .collect()
            };
            let data = values("data");
            let id = values("id").into_iter().rfind(|id| !id.contains('\0'));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let retry = values("retry")
                .into_iter()
                .filter(|text| digits(text))
                .filter_map(|text| text.parse().ok())
                .next_back();
            if !data.is_empty() || id.is_some() || retry.is_some() {
                blocks.push(block(id, (!data.is_empty()).then(|| data.join("\n")).as_deref(), retry));
            }
        }
        blocks
    }

    fn stream() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            4 => prop::sample::select(vec![
                "data: ", "data:", "data", "id: ", "id", "retry: ", "event: ", ": c", "\n", "\n\n", "\r", "\r\n", "\r\n\r\n",
                " ", ":", "\0", "\u{feff}", "12", "{\"a\":\"\u{fc}\"}",
            ]).prop_map(str::to_owned),
            1 => "[a-z0-9 :]{0,8}",
        ];
        prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn any_text_in_any_pieces_is_read_as_the_whole_text_is(text in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            at.sort_unstable();
            let mut reader = Reader::new(1 << 20);
            for pair in at.windows(2) {
                reader.push(&bytes[pair[0]..pair[1]]).unwrap();
            }
            let blocks: Vec<Block> = std::iter::from_fn(|| reader.next()).collect();
            prop_assert_eq!(blocks, naive(&text));
        }
    }
}
