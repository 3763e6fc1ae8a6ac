//! Flags as Go's `flag` package reads them (`reference/cli.md` 1.1).

use std::collections::BTreeMap;

use types::GoDuration;

use crate::number::{parse_bool, parse_signed, parse_unsigned};

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May stand without a value.
    Bool,
    /// As [`Kind::Bool`], where "not given" differs from false; complains in other words.
    OptionalBool,
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A whole number, not negative.
    Unsigned,
    /// Go's duration text.
    Duration,
    /// Any text; each occurrence adds one.
    List,
    /// `key=value`; each occurrence adds one, the last of a key wins.
    Map,
}

impl Kind {
    /// Whether the flag may stand without a value.
    pub fn is_bool(self) -> bool {
        matches!(self, Kind::Bool | Kind::OptionalBool)
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Bool | Kind::OptionalBool => "",
            Kind::Text => "string",
            Kind::Integer => "int",
            Kind::Unsigned => "uint",
            Kind::Duration => "duration",
            Kind::List | Kind::Map => "value",
        }
    }
}

/// One flag of a command.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Name without dashes.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it does, for people.
    pub help: &'static str,
    /// The value when it is not given, as it would be written; empty for the empty value.
    pub default: &'static str,
    /// What stands for the value in help; empty for a flag without one.
    pub word: &'static str,
    /// Whether help leaves it out.
    pub hidden: bool,
}

impl Flag {
    /// A flag whose value is empty, zero or false when it is not given.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help, default: "", word: "", hidden: false }
    }

    /// [`Kind::Bool`].
    pub const fn bool(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Bool, help)
    }

    /// [`Kind::Text`].
    pub const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Text, help)
    }

    /// [`Kind::Unsigned`].
    pub const fn unsigned(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Unsigned, help)
    }

    /// [`Kind::Duration`].
    pub const fn duration(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Duration, help)
    }

    /// [`Kind::List`].
    pub const fn list(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::List, help)
    }

    /// [`Kind::Map`].
    pub const fn map(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Map, help)
    }

    /// Sets the default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Sets what stands for the value in help.
    #[must_use]
    pub const fn word(mut self, word: &'static str) -> Self {
        self.word = word;
        self
    }

    /// What stands for the value in help.
    pub(crate) fn shown_word(&self) -> &'static str {
        if self.word.is_empty() { self.kind.word() } else { self.word }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let reason = match self.kind {
            Kind::Bool if parse_bool(value).is_none() => Some("parse error".to_owned()),
            Kind::OptionalBool if parse_bool(value).is_none() => {
                Some(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(value)))
            }
            Kind::Integer => parse_signed(value).err().map(|error| error.reason().to_owned()),
            Kind::Unsigned => parse_unsigned(value).err().map(|error| error.reason().to_owned()),
            Kind::Duration => GoDuration::parse(value).err().map(|_| "parse error".to_owned()),
            Kind::Map if !value.contains('=') => {
                Some(format!("Missing \"=\" value in argument: {value}"))
            }
            _ => None,
        };
        let Some(reason) = reason else { return Ok(()) };
        let value = quote(value);
        Err(if self.kind.is_bool() {
            format!("invalid boolean value {value} for -{}: {reason}", self.name)
        } else {
            format!("invalid value {value} for flag -{}: {reason}", self.name)
        })
    }
}

/// A text in double quotes, as Go's `%q` writes it.
pub(crate) fn quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            // Writing to a String cannot fail.
            control if (control as u32) < 0x20 || control == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// The flags and words that a command was given.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    given: Vec<(&'static str, String)>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// The words behind the flags.
    pub words: Vec<String>,
}

