//! A command as a person writes it, taken apart as a shell would, without a shell.

/// The most words of a command.
const MAX_WORDS: usize = 64;
/// The most bytes of a command.
const MAX_LENGTH: usize = 4096;

/// Why a text is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotACommand {
    /// There is no word in it.
    #[error("no program is named")]
    Empty,
    /// A quote or a backslash has nothing that ends it.
    #[error("a quote is not closed, or nothing follows a backslash")]
    Unclosed,
    /// It is too long, or has a character that no argument can hold.
    #[error("at most 64 words, 4096 bytes and no zero byte are expected")]
    TooLong,
}

/// The words of a command: parted by white space; `'...'` is taken as it is, `"..."` too but for `\"` and `\\`, and a
/// backslash elsewhere takes the next character as it is. Nothing else has a meaning: no variable, no `~`, no `*`, no pipe.
///
/// # Errors
/// See [`NotACommand`].
pub fn words(text: &str) -> Result<Vec<String>, NotACommand> {
    if text.len() > MAX_LENGTH || text.contains('\0') {
        return Err(NotACommand::TooLong);
    }
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => quoted(character, &mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(NotACommand::Unclosed)?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    match words.first() {
        None => Err(NotACommand::Empty),
        Some(program) if program.is_empty() => Err(NotACommand::Empty),
        Some(_) if words.len() > MAX_WORDS => Err(NotACommand::TooLong),
        Some(_) => Ok(words),
    }
}

/// Takes what stands before the closing quote.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), NotACommand> {
    loop {
        match rest.next().ok_or(NotACommand::Unclosed)? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match rest.next().ok_or(NotACommand::Unclosed)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_apart_at_white_space_outside_of_quotes() {
        let cases: [(&str, &[&str]); 7] = [
            ("omadm-card-qmi", &["omadm-card-qmi"]),
            ("  a   b\tc ", &["a", "b", "c"]),
            (r#"a 'b c' "d e""#, &["a", "b c", "d e"]),
            (r#"a '' """#, &["a", "", ""]),
            (r#"a\ b 'c\d' "e\"f\\g\h""#, &["a b", r"c\d", r#"e"f\g\h"#]),
            ("a'b'\"c\"", &["abc"]),
            ("a $HOME ~ * ; | &", &["a", "$HOME", "~", "*", ";", "|", "&"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let long = "a ".repeat(65);
        let cases = [
            ("", NotACommand::Empty),
            (" \t", NotACommand::Empty),
            ("''", NotACommand::Empty),
            ("a 'b", NotACommand::Unclosed),
            ("a \"b\\\"", NotACommand::Unclosed),
            ("a \\", NotACommand::Unclosed),
            ("a\0b", NotACommand::TooLong),
            (&long, NotACommand::TooLong),
            (&"a".repeat(4097), NotACommand::TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), Err(expected), "{text:?}");
        }
    }
}
