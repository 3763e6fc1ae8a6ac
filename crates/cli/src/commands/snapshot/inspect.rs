//! `consul snapshot inspect`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use snapshot::{Meta, Record, RecordType};
use types::msgpack;

use super::{file_argument, read};
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome};
use crate::flag::{Flag, Kind};
use crate::json::indented;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "snapshot inspect",
    synopsis: "Show what is in a saved state",
    usage: "snapshot inspect [options] FILE",
    help: "Shows what a snapshot is of, and how many records of each kind it holds. The\n\
           file is an archive, or the state.bin in the folder of a server's own snapshot\n\
           (raft/snapshots/…/state.bin). All of it is read and checked.\n\n\
           \x20   $ consul snapshot inspect backup.snap\n\
           \x20   $ consul snapshot inspect -kvdetails -kvdepth=1 backup.snap",
    api: ApiFlags::NONE,
    flags: || {
        vec![
            Flag::bool("kvdetails", "Show which keys take how much."),
            Flag::new(
                "kvdepth",
                Kind::Integer,
                "With -kvdetails: how many parts of a key, at slashes, are told apart.",
            )
            .or("2"),
            Flag::text("kvfilter", "With -kvdetails: only keys that begin with this."),
            Flag::text("format", "pretty or json.").or("pretty"),
        ]
    },
    run: Run::Here(run),
};

