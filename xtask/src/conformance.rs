//! `cargo xtask conformance`: checks a binary against what real Consul answered, and that
//! exactly the steps fail that are known to.
//!
//! `.ci/conformance-scenarios` names the scenarios that pass completely;
//! `.ci/conformance-expected-failures` names, for others, the steps that fail as what they
//! ask for is not built yet. Any other failure fails the check, and so does a listed step
//! that passes: the lists can only get better.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

const CLEAN: &str = ".ci/conformance-scenarios";
const FAILING: &str = ".ci/conformance-expected-failures";

/// Lines of a difference that are shown.
const DIFF_LINES: usize = 30;

/// How the suite shows that it failed itself: a pipe that was closed before it had written,
/// a port that somebody else took.
const STUMBLES: &[&str] = &["+ \"harness\":", "+ \"not run\": \"cannot start"];

/// Scenarios that run at the same time, unless `--jobs` says otherwise.
const JOBS: u32 = 4;

/// The numbers of steps, from 1.
type Steps = BTreeSet<u32>;

#[derive(Debug)]
struct Options {
    consul: PathBuf,
    suite: PathBuf,
    jobs: u32,
}

impl Options {
    fn parse(root: &Path, words: &[&str]) -> anyhow::Result<Self> {
        let mut consul = None;
        let mut suite = root.join("../shared/conformance");
        let mut jobs = JOBS;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "--consul" => consul = Some(value()?.into()),
                "--suite" => suite = value()?.into(),
                "--jobs" => jobs = value()?.parse().context("--jobs")?,
                _ => bail!("conformance knows no {word}"),
            }
        }
        Ok(Self { consul: consul.context("--consul is needed")?, suite, jobs })
    }
}

/// Runs the check and tells of it.
///
/// # Errors
/// When it could not be run; what it found is in the exit code.
pub(crate) fn run(
    root: &Path,
    words: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let options = Options::parse(root, words)?;
    let expected = expected(root)?;
    if expected.is_empty() {
        say(&format!("conformance: {CLEAN} and {FAILING} name no scenario\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut outcome = check(&options, expected.keys())?;
    let stumbled = stumbled(&expected, &outcome);
    if !stumbled.is_empty() {
        say(&format!("conformance: the suite stumbled, again: {}\n", stumbled.join(" ")));
        let again = check(&options, stumbled.iter())?;
        outcome.scenarios.retain(|scenario| !stumbled.contains(&scenario.name));
        outcome.scenarios.extend(again.scenarios);
    }
    let verdict = judge(&expected, &outcome)?;
    say(&verdict.text);
    Ok(if verdict.mend == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps that fail, of all scenarios that are checked.
fn expected(root: &Path) -> anyhow::Result<BTreeMap<String, Steps>> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).context(file.to_owned());
    parse_lists(&read(CLEAN)?, &read(FAILING)?)
}

fn parse_lists(clean: &str, failing: &str) -> anyhow::Result<BTreeMap<String, Steps>> {
    let mut expected = BTreeMap::new();
    for name in entries(clean) {
        ensure!(expected.insert(name.to_owned(), Steps::new()).is_none(), "{CLEAN}: {name} twice");
    }
    for line in entries(failing) {
        let (name, steps) = line.split_once(':').with_context(|| format!("{FAILING}: {line}"))?;
        let steps = parse_steps(steps).with_context(|| format!("{FAILING}: {line}"))?;
        ensure!(!steps.is_empty(), "{FAILING}: {name} without a step belongs in {CLEAN}");
        ensure!(expected.insert(name.to_owned(), steps).is_none(), "{FAILING}: {name} twice");
    }
    Ok(expected)
}

/// Lines without comments and empty ones.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split_once('#').map_or(line, |(line, _)| line).trim())
        .filter(|line| !line.is_empty())
}

/// `3 5-7` is 3, 5, 6, 7.
fn parse_steps(text: &str) -> anyhow::Result<Steps> {
    let mut steps = Steps::new();
    for word in text.split_whitespace() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last): (u32, u32) = (first.parse()?, last.parse()?);
        ensure!(0 < first && first <= last && last < 10_000, "{word} are no steps");
        steps.extend(first..=last);
    }
    Ok(steps)
}

