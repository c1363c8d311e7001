//! How the program fails: one sentence and an exit status.

use clap::error::ErrorKind;
use core::fmt;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hints: String,
}

impl Failure {
    /// The operation failed.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self {
            code: 1,
            message: message.to_string(),
            hints: String::new(),
        }
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: 2,
            message: message.to_string(),
            hints: String::new(),
        }
    }

    /// The user, or the system, told the program to stop before something.
    pub(crate) fn interrupted(before: &str) -> Self {
        Self::failed(format!("interrupted before {before}"))
    }

    /// What the argument parser says: its first paragraph as one sentence, the rest as hints.
    pub(crate) fn unparsed(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
        ) {
            // With `--json` alone the parser does not show the help, which nobody would read.
            return Self {
                hints: text.trim_end().to_owned(),
                ..Self::usage("no command is given")
            };
        }
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (sentence, hints) = text.split_once("\n\n").unwrap_or((text, ""));
        let words: Vec<&str> = sentence.split_whitespace().collect();
        Self {
            hints: hints.trim_end().to_owned(),
            ..Self::usage(words.join(" "))
        }
    }

    /// The process's exit status.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// What helps people to do better; often nothing.
    pub(crate) fn hints(&self) -> &str {
        &self.hints
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
