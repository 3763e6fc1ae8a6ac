//! The binary `consul`.

use std::process::ExitCode;
use std::rc::Rc;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let environment = Rc::new(|name: &str| std::env::var(name).ok());
    ExitCode::from(cli::execute(&words, environment, cli::Ui::terminal()))
}
