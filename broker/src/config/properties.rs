//! Java's `.properties` format, as `java.util.Properties.load` reads it: comments, continued lines, escapes.

/// One key and value, and the line it starts on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A `\u` without four hexadecimal digits: the only thing that is an error in this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadEscape {
    pub(super) line: usize,
}

/// Parses a whole file. A key that stands there twice is given twice; the last one counts.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Property>, BadEscape> {
    // Java reads ISO 8859-1; files that are UTF-8 are what is meant nowadays. ASCII is both.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut properties = Vec::new();
    for (line, text) in logical_lines(&text) {
        let (key, value) = split(&text);
        let plain = |escaped: &str| unescape(escaped).ok_or(BadEscape { line });
        properties.push(Property {
            line,
            key: plain(key)?,
            value: plain(value)?,
        });
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines with their continuations joined, without blank lines and comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.split('\n').enumerate();
    let mut joined = Vec::new();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        // Comments do not continue, whatever they end in.
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = first.to_owned();
        while continues(&whole) {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        joined.push((index + 1, whole));
    }
    joined
}

/// True when the line ends in a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped. The key ends at the first unescaped blank, `=` or `:`.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let ends = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
        escaped = *c == '\\' && !escaped;
        ends
    });
    let end = end.map_or(line.len(), |(index, _)| index);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

/// `None` for a malformed `\u`.
fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                // UTF-16 units, so that a pair of them can make one character.
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let all_hex =
                        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| all_hex)?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::{BadEscape, parse};

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let parsed = parse(text.as_bytes()).expect("no escape is malformed");
        parsed
            .into_iter()
            .map(|property| (property.line, property.key, property.value))
            .collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?} gave {all:?}");
        let (_, key, value) = all.remove(0);
        (key, value)
    }

    #[test]
    fn separators_as_in_java() {
        for text in [
            "a=b", "a:b", "a b", "a = b", "  a  :b", "a\t=\tb", "a=b\r\n", "a\x0cb",
        ] {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a"), ("a".into(), String::new()));
        assert_eq!(one("a=="), ("a".into(), "=".into()));
        assert_eq!(one("a = b c "), ("a".into(), "b c ".into()));
    }

    #[test]
    fn comments_blank_lines_and_numbers() {
        let text = "# x \\\n! y\n\n  # z\na=1\n\nb=2";
        assert_eq!(
            pairs(text),
            [(5, "a".into(), "1".into()), (7, "b".into(), "2".into())]
        );
    }

    #[test]
    fn continued_lines() {
        assert_eq!(one("a=1,\\\n   2,\\\r\n\t3"), ("a".into(), "1,2,3".into()));
        assert_eq!(one("a=x\\\\\n"), ("a".into(), "x\\".into()));
        assert_eq!(one("a=x\\"), ("a".into(), "x".into()));
        assert_eq!(
            pairs("a=x\\\n#no\nb=1"),
            [(1, "a".into(), "x#no".into()), (3, "b".into(), "1".into())]
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(
            one(r"a\=b\:c\ d=e\tf\n\r\f\q\\"),
            ("a=b:c d".into(), "e\tf\n\r\x0cq\\".into())
        );
        assert_eq!(one(r"a=\u00fc\uD83D\uDE00"), ("a".into(), "ü😀".into()));
        assert_eq!(parse(b"x=1\na=\\u12"), Err(BadEscape { line: 2 }));
        assert_eq!(parse(b"a=\\u+123"), Err(BadEscape { line: 1 }));
    }

    #[test]
    fn latin_1_where_it_is_not_utf_8() {
        assert_eq!(
            parse(b"a=\xfc").map(|all| all[0].value.clone()),
            Ok("ü".to_owned())
        );
    }
}