/// One line: a kind of record, or the beginning of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    name: String,
    sum: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetaFacts {
    #[serde(rename = "ID")]
    id: String,
    size: u64,
    index: u64,
    term: u64,
    version: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Facts {
    meta: MetaFacts,
    stats: Vec<Stat>,
    #[serde(rename = "StatsKV")]
    stats_kv: Option<Vec<Stat>>,
    total_size: u64,
    #[serde(rename = "TotalSizeKV")]
    total_size_kv: u64,
}

fn run(call: &mut Call) -> Outcome {
    let path = file_argument(call)?;
    let keys = call.arguments.bool("kvdetails").then(|| Keys {
        depth: usize::try_from(call.arguments.integer("kvdepth")).unwrap_or(0),
        prefix: call.arguments.text("kvfilter").to_owned(),
    });
    let mut tally = Tally { keys, ..Tally::default() };
    let meta = read(&path, &mut |record| tally.take(record))?;
    let facts = tally.facts(meta);
    let text = match call.arguments.text("format") {
        "pretty" => pretty(&facts),
        "json" => indented(&facts, "   "),
        other => {
            let text = format!("Error outputting enhanced snapshot data: Unknown format: {other}");
            return Err(Failure::new(text));
        }
    };
    call.ui.output(text);
    Ok(0)
}

/// Which keys are told apart.
struct Keys {
    depth: usize,
    prefix: String,
}

#[derive(Default)]
struct Tally {
    kinds: BTreeMap<RecordType, (u64, u64)>,
    keys: Option<Keys>,
    by_key: BTreeMap<String, (u64, u64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyOnly {
    key: String,
}

impl Tally {
    fn take(&mut self, record: Record<'_>) {
        let Record::Of(kind, bytes) = record else { return };
        // With the byte of its kind.
        let size = 1 + bytes.len() as u64;
        add(self.kinds.entry(kind).or_default(), size);
        let Some(keys) = self.keys.as_ref().filter(|_| kind == RecordType::KVS) else { return };
        if let Ok(KeyOnly { key }) = msgpack::from_slice::<KeyOnly>(bytes)
            && key.starts_with(&keys.prefix)
        {
            let end = key.match_indices('/').nth(keys.depth.saturating_sub(1));
            let name = &key[..end.map_or(key.len(), |(at, _)| at)];
            match self.by_key.get_mut(name) {
                Some(entry) => add(entry, size),
                None => add(self.by_key.entry(name.to_owned()).or_default(), size),
            }
        }
    }

    fn facts(self, meta: Meta) -> Facts {
        let stats = sorted(self.kinds.into_iter().map(|(kind, sums)| (kind.to_string(), sums)));
        let stats_kv = self.keys.map(|_| sorted(self.by_key.into_iter()));
        let total = |stats: &[Stat]| stats.iter().map(|stat| stat.sum).sum();
        Facts {
            total_size: total(&stats),
            total_size_kv: stats_kv.as_deref().map_or(0, total),
            meta: MetaFacts {
                id: meta.id,
                size: meta.size,
                index: meta.index,
                term: meta.term,
                version: meta.version,
            },
            stats,
            stats_kv,
        }
    }
}

fn add((count, sum): &mut (u64, u64), size: u64) {
    *count += 1;
    *sum += size;
}

/// Largest first.
fn sorted(sums: impl Iterator<Item = (String, (u64, u64))>) -> Vec<Stat> {
    let mut stats: Vec<Stat> = sums.map(|(name, (count, sum))| Stat { name, sum, count }).collect();
    stats.sort_by_key(|stat| std::cmp::Reverse(stat.sum));
    stats
}

fn pretty(facts: &Facts) -> String {
    let meta = &facts.meta;
    let about = [
        ("ID", meta.id.clone()),
        ("Size", meta.size.to_string()),
        ("Index", meta.index.to_string()),
        ("Term", meta.term.to_string()),
        ("Version", meta.version.to_string()),
    ];
    let mut text: String =
        about.iter().map(|(name, value)| format!(" {name:<12} {value}\n")).collect();
    text.push_str(&table("Type", &facts.stats, facts.total_size));
    if let Some(keys) = &facts.stats_kv {
        text.push_str(&table("Key Name", keys, facts.total_size_kv));
    }
    text.truncate(text.trim_end().len());
    text
}

fn table(title: &str, stats: &[Stat], total: u64) -> String {
    let rule = ["----"; 3].map(str::to_owned);
    let mut rows = vec![[title, "Count", "Size"].map(str::to_owned), rule.clone()];
    rows.extend(
        stats.iter().map(|stat| [stat.name.clone(), stat.count.to_string(), size_text(stat.sum)]),
    );
    rows.push(rule);
    rows.push(["Total".to_owned(), String::new(), size_text(total)]);
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let lines = rows
        .iter()
        .map(|[name, count, size]| format!(" {name:<first$}      {count:<second$}      {size}\n"));
    std::iter::once("\n".to_owned()).chain(lines).collect()
}

/// Bytes for people: in steps of 1024, with one digit behind the point unless it is 0.
pub(super) fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{}{}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(keys: Option<Keys>) -> Facts {
        let mut tally = Tally { keys, ..Tally::default() };
        for key in ["app/a/1", "app/a/2", "app/b", "other"] {
            let bytes = msgpack::to_vec(&BTreeMap::from([("Key", key)]));
            tally.take(Record::Of(RecordType::KVS, &bytes));
        }
        tally.take(Record::Of(RecordType::INDEX, &[0xc0; 2000]));
        let mut meta = Meta::default();
        (meta.id, meta.size, meta.index, meta.term) = ("2-9-1".to_owned(), 2051, 9, 2);
        meta.version = 1;
        tally.facts(meta)
    }

    #[test]
    fn the_tables_begin_with_what_is_largest() {
        let keys = Keys { depth: 2, prefix: "app".to_owned() };
        let expected = "\
\x20ID           2-9-1
 Size         2051
 Index        9
 Term         2
 Version      1

 Type       Count      Size
 ----       ----       ----
 Index      1          2KB
 KVS        4          52B
 ----       ----       ----
 Total                 2KB

 Key Name      Count      Size
 ----          ----       ----
 app/a         2          28B
 app/b         1          12B
 ----          ----       ----
 Total                    40B";
        assert_eq!(pretty(&facts(Some(keys))), expected);
    }

    #[test]
    fn json_has_no_keys_unless_they_are_asked_for() {
        let json = indented(&facts(None), "   ");
        assert!(json.starts_with("{\n   \"Meta\": {\n      \"ID\": \"2-9-1\","), "{json}");
        assert!(json.contains("\"StatsKV\": null,"), "{json}");
        assert!(json.contains("\"Name\": \"KVS\",\n         \"Sum\": 52,"), "{json}");
        let keys = Keys { depth: 1, prefix: String::new() };
        let json = indented(&facts(Some(keys)), "   ");
        assert!(json.contains("\"Name\": \"app\",\n         \"Sum\": 40,"), "{json}");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in
            [(0, "0B"), (1023, "1023B"), (2253, "2.2KB"), (1 << 20, "1MB"), (3 << 40, "3072GB")]
        {
            assert_eq!(size_text(bytes), expected);
        }
    }
}
