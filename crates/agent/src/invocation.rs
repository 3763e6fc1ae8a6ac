//! Programs that an operator names, and how they end, in Go's words: handlers of watches and
//! the children of `consul watch` and `consul lock`.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use tokio::process::Command;

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program, then its arguments; never empty.
    words: Vec<String>,
}

impl Invocation {
    /// A line for a shell: the one that `$SHELL` names, else `/bin/sh`.
    pub fn shell(line: &str, shell: Option<String>) -> Self {
        let shell = shell.filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| "/bin/sh".to_owned());
        Self { words: vec![shell, "-c".to_owned(), line.to_owned()] }
    }

    /// A program that is run as it is; `None` without a name.
    pub fn direct(words: &[String]) -> Option<Self> {
        (!words.is_empty()).then(|| Self { words: words.to_vec() })
    }

    /// What starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// Why it could not be started.
    pub fn start_error(&self, error: &io::Error) -> String {
        checks::program::start_error(&self.words, error)
    }
}

/// How a program ended: `exit status 3`, `signal: killed`; `None` for success.
pub fn exit_error(status: ExitStatus) -> Option<String> {
    if status.success() {
        return None;
    }
    let Some(signal) = status.signal() else {
        return Some(format!("exit status {}", status.code().unwrap_or_default()));
    };
    let dumped = if status.core_dumped() { " (core dumped)" } else { "" };
    Some(match signal_name(signal) {
        Some(name) => format!("signal: {name}{dumped}"),
        None => format!("signal: signal {signal}{dumped}"),
    })
}

/// The names of the first signals, which are the same numbers on every Linux.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 15] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
    ];
    NAMES.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_program_is_told_as_go_tells_it() {
        for (status, text) in [
            (0, None),
            (3 << 8, Some("exit status 3")),
            (9, Some("signal: killed")),
            (11 | 0x80, Some("signal: segmentation fault (core dumped)")),
            (40, Some("signal: signal 40")),
        ] {
            assert_eq!(exit_error(ExitStatus::from_raw(status)).as_deref(), text);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let missing = io::Error::from_raw_os_error(2);
        let direct = |name: &str| Invocation::direct(&[name.to_owned()]).unwrap();
        assert_eq!(
            direct("/nonexistent").start_error(&missing),
            "fork/exec /nonexistent: no such file or directory"
        );
        assert_eq!(
            direct("nonexistent").start_error(&missing),
            "exec: \"nonexistent\": executable file not found in $PATH"
        );
        assert_eq!(Invocation::direct(&[]), None);
    }

    #[tokio::test]
    async fn a_line_runs_in_the_shell_of_the_user() {
        let line = |shell: Option<&str>| Invocation::shell("exit 3", shell.map(str::to_owned));
        assert_eq!(line(None), line(Some("/bin/sh")));
        assert_eq!(line(Some("")), line(Some("/bin/sh")));
        assert_ne!(line(Some("/bin/bash")), line(Some("/bin/sh")));
        let status = line(None).command().status().await.unwrap();
        assert_eq!(exit_error(status).as_deref(), Some("exit status 3"));
    }
}
