//! Text from strangers, made fit for a log line.

use std::fmt::{self, Write};

/// Shows a stranger's text so that it can neither forge a log line, nor hide, nor flood it: cut to a hundred
/// characters, quoted and escaped unless every one of them is harmless.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(
    /// The text.
    pub &'a str,
);

const MAX_CHARACTERS: usize = 100;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        let cut = text.char_indices().nth(MAX_CHARACTERS).map_or(text.len(), |(index, _)| index);
        let (shown, hidden) = text.split_at_checked(cut).unwrap_or((text, ""));
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+#$%*~,;!?&()".contains(&byte);
        if !shown.is_empty() && shown.bytes().all(is_harmless) {
            f.write_str(shown)?;
        } else {
            f.write_char('"')?;
            for character in shown.chars() {
                match character {
                    '\'' => f.write_char('\'')?,
                    _ => character.escape_debug().try_for_each(|escaped| f.write_char(escaped))?,
                }
            }
            f.write_char('"')?;
        }
        if hidden.is_empty() { Ok(()) } else { write!(f, "…(+{} bytes)", hidden.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_shown_as_it_is() {
        assert_eq!(Shown("sensor-7/floor_2@eu").to_string(), "sensor-7/floor_2@eu");
    }

    #[test]
    fn text_that_could_forge_a_line_is_quoted_and_escaped() {
        assert_eq!(Shown("a who=b").to_string(), r#""a who=b""#);
        assert_eq!(Shown("a\nERROR \"x\"\\").to_string(), r#""a\nERROR \"x\"\\""#);
        assert_eq!(Shown("\u{1b}[31m").to_string(), r#""\u{1b}[31m""#);
        assert_eq!(Shown("\u{202e}evil\u{200b}").to_string(), r#""\u{202e}evil\u{200b}""#);
        assert_eq!(Shown("größe").to_string(), "\"größe\"");
        assert_eq!(Shown("").to_string(), r#""""#);
    }

    #[test]
    fn long_text_is_cut() {
        let shown = Shown(&"ä".repeat(30_000)).to_string();
        assert_eq!(shown, format!("\"{}\"…(+59800 bytes)", "ä".repeat(100)));
    }
}
