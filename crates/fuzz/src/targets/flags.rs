//! Flags of the command line, and durations.

use cli::Arguments;
use cli::commands::COMMANDS;
use types::GoDuration;

use super::assert_says;

/// What command lines are made of.
pub(super) const WORDS: &[&str] = &[
    "\n",
    "-",
    "--",
    "=",
    "-http-addr",
    "-token=x",
    "-cas",
    "-modify-index",
    "-flags=0x1f",
    "-h",
    "-help",
    "---",
    "-=",
    "-recurse=maybe",
    "-wait=10s",
    "-datacenter",
    "-meta",
    "k=v",
    "-dev",
    "-config-dir",
    "-hcl",
    "-node-meta=a:b",
    "-bootstrap-expect=3",
    "-separator",
    "-detailed",
];

/// What durations are made of.
pub(super) const DURATION_WORDS: &[&str] = &[
    "1",
    "10",
    "h",
    "m",
    "s",
    "ms",
    "us",
    "\u{b5}s",
    "\u{3bc}s",
    "ns",
    ".",
    "-",
    "+",
    "1.5",
    "0",
    "9223372036854775807",
    "2562047h47m16.854775807s",
    "2562047h47m16.854775808s",
    "1e3",
    "d",
    ".5",
    "5.",
    "00000000000000000000000000000000000000001",
];

/// Checks one command line, a word on each line, with the flags of every command.
pub(super) fn check(input: &[u8]) {
    let text = super::text(input);
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for command in COMMANDS {
        let flags = command.all_flags();
        match Arguments::parse(&flags, &words) {
            Err(complaint) => assert_says(&complaint, text.len()),
            Ok(arguments) => {
                assert!(arguments.words.len() <= words.len());
                for flag in &flags {
                    let name = flag.name;
                    // Whatever its kind, a value can be asked for in every form.
                    let _ = (arguments.text(name), arguments.bool(name), arguments.integer(name));
                    let _ = (arguments.unsigned(name), arguments.list(name), arguments.map(name));
                }
            }
        }
    }
}

/// Checks one duration.
pub(super) fn check_duration(input: &[u8]) {
    let text = super::text(input);
    match GoDuration::parse(&text) {
        Ok(duration) => {
            assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration), "{text:?}");
            let json = types::json::encode(&duration);
            let again = types::json::decode(&json, types::json::Unknown::Deny);
            assert_eq!(again, Ok(duration), "{text:?}");
            let _ = duration.to_std();
        }
        Err(error) => assert_says(&error.to_string(), text.len()),
    }
}
