//! Reading the sources in their order: defaults of `-dev`, list flags, files,
//! other flags, fragments (`reference/config.md` 1.1).

use std::collections::BTreeMap;

use crate::decode::{Decoded, decode};
use crate::file_system::{FILE_BYTES_MAX, FileKind, FileSystem};
use crate::flags::{AgentFlag, FlagKind, FlagTarget, find_flag};
use crate::load::Sources;
use crate::options::{self, Kind};
use crate::settings::Settings;
use crate::value::Value;
use crate::{hcl, json};

/// Most configuration files in one folder that are read.
const FILES_MAX: usize = 10_000;

/// What the user set, apart from the defaults of `-dev`.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Hcl,
    Json,
}

impl Format {
    fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "hcl" => Some(Self::Hcl),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Hcl => hcl::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

pub(crate) fn read(sources: &Sources, files: &dyn FileSystem) -> Result<Read, String> {
    let format = match sources.config_format.as_str() {
        "" => None,
        "hcl" => Some(Format::Hcl),
        "json" => Some(Format::Json),
        _ => return Err("config: -config-format must be either 'hcl' or 'json'".to_owned()),
    };
    let mut out = Read::default();
    let (lists, others) = flag_settings(sources, &mut out.warnings)?;
    out.settings.overlay(lists);
    for path in &sources.config_files {
        read_path(path, format, files, &mut out)?;
    }
    out.settings.overlay(others);
    for (index, fragment) in sources.hcl.iter().enumerate() {
        let name = format!("flag-{index}.hcl");
        read_text(&name, Format::Hcl, fragment, &mut out)?;
    }
    Ok(out)
}

fn open_failed(path: &str, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("config: Open failed on {path}. open {path}: {reason}")
}

fn read_path(
    path: &str,
    format: Option<Format>,
    files: &dyn FileSystem,
    out: &mut Read,
) -> Result<(), String> {
    match files.kind(path).map_err(|error| open_failed(path, &error))? {
        FileKind::Directory => read_folder(path, format, files, out),
        FileKind::File | FileKind::Other => {
            let Some(format) = format.or_else(|| Format::of_name(path)) else {
                return Err(format!(
                    "file {path} has unknown extension; must be .hcl or .json, or config format \
                     must be set"
                ));
            };
            read_file(path, format, files, out)
        }
    }
}

fn read_folder(
    folder: &str,
    format: Option<Format>,
    files: &dyn FileSystem,
    out: &mut Read,
) -> Result<(), String> {
    let mut names = files.names(folder).map_err(|error| open_failed(folder, &error))?;
    names.sort();
    if names.len() > FILES_MAX {
        return Err(format!("config: {folder} holds more than {FILES_MAX} files"));
    }
    for name in names {
        let path = match folder.ends_with('/') {
            true => format!("{folder}{name}"),
            false => format!("{folder}/{name}"),
        };
        let kind = files.kind(&path).map_err(|error| open_failed(&path, &error))?;
        if kind != FileKind::File {
            continue;
        }
        match format.or_else(|| Format::of_name(&name)) {
            Some(format) => read_file(&path, format, files, out)?,
            None => out.warnings.push(format!(
                "skipping file {path}, extension must be .hcl or .json, or config format must be \
                 set"
            )),
        }
    }
    Ok(())
}

fn read_file(
    path: &str,
    format: Format,
    files: &dyn FileSystem,
    out: &mut Read,
) -> Result<(), String> {
    let bytes = files.read(path).map_err(|error| open_failed(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("failed to parse {path}: larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("failed to parse {path}: not UTF-8: {}", error.utf8_error()))?;
    read_text(path, format, &text, out)
}

fn read_text(name: &str, format: Format, text: &str, out: &mut Read) -> Result<(), String> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let failed = |error: String| format!("failed to parse {name}: {error}");
    let value = format.parse(text).map_err(failed)?;
    let Decoded { settings, warnings } = decode(value).map_err(failed)?;
    out.settings.overlay(settings);
    out.warnings.extend(warnings);
    Ok(())
}

/// The settings of the flags: those of top-level lists, which come before the
/// files, and the others, which come after.
fn flag_settings(
    sources: &Sources,
    warnings: &mut Vec<String>,
) -> Result<(Settings, Settings), String> {
    let (mut lists, mut others) = (Settings::default(), Settings::default());
    for (name, text) in &sources.flags {
        let flag =
            find_flag(name).ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let FlagTarget::Option(key) = flag.target else { continue };
        let Some(option) = options::find(key) else { continue };
        let value = flag_value(flag, text)?;
        if let Some(warning) = flag.warning().filter(|warning| !warnings.contains(warning)) {
            warnings.push(warning);
        }
        let early = matches!(option.kind, Kind::List) && !key.contains('.');
        if early { &mut lists } else { &mut others }.merge(option, value);
    }
    Ok((lists, others))
}

fn flag_value(flag: &AgentFlag, text: &str) -> Result<Value, String> {
    let refused =
        |reason: &str| format!("invalid value \"{text}\" for flag -{}: {reason}", flag.name);
    Ok(match flag.kind {
        FlagKind::Bool => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => {
                return Err(format!(
                    "invalid boolean value \"{text}\" for -{}: parse error",
                    flag.name
                ));
            }
        },
        FlagKind::Int => Value::Int(parse_go_int(text).ok_or_else(|| refused("parse error"))?),
        FlagKind::Str | FlagKind::Duration => Value::Str(text.to_owned()),
        FlagKind::List => Value::List(vec![Value::Str(text.to_owned())]),
        FlagKind::Map => {
            let (key, value) = text.split_once(':').map_or((text, ""), |(key, value)| (key, value));
            Value::Object(BTreeMap::from([(key.to_owned(), Value::Str(value.to_owned()))]))
        }
    })
}

/// Integers of Go's flags: decimal, `0x`, `0o` or leading `0`, `0b`, `_`
/// between digits.
fn parse_go_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (body, radix) = match lower.as_str() {
        body if body.starts_with("0x") => (&body[2..], 16),
        body if body.starts_with("0b") => (&body[2..], 2),
        body if body.starts_with("0o") => (&body[2..], 8),
        body if body.len() > 1 && body.starts_with('0') => (&body[1..], 8),
        body => (body, 10),
    };
    let body = body.replace('_', "");
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{body}"), radix).ok()
}

/// What `-dev` sets before every other source.
pub(crate) fn dev_defaults() -> Settings {
    let mut settings = Settings::default();
    let mut set = |key: &str, value: Value| {
        if let Some(option) = options::find(key) {
            settings.merge(option, value);
        }
    };
    for key in [
        "server",
        "disable_anonymous_signature",
        "disable_keyring_file",
        "enable_debug",
        "ui_config.enabled",
        "connect.enabled",
        "peering.enabled",
    ] {
        set(key, Value::Bool(true));
    }
    set("bind_addr", Value::Str("127.0.0.1".to_owned()));
    set("log_level", Value::Str("DEBUG".to_owned()));
    set("ports.grpc", Value::Int(8502));
    set("performance.raft_multiplier", Value::Int(1));
    for pool in ["gossip_lan", "gossip_wan"] {
        for timing in ["gossip_interval", "probe_interval", "probe_timeout"] {
            set(&format!("{pool}.{timing}"), Value::Str("100ms".to_owned()));
        }
        set(&format!("{pool}.suspicion_mult"), Value::Int(3));
    }
    settings
}
