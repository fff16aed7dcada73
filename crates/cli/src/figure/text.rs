//! Text in an SVG: how wide it is at most, where it is broken, how it is written.

/// A way to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    /// The title of the figure.
    Title,
    /// Names of actors and parts.
    Name,
    /// On an arrow.
    Label,
    /// Below an arrow; all letters equally wide.
    Note,
    /// Times, and what explains the figure.
    Small,
}

impl Face {
    /// The class in the style sheet, and the size in pixels.
    pub(super) fn class(self) -> (&'static str, f64) {
        match self {
            Self::Title => ("t", 21.0),
            Self::Name => ("n", 14.0),
            Self::Label => ("l", 13.0),
            Self::Note => ("m", 10.5),
            Self::Small => ("s", 11.5),
        }
    }

    /// From one line to the next, in pixels.
    pub(super) fn line(self) -> i32 {
        match self {
            Self::Title => 28,
            Self::Name => 18,
            Self::Label => 17,
            Self::Note | Self::Small => 15,
        }
    }
}

/// How wide the text is at most, in pixels, in any of the fonts that the reader may have.
pub(super) fn width(text: &str, face: Face) -> i32 {
    let (_, size) = face.class();
    let bold = matches!(face, Face::Title | Face::Name);
    let ems: f64 = text.chars().map(|letter| ems(letter, face == Face::Note) * if bold { 1.09 } else { 1.0 }).sum();
    (ems * size).ceil() as i32
}

/// The widths of the widest common screen fonts, in parts of the font's size.
fn ems(letter: char, monospaced: bool) -> f64 {
    match letter {
        _ if !letter.is_ascii() && !matches!(letter, '\u{80}'..='\u{24F}') => {
            if matches!(letter, '→' | '…' | '×' | '–' | '·') && monospaced { 0.61 } else { 1.0 }
        }
        _ if monospaced => 0.61,
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | 'I' => 0.37,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' | '"' => 0.46,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 1.0,
        'A'..='Z' | '#' | '&' | '+' | '=' | '<' | '>' | '~' => 0.84,
        _ => 0.64,
    }
}

/// Breaks the text into at most `lines` lines of at most `limit` pixels, about equally long: between words where it can.
/// An ellipsis tells that something is left over.
pub(super) fn wrap(text: &str, face: Face, limit: i32, lines: usize) -> Vec<String> {
    let text = readable(text);
    let mut done = fill(&text, face, limit);
    if done.len() > lines {
        done.truncate(lines);
        if let Some(last) = done.last_mut() {
            while width(last, face) + width(" …", face) > limit && last.pop().is_some() {}
            last.truncate(last.trim_end().len());
            last.push_str(" …");
        }
        return done;
    }
    let mut narrower = limit;
    while done.len() > 1 {
        narrower -= 6;
        let evener = fill(&text, face, narrower);
        if evener.len() > done.len() || narrower < limit / 2 {
            break;
        }
        done = evener;
    }
    done
}

/// Fills line after line.
fn fill(text: &str, face: Face, limit: i32) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let joined = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&joined, face) <= limit {
            line = joined;
            continue;
        }
        if width(word, face) <= limit {
            done.push(std::mem::replace(&mut line, word.to_owned()));
            continue;
        }
        // A word that is too long for any line goes on behind the one before it, and breaks where a URL may.
        if !line.is_empty() {
            line.push(' ');
        }
        for piece in word.split_inclusive(['?', '&', '/', ',', ';']) {
            if width(&line, face) + width(piece, face) > limit && !line.is_empty() {
                done.push(std::mem::take(&mut line));
            }
            for letter in piece.chars() {
                if width(&line, face) + width(letter.encode_utf8(&mut [0; 4]), face) > limit && !line.is_empty() {
                    done.push(std::mem::take(&mut line));
                }
                line.push(letter);
            }
        }
    }
    done.push(line);
    for line in &mut done {
        line.truncate(line.trim_end().len());
    }
    done.retain(|line| !line.is_empty());
    done
}

/// The text as it may stand in an SVG, between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in readable(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Without what XML forbids and what would turn the direction of writing; an arrow of two signs becomes one.
fn readable(text: &str) -> String {
    let allowed = |letter: char| match letter {
        '\t' | '\n' | '\r' => ' ',
        '\u{FFFE}' | '\u{FFFF}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            '\u{FFFD}'
        }
        _ if letter.is_control() => '\u{FFFD}',
        _ => letter,
    };
    text.replace(" -> ", " → ").chars().map(allowed).collect()
}

/// A number with its thousands set apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut spaced = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            spaced.push(',');
        }
        spaced.push(digit);
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_within_their_limit_and_lose_no_word() {
        let text = "POST /dm with a rather long word: urn:oma:mo:oma-dm-devinfo:1.2/1/DevID/and/so/on/and/so/on & more";
        for limit in [60, 100, 200, 2_000] {
            let lines = wrap(text, Face::Label, limit, 99);
            assert!(lines.iter().all(|line| width(line, Face::Label) <= limit), "{limit}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis_within_the_limit() {
        let lines = wrap(&"word ".repeat(80), Face::Note, 150, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with(" …") && width(&lines[1], Face::Note) <= 150, "{lines:?}");
        assert_eq!(wrap("", Face::Note, 150, 2), Vec::<String>::new());
        assert_eq!(wrap("ab", Face::Note, 1, 9), ["a", "b"]);
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            escape("<a b=\"c\">'&'\u{0}\u{202E}\n"),
            "&lt;a b=&quot;c&quot;&gt;&#39;&amp;&#39;\u{FFFD}\u{FFFD} "
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
