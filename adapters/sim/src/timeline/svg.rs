//! Writing SVG.

use core::fmt::{self, Display, Write};

/// A coordinate: to a tenth of a pixel, as short as it can be.
#[derive(Clone, Copy)]
pub(crate) struct N(pub(crate) f64);

impl Display for N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round();
        if tenths % 10.0 == 0.0 {
            // Without a minus before zero.
            write!(f, "{:.0}", tenths / 10.0 + 0.0)
        } else {
            write!(f, "{:.1}", tenths / 10.0)
        }
    }
}

/// Text as XML takes it.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No document may contain these, in whatever form.
                '\0'..='\u{8}'
                | '\u{b}'
                | '\u{c}'
                | '\u{e}'..='\u{1f}'
                | '\u{fffe}'
                | '\u{ffff}' => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A document in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Svg(pub(crate) String);

impl Svg {
    /// Adds text as it is. Writing to memory does not fail.
    pub(crate) fn raw(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
    }

    pub(crate) fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        let [x, y, width, height] = [x, y, width, height].map(N);
        self.raw(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        ));
    }

    pub(crate) fn path(&mut self, class: &str, d: &str) {
        if !d.is_empty() {
            self.raw(format_args!("<path class=\"{class}\" d=\"{d}\"/>"));
        }
    }

    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let (x, y, text) = (N(x), N(y), Escaped(text));
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        ));
    }

    pub(crate) fn title(&mut self, text: &str) {
        self.raw(format_args!("<title>{}</title>", Escaped(text)));
    }
}

/// The way a pen goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pen(pub(crate) String);

impl Pen {
    pub(crate) fn add(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (-0.01, "0"),
            (1.04, "1"),
            (1.05, "1.1"),
            (-2.55, "-2.6"),
            (1199.96, "1200"),
        ] {
            assert_eq!(N(number).to_string(), text, "{number}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let text = Escaped("a<b>&\"'\u{1b}\u{0}\tü").to_string();
        assert_eq!(text, "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\tü");
    }
}
