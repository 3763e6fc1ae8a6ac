//! Where a command reads and writes.

use std::io::{self, IsTerminal as _, Read, Write};

/// Results, complaints and input of a command.
///
/// Each text is written at once, so that lines of several processes do not mix.
/// Writing to a reader that has gone is not an error of the command: what
/// follows is dropped, and [`Ui::is_closed`] tells commands that go on for ever.
pub struct Ui {
    output: Box<dyn Write>,
    errors: Box<dyn Write>,
    input: Box<dyn Read>,
    closed: bool,
    is_terminal: bool,
}

impl Ui {
    /// Standard output, error and input.
    pub fn terminal() -> Self {
        let (output, errors) = (io::stdout(), io::stderr());
        let is_terminal = errors.is_terminal();
        let ui = Self::new(Box::new(output), Box::new(errors), Box::new(io::stdin()));
        Self { is_terminal, ..ui }
    }

    /// Any three streams.
    pub fn new(output: Box<dyn Write>, errors: Box<dyn Write>, input: Box<dyn Read>) -> Self {
        Self { output, errors, input, closed: false, is_terminal: false }
    }

    /// A result, followed by a line break.
    pub fn output(&mut self, text: impl AsRef<[u8]>) {
        self.raw_output([text.as_ref(), b"\n"].concat());
    }

    /// A result as it is.
    pub fn raw_output(&mut self, text: impl AsRef<[u8]>) {
        let written = self.output.write_all(text.as_ref()).and_then(|()| self.output.flush());
        self.closed |= written.is_err();
    }

    /// A complaint, followed by a line break.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.raw_error([text.as_ref(), b"\n"].concat());
    }

    /// A complaint as it is.
    pub fn raw_error(&mut self, text: impl AsRef<[u8]>) {
        // There is nobody left to tell when this fails.
        let _ = self.errors.write_all(text.as_ref()).and_then(|()| self.errors.flush());
    }

    /// Whether complaints go to a terminal, where a line may be drawn over.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether nobody reads the results any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The next line of the input without its end, at most `bytes_max` of it; what is left
    /// when the input ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_line(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.len() < bytes_max && self.input.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        Ok(line)
    }

    /// All of the input, at most `bytes_max`.
    ///
    /// # Errors
    /// What the system says; more than `bytes_max`.
    pub fn read_input(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut input = Vec::new();
        (&mut self.input).take(bytes_max + 1).read_to_end(&mut input)?;
        if input.len() as u64 > bytes_max {
            return Err(io::Error::other(format!("more than {bytes_max} bytes")));
        }
        Ok(input)
    }
}
