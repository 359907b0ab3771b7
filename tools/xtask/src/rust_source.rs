//! A lexer for Rust source, just deep enough for `tidy`: words and signs with their line, without
//! comments and with literals set apart, so that a rule never fires on a comment or a string.
//!
//! Hand-written because the alternative, a full parser, would be the largest dependency of the
//! binary that everything else waits for. Input is source that compiles; on any other it still ends
//! and stays in bounds, only its answer may be wrong.

/// What a token is, as far as the checks care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifier or keyword; a raw identifier is without its `r#`.
    Word,
    /// `::`, or any other single sign.
    Sign,
    /// String, character or number.
    Literal,
    /// `'a`, including the quote.
    Lifetime,
}

/// One token; `line` counts from 1 and is where the token starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }
}

/// A function with a body: `lines` runs from the `fn` to the closing brace, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All tokens of a source text.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token_at(rest, first);
        let (taken, after) = rest.split_at(length);
        if let Some(kind) = kind {
            found.push(Token { kind, text: taken.strip_prefix("r#").unwrap_or(taken), line });
        }
        line += taken.matches('\n').count();
        rest = after;
    }
    found
}

/// All functions with a body, nested ones too, in the order of their `fn`.
pub(crate) fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        // A function pointer type has `(` here; a macro's placeholder name has `$`.
        if !keyword.is_word("fn") || !(name.kind == Kind::Word || name.is_sign("$")) {
            continue;
        }
        if let Some(end) = body_end(&tokens[index + 2..]) {
            let lines = end + 1 - keyword.line;
            found.push(Function { name: name.text, line: keyword.line, lines });
        }
    }
    found
}

/// The line of the brace that closes the first body, or `None` when a `;` ends the signature.
fn body_end(tokens: &[Token<'_>]) -> Option<usize> {
    let mut braces = 0_u32;
    let mut brackets = 0_u32;
    for token in tokens.iter().filter(|token| token.kind == Kind::Sign) {
        match token.text {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if braces == 0 && brackets == 0 => return None,
            "{" => braces += 1,
            "}" if braces <= 1 && brackets == 0 => return Some(token.line),
            "}" => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Kind (none for blanks and comments) and length in bytes, never 0, of what `rest` starts with.
fn token_at(rest: &str, first: char) -> (Option<Kind>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Some(Kind::Literal), length);
    }
    if first == '\'' {
        return quote(rest);
    }
    if first.is_ascii_digit() {
        return (Some(Kind::Literal), word(rest));
    }
    if is_word(first) {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        return (Some(Kind::Word), raw + word(&rest[raw..]));
    }
    let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
    (Some(Kind::Sign), length)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of the string literal at the start, with any of the prefixes b, c, r, br, cr.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).unwrap_or("");
        after.starts_with('"') || (prefix.ends_with('r') && is_raw_start(after))
    })?;
    let after = &rest[prefix.len()..];
    if !prefix.ends_with('r') {
        return Some(prefix.len() + escaped(after, b'"'));
    }
    let hashes = after.len() - after.trim_start_matches('#').len();
    let close = format!("\"{}", &after[..hashes]);
    let body = &after[hashes + 1..];
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(prefix.len() + hashes + 1 + end)
}

fn is_raw_start(after: &str) -> bool {
    after.starts_with('#') && after.trim_start_matches('#').starts_with('"')
}

/// Length of a literal that starts with `quote` and ends at the next one without a backslash.
fn escaped(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn quote(rest: &str) -> (Option<Kind>, usize) {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => (Some(Kind::Literal), escaped(rest, b'\'')),
        _ => (Some(Kind::Lifetime), 1 + word(&rest[1..])),
    }
}

#[cfg(test)]
mod tests;
