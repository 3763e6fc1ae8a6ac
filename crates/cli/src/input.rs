//! Arguments that name where data comes from (`reference/cli.md` section 2).

use crate::command::Call;
use crate::failure::Failure;

/// Longest input of a command, in bytes.
pub(crate) const INPUT_BYTES_MAX: u64 = 512 << 20;

impl Call {
    /// The "DATA rule": `@file`, `-` for all of the input, else the text itself.
    pub(crate) fn data(&mut self, argument: &str) -> Result<Vec<u8>, Failure> {
        if let Some(file) = argument.strip_prefix('@') {
            return std::fs::read(file).map_err(|error| {
                let reason = client::system_text(&error);
                Failure::new(format!("Failed to read file: open {file}: {reason}"))
            });
        }
        if argument == "-" {
            return self.ui.read_input(INPUT_BYTES_MAX).map_err(|error| {
                let reason = client::system_text(&error);
                Failure::new(format!("Failed to read stdin: {reason}"))
            });
        }
        Ok(argument.as_bytes().to_vec())
    }
}
