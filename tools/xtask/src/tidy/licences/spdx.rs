//! SPDX licence expressions: `A OR (B AND C WITH e)`, and the old `A/B` for `A OR B`.

/// Whether the expression can be met with licences of the list alone. `A WITH e` counts only if
/// the list holds it as a whole.
///
/// # Errors
/// Says what is wrong with an expression that has no meaning.
pub(super) fn allowed(expression: &str, list: &[&str]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, list };
    let answer = parser.any()?;
    match parser.words {
        [] => Ok(answer),
        [word, ..] => Err(format!("`{word}` is not expected here")),
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    list: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Ok(answer)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Ok(answer)
    }

    fn one(&mut self) -> Result<bool, String> {
        match self.next() {
            None => Err("it ends too early".to_owned()),
            Some("(") => {
                let answer = self.any()?;
                if self.take(")") { Ok(answer) } else { Err("`)` is missing".to_owned()) }
            }
            Some(word @ (")" | "AND" | "OR" | "WITH")) => {
                Err(format!("`{word}` stands where a licence should"))
            }
            Some(licence) if self.take("WITH") => {
                let exception = self.next().ok_or("the exception is missing")?;
                Ok(self.list.contains(&format!("{licence} WITH {exception}").as_str()))
            }
            Some(licence) => Ok(self.list.contains(&licence)),
        }
    }
}

#[cfg(test)]
mod tests;
