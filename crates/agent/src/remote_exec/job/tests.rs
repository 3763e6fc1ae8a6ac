//! Golden dialogues: `testdata/*.dialogue`. A line tells the job what happened; below it
//! stands, indented, what it does then. `UPDATE_GOLDEN=1 cargo test -p agent` writes that
//! anew; review the difference.
//!
//! `event PAYLOAD`, `found VALUE`, `missing`, `written`, `refused`, `output TEXT`
//! (`\n` is a line break; `COUNT*TEXT` repeats it), `exit CODE`, `failed REASON`,
//! `after DURATION` (each time that is due on the way is told).

use std::fmt::Write as _;
use std::path::Path;

use super::*;

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote_exec/testdata");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, played).unwrap();
            continue;
        }
        for (number, (expected, line)) in written.lines().zip(played.lines()).enumerate() {
            assert_eq!(line, expected, "{} line {}", path.display(), number + 1);
        }
        assert_eq!(written, played, "{}", path.display());
    }
}

fn play(script: &str) -> String {
    let mut now = Instant::now();
    let mut start = now;
    let mut job: Option<Job> = None;
    let mut out = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if verb.is_empty() || verb == "#" {
            continue;
        }
        if verb == "event" {
            start = now;
            job = match Job::new(rest.as_bytes(), "n1".into(), now) {
                Ok(job) => Some(job),
                Err(error) => {
                    writeln!(out, "  error: {error}").unwrap();
                    None
                }
            };
        }
        let Some(job) = &mut job else { continue };
        let mut ended = None;
        match verb {
            "event" => {}
            "found" => ended = job.handle_read(Some(rest.as_bytes()), now),
            "missing" => ended = job.handle_read(None, now),
            "written" => ended = job.handle_written(true, now),
            "refused" => ended = job.handle_written(false, now),
            "output" => job.handle_output(text(rest).as_bytes(), now),
            "exit" => job.handle_exit(rest.parse().unwrap(), now),
            "failed" => job.handle_start_failed(rest, now),
            "after" => {
                let until = now + GoDuration::parse(rest).unwrap().to_std();
                while let Some(due) = job.poll_timeout().filter(|due| *due <= until) {
                    now = due;
                    job.handle_timeout(now);
                    show(job, now - start, &mut out);
                }
                now = until;
            }
            other => panic!("{other} is no verb"),
        }
        show(job, now - start, &mut out);
        if let Some(ended) = ended {
            writeln!(out, "  ended: {ended:?}").unwrap();
        }
        if !job.wants_output() && job.is_running() {
            writeln!(out, "  the program waits").unwrap();
        }
    }
    out
}

/// `3*ab` is `ababab`.
fn text(written: &str) -> String {
    let written = written.replace("\\n", "\n");
    match written.split_once('*').map(|(count, text)| (count.parse(), text)) {
        Some((Ok(count), text)) => text.repeat(count),
        _ => written,
    }
}

fn show(job: &mut Job, at: Duration, out: &mut String) {
    let at = GoDuration::from(at);
    while let Some(action) = job.poll_action() {
        let line = match action {
            Action::Read { key, consistent } => {
                format!("read {key}{}", if consistent { " from the leader" } else { "" })
            }
            Action::Write { key, value } if value.len() > 64 => {
                format!("write {key} {} bytes", value.len())
            }
            Action::Write { key, value } => format!("write {key} {value:?}"),
            Action::Start(spec) => format!("start {spec:?}"),
            Action::Kill => "kill".to_owned(),
        };
        writeln!(out, "  {at} {line}").unwrap();
    }
}
