//! A message's `Debug` text, made short enough to read: without type names, without fields that are zero, empty or null,
//! error codes by name, long bytes by length and checksum.

use millstream_protocol::error::ErrorCode;

/// Longer lists of bytes are shown by their checksum.
const BYTES_SHOWN: usize = 24;

/// `text` is what derived `Debug` writes.
pub fn normalized(text: &str) -> String {
    let mut parser = Parser { rest: text };
    let (value, _) = parser.value("");
    assert!(parser.rest.is_empty(), "left over: {}", parser.rest);
    value
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    /// One value, and whether it says nothing: zero, false, empty or null.
    fn value(&mut self, field: &str) -> (String, bool) {
        if self.rest.starts_with('"') {
            let text = self.string();
            return (text.to_owned(), text == "\"\"");
        }
        if self.takes("[") {
            let items = self.items("]");
            return (list(&items), items.is_empty());
        }
        let end = self
            .rest
            .find([' ', ',', ']', ')', '}', '('])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if self.takes(" { ") {
            return (self.fields(), false);
        }
        if self.takes("(") {
            let items = self.items(")");
            return match (word, items.as_slice()) {
                ("Some", [one]) => (one.clone(), false),
                _ => (format!("{word}({})", items.join(", ")), false),
            };
        }
        let is_nothing = matches!(word, "0" | "false" | "None" | "AAAAAAAAAAAAAAAAAAAAAA");
        if field.ends_with("error_code") {
            let code = word.parse().ok().and_then(ErrorCode::from_code);
            return (
                code.map_or_else(|| word.to_owned(), |code| code.name().to_owned()),
                is_nothing,
            );
        }
        (word.to_owned(), is_nothing)
    }

    /// Those that say something, after ` { `.
    fn fields(&mut self) -> String {
        let mut shown = Vec::new();
        loop {
            let (name, rest) = self.rest.split_once(": ").expect("a field has a name");
            self.rest = rest;
            let (value, is_nothing) = self.value(name);
            if !is_nothing {
                shown.push(format!("{name}: {value}"));
            }
            if self.takes(" }") {
                return format!("{{{}}}", shown.join(", "));
            }
            assert!(self.takes(", "), "a field ends: {}", self.rest);
        }
    }

    fn items(&mut self, end: &str) -> Vec<String> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.value("").0);
            self.takes(", ");
        }
        items
    }

    fn string(&mut self) -> &'t str {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, character)| {
            let is_end = *character == '"' && !escaped;
            escaped = *character == '\\' && !escaped;
            is_end
        });
        let (end, _) = end.expect("a string ends");
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        text
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn list(items: &[String]) -> String {
    let bytes: Option<Vec<u8>> = items.iter().map(|item| item.parse().ok()).collect();
    match bytes {
        Some(bytes) if bytes.len() > BYTES_SHOWN => {
            // FNV-1a: enough to tell that bytes are the same.
            let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            format!("<{} bytes, {sum:016x}>", bytes.len())
        }
        _ => format!("[{}]", items.join(", ")),
    }
}