/// As [`parse_steps`] reads it.
fn show_steps(steps: &Steps) -> String {
    let mut shown = String::new();
    let mut rest = steps.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.peek() == Some(&(last + 1)) {
            last += 1;
            rest.next();
        }
        let _ = write!(shown, " {first}");
        if last > first {
            let _ = write!(shown, "-{last}");
        }
    }
    shown
}

/// What the suite says with `--json`.
#[derive(Debug, Deserialize)]
struct Outcome {
    scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    seconds: f64,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    /// From 1; 0 stands for the whole scenario, when there is no record to check against.
    number: u32,
    #[serde(rename = "do")]
    title: String,
    status: Status,
    diff: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    /// Differs in what nobody depends on.
    Layout,
    Fail,
}

fn check<'a>(
    options: &Options,
    scenarios: impl Iterator<Item = &'a String>,
) -> anyhow::Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("proconsul-conformance-").tempdir()?;
    let json = folder.path().join("outcome.json");
    let program = options.suite.join("conformance.py");
    // The differences are in the JSON too; of those only the unexpected are shown.
    let output = Command::new("python3")
        .arg(&program)
        .arg("check")
        .arg("--consul")
        .arg(&options.consul)
        .args(["--diff-lines", "0", "--jobs", &options.jobs.to_string(), "--json"])
        .arg(&json)
        .args(scenarios)
        .stdin(Stdio::null())
        .output()
        .context("python3")?;
    let text = std::fs::read_to_string(&json).with_context(|| {
        format!(
            "{} left no outcome: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    serde_json::from_str(&text).context("the outcome of the suite")
}

/// Scenarios of which the suite itself failed at a step that should pass.
fn stumbled(expected: &BTreeMap<String, Steps>, outcome: &Outcome) -> Vec<String> {
    let known = |name: &str, step: &Step| {
        expected.get(name).is_some_and(|steps| steps.contains(&step.number))
    };
    let stumbles = |step: &Step| {
        let at = |line: &String| STUMBLES.iter().any(|stumble| line.starts_with(stumble));
        step.status == Status::Fail && step.diff.iter().any(at)
    };
    let has_stumbled = |scenario: &&Scenario| {
        scenario.steps.iter().any(|step| stumbles(step) && !known(&scenario.name, step))
    };
    outcome.scenarios.iter().filter(has_stumbled).map(|scenario| scenario.name.clone()).collect()
}

/// What is told, and how many scenarios are not as expected.
#[derive(Debug)]
struct Verdict {
    text: String,
    mend: usize,
}

fn judge(expected: &BTreeMap<String, Steps>, outcome: &Outcome) -> anyhow::Result<Verdict> {
    let mut text = String::new();
    let mut mend = 0;
    let (mut passed, mut failed) = (0, 0);
    for name in expected.keys() {
        let checked = outcome.scenarios.iter().any(|scenario| &scenario.name == name);
        ensure!(checked, "the suite did not check {name}");
    }
    for scenario in &outcome.scenarios {
        let known = expected.get(&scenario.name).cloned().unwrap_or_default();
        let failing = || scenario.steps.iter().filter(|step| step.status == Status::Fail);
        let numbers: Steps = failing().map(|step| step.number).collect();
        failed += numbers.len();
        passed += scenario.steps.len() - numbers.len();
        if numbers == known {
            continue;
        }
        mend += 1;
        let _ = writeln!(text, "{}, {:.1} s:", scenario.name, scenario.seconds);
        for step in failing().filter(|step| !known.contains(&step.number)) {
            let _ = writeln!(text, "  step {} should pass and fails: {}", step.number, step.title);
            for line in step.diff.iter().take(DIFF_LINES) {
                let _ = writeln!(text, "    {line}");
            }
        }
        let better: Steps = known.difference(&numbers).copied().collect();
        if !better.is_empty() {
            let _ = writeln!(text, "  should fail and pass:{}", show_steps(&better));
            let left: Steps = known.intersection(&numbers).copied().collect();
            let _ = match left.is_empty() {
                true => writeln!(text, "  move {} from {FAILING} to {CLEAN}", scenario.name),
                false => writeln!(text, "  in {FAILING}: {}:{}", scenario.name, show_steps(&left)),
            };
        }
    }
    let _ = writeln!(
        text,
        "conformance: {mend} scenarios to mend; {} scenarios, {passed} steps pass, {failed} fail",
        outcome.scenarios.len()
    );
    Ok(Verdict { text, mend })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(scenarios: &[(&str, &[Status])]) -> Outcome {
        let steps = |statuses: &[Status]| {
            let step = |(place, status): (u32, &Status)| Step {
                number: place,
                title: format!("GET /{place}"),
                status: *status,
                diff: vec!["-a".to_owned(), "+b".to_owned()],
            };
            (1..).zip(statuses).map(step).collect()
        };
        let scenario = |(name, statuses): &(&str, &[Status])| Scenario {
            name: (*name).to_owned(),
            seconds: 1.5,
            steps: steps(statuses),
        };
        Outcome { scenarios: scenarios.iter().map(scenario).collect() }
    }

    fn verdict(lists: (&str, &str), scenarios: &[(&str, &[Status])]) -> Verdict {
        judge(&parse_lists(lists.0, lists.1).unwrap(), &outcome(scenarios)).unwrap()
    }

    use Status::{Fail, Layout, Pass};

    #[test]
    fn what_is_expected_needs_no_mending() {
        let lists = ("# clean\nkv\n", "dns: 2-3 # not yet\n");
        let verdict = verdict(lists, &[("kv", &[Pass, Layout]), ("dns", &[Pass, Fail, Fail])]);
        let text = "conformance: 0 scenarios to mend; 2 scenarios, 3 steps pass, 2 fail\n";
        assert_eq!((verdict.mend, verdict.text.as_str()), (0, text));
    }

    #[test]
    fn a_failure_that_is_not_listed_is_shown() {
        let verdict = verdict(("kv", ""), &[("kv", &[Pass, Fail])]);
        assert_eq!(verdict.mend, 1);
        let text = "kv, 1.5 s:\n  step 2 should pass and fails: GET /2\n    -a\n    +b\n";
        assert!(verdict.text.starts_with(text), "{}", verdict.text);
    }

    #[test]
    fn a_listed_step_that_passes_has_to_leave_the_list() {
        let some = verdict(("", "dns: 1 2 3"), &[("dns", &[Fail, Pass, Fail])]);
        assert_eq!(some.mend, 1);
        let line = "  in .ci/conformance-expected-failures: dns: 1 3\n";
        assert!(some.text.contains(line), "{}", some.text);
        let all = verdict(("", "dns: 1"), &[("dns", &[Pass])]);
        assert!(all.text.contains("move dns from"), "{}", all.text);
    }

    #[test]
    fn a_scenario_is_tried_again_when_the_suite_itself_failed() {
        let expected = parse_lists("kv", "dns: 1").unwrap();
        let mut outcome = outcome(&[("kv", &[Fail]), ("dns", &[Fail, Pass])]);
        assert!(stumbled(&expected, &outcome).is_empty());
        for scenario in &mut outcome.scenarios {
            scenario.steps[0].diff = vec!["+ \"harness\": \"BrokenPipeError\"".to_owned()];
        }
        assert_eq!(stumbled(&expected, &outcome), ["kv"]);
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        for (clean, failing) in [
            ("kv\nkv", ""),
            ("kv", "kv: 1"),
            ("", "kv:"),
            ("", "kv"),
            ("", "kv: 3-1"),
            ("", "k: 0"),
        ] {
            assert!(parse_lists(clean, failing).is_err(), "{clean:?} {failing:?}");
        }
        assert!(judge(&parse_lists("kv", "").unwrap(), &outcome(&[])).is_err());
    }

    #[test]
    fn steps_are_shown_as_they_are_read() {
        let steps = parse_steps("1 3-5 4 9").unwrap();
        assert_eq!(show_steps(&steps), " 1 3-5 9");
        assert_eq!(parse_steps(&show_steps(&steps)).unwrap(), steps);
    }

    #[test]
    fn the_outcome_of_the_suite_is_read() {
        let text = r#"{"passed": 1, "failed": 0, "layout": 0, "scenarios": [
            {"name": "kv", "seconds": 0.1,
             "steps": [{"number": 1, "do": "wait", "status": "layout", "diff": []}]}]}"#;
        let outcome: Outcome = serde_json::from_str(text).unwrap();
        assert_eq!(outcome.scenarios[0].steps[0].status, Layout);
    }
}