impl Arguments {
    /// Reads `words` by `flags`: up to the first word that is no flag, or up to `--`.
    ///
    /// # Errors
    /// The complaint, in Go's words.
    pub fn parse(flags: &[Flag], words: &[String]) -> Result<Self, String> {
        let mut arguments = Self {
            defaults: flags.iter().map(|flag| (flag.name, flag.default)).collect(),
            ..Self::default()
        };
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            if word.len() < 2 || !word.starts_with('-') {
                break;
            }
            rest = behind;
            if word == "--" {
                break;
            }
            let text = word.strip_prefix("--").unwrap_or(&word[1..]);
            if text.is_empty() || text.starts_with('-') || text.starts_with('=') {
                return Err(format!("bad flag syntax: {word}"));
            }
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let value = match value {
                Some(value) => value,
                None if flag.kind.is_bool() => "true".to_owned(),
                None => {
                    let Some((value, behind)) = rest.split_first() else {
                        return Err(format!("flag needs an argument: -{name}"));
                    };
                    rest = behind;
                    value.clone()
                }
            };
            flag.check(&value)?;
            arguments.given.push((flag.name, value));
        }
        arguments.words = rest.to_vec();
        Ok(arguments)
    }

    /// Whether the flag was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The last value given, else the default.
    pub fn text(&self, name: &str) -> &str {
        let given = self.given.iter().rev().find(|(given, _)| *given == name);
        match given {
            Some((_, value)) => value,
            None => self.defaults.get(name).copied().unwrap_or(""),
        }
    }

    /// The value of a flag of kind [`Kind::Bool`].
    pub fn bool(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or(false)
    }

    /// The value of a flag of kind [`Kind::Integer`].
    pub fn integer(&self, name: &str) -> i64 {
        parse_signed(self.text(name)).unwrap_or(0)
    }

    /// The value of a flag of kind [`Kind::Unsigned`].
    pub fn unsigned(&self, name: &str) -> u64 {
        parse_unsigned(self.text(name)).unwrap_or(0)
    }

    /// The value of a flag of kind [`Kind::Duration`].
    pub fn duration(&self, name: &str) -> GoDuration {
        GoDuration::parse(self.text(name)).unwrap_or_default()
    }

    /// All values of a flag of kind [`Kind::List`], in order.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.given.iter().filter(|(given, _)| *given == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    /// All pairs of a flag of kind [`Kind::Map`].
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        let pairs = self.given.iter().filter(|(given, _)| *given == name);
        pairs
            .filter_map(|(_, pair)| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Every flag in the order it was given.
    pub fn given(&self) -> &[(&'static str, String)] {
        &self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<Flag> {
        vec![
            Flag::bool("cas", ""),
            Flag::new("maybe", Kind::OptionalBool, ""),
            Flag::text("separator", "").or("/"),
            Flag::unsigned("index", ""),
            Flag::new("port", Kind::Integer, ""),
            Flag::new("wait", Kind::Duration, "").or("2s"),
            Flag::list("tag", ""),
            Flag::map("meta", ""),
        ]
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&flags(), &words)
    }

    #[test]
    fn one_dash_and_two_mean_the_same_and_values_come_either_way() {
        for line in ["-separator=: k", "--separator=: k", "-separator : k", "--separator : k"] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.text("separator"), ":", "{line}");
            assert_eq!(arguments.words, ["k"], "{line}");
        }
        assert_eq!(parse("-separator= k").unwrap().text("separator"), "");
        assert_eq!(parse("k").unwrap().text("separator"), "/");
    }

    #[test]
    fn a_boolean_never_takes_the_next_word() {
        let arguments = parse("-cas false").unwrap();
        assert!(arguments.bool("cas"));
        assert_eq!(arguments.words, ["false"]);
        assert!(!parse("-cas=F").unwrap().bool("cas"));
        assert!(!parse("").unwrap().is_set("cas"));
    }

    #[test]
    fn flags_end_at_the_first_word_and_at_two_dashes() {
        assert_eq!(parse("foo -cas").unwrap().words, ["foo", "-cas"]);
        assert_eq!(parse("-cas -- -index").unwrap().words, ["-index"]);
        assert_eq!(parse("-cas -").unwrap().words, ["-"]);
    }

    #[test]
    fn lists_gather_and_maps_take_the_last() {
        let arguments = parse("-tag a,b -tag=c -meta k=v=w -meta k=x -meta l=").unwrap();
        assert_eq!(arguments.list("tag"), ["a,b", "c"]);
        let expected = BTreeMap::from([("k".into(), "x".into()), ("l".into(), String::new())]);
        assert_eq!(arguments.map("meta"), expected);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_strange(words in proptest::collection::vec("-{0,3}(cas|tag|meta|port|x)?=?[a0-9 =é-]{0,4}", 0..6)) {
            if let Ok(arguments) = Arguments::parse(&flags(), &words) {
                let kept = words.len() - arguments.words.len();
                proptest::prop_assert_eq!(&words[kept..], &arguments.words[..]);
            }
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        for (line, expected) in [
            ("-x", "flag provided but not defined: -x"),
            ("--x=1", "flag provided but not defined: -x"),
            ("-index", "flag needs an argument: -index"),
            ("-index=-1", "invalid value \"-1\" for flag -index: parse error"),
            (
                "-port 99999999999999999999",
                "invalid value \"99999999999999999999\" for flag -port: value out of range",
            ),
            ("-wait 7", "invalid value \"7\" for flag -wait: parse error"),
            ("-cas=maybe", "invalid boolean value \"maybe\" for -cas: parse error"),
            (
                "-maybe=x",
                "invalid boolean value \"x\" for -maybe: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("-meta v", "invalid value \"v\" for flag -meta: Missing \"=\" value in argument: v"),
            ("-=x", "bad flag syntax: -=x"),
            ("---x", "bad flag syntax: ---x"),
        ] {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
    }
}
