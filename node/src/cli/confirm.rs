//! The one way to ask before something that cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use super::failure::Failure;

/// How the user agrees to what a command is about to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// With `--yes`.
    Given,
    /// By answering a question.
    Asked,
}

impl Consent {
    /// Looks at `--yes` and at the terminal, before a node is troubled. `doing` names the deed ("retracting"), `why` what
    /// to bear in mind.
    ///
    /// # Errors
    /// Exit code 2 when neither `--yes` was given nor anybody can be asked: a script must say that it means it.
    pub(crate) fn of(yes: bool, doing: &str, why: &str) -> Result<Self, Failure> {
        // The question goes to standard error, the answer comes from standard input.
        Self::with_terminal(yes, io::stdin().is_terminal() && io::stderr().is_terminal(), doing, why)
    }

    fn with_terminal(yes: bool, is_terminal: bool, doing: &str, why: &str) -> Result<Self, Failure> {
        match (yes, is_terminal) {
            (true, _) => Ok(Self::Given),
            (false, true) => Ok(Self::Asked),
            (false, false) => Err(Failure::usage(
                format!("{doing} asks first, and there is no terminal to ask on"),
                format!("give --yes when you are sure: {why}"),
            )),
        }
    }

    /// Shows what it is about, a line each, and asks, unless the answer was given before.
    ///
    /// # Errors
    /// Exit code 1 when the answer is not yes.
    pub(crate) fn confirm(&self, about: &[String], question: &str) -> Result<(), Failure> {
        if *self == Self::Given {
            return Ok(());
        }
        let mut stderr = anstream::stderr();
        ask(about, question, &mut io::stdin().lock(), &mut stderr)
    }
}

fn ask(
    about: &[String],
    question: &str,
    answers: &mut impl BufRead,
    shown: &mut impl Write,
) -> Result<(), Failure> {
    let mut answer = String::new();
    let mut asking = || -> io::Result<()> {
        for line in about {
            writeln!(shown, "  {line}")?;
        }
        write!(shown, "{question} [y/N] ")?;
        shown.flush()?;
        answers.read_line(&mut answer).map(drop)
    };
    asking().map_err(|error| {
        Failure::incomplete(format!("cannot ask: {error}"), "give --yes when you are sure")
    })?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::incomplete("nothing was changed", "answer y, or give --yes"))
}

#[cfg(test)]
mod tests {
    use super::super::failure::Exit;
    use super::*;

    #[test]
    fn a_script_that_cannot_be_asked_has_to_say_yes() {
        let consent =
            |yes, is_terminal| Consent::with_terminal(yes, is_terminal, "removing a model", "it is gone");
        assert_eq!(consent(true, false).unwrap(), Consent::Given);
        assert_eq!(consent(false, true).unwrap(), Consent::Asked);
        let Err(Failure::Told { exit, message, hint }) = consent(false, false) else {
            panic!("it must be refused")
        };
        assert_eq!(exit, Exit::Usage);
        assert_eq!(message, "removing a model asks first, and there is no terminal to ask on");
        assert_eq!(hint, "give --yes when you are sure: it is gone");
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, is_yes) in [
            ("y\n", true),
            (" YES \n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yesterday", false),
        ] {
            let mut shown = Vec::new();
            let agreed = ask(&["a".into()], "Sure?", &mut answer.as_bytes(), &mut shown);
            assert_eq!(agreed.is_ok(), is_yes, "{answer:?}");
            assert_eq!(String::from_utf8(shown).unwrap(), "  a\nSure? [y/N] ");
        }
    }
}
