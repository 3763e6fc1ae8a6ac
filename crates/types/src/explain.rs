//! The answer to "why do I (not) see this?": `consul explain` and the endpoints under
//! `/v1/proconsul/explain/`, which Consul does not have.
//!
//! One struct for all subjects, so that programs read one shape: the stations that the
//! thing passes on its way to whoever asks for it, in order, and what follows.

use serde::{Deserialize, Serialize};

/// What became of a thing on its way to whoever asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// What was asked about: `service "web"`, `key "app/a"`, `DNS name "web.service.consul" (A)`.
    pub subject: String,
    /// Whether it is seen.
    pub visible: Visible,
    /// One sentence: the answer.
    pub conclusion: String,
    /// What the operator can do, most useful first; empty when all is well.
    pub advice: Vec<String>,
    /// The stations, in the order in which the thing passes them.
    pub steps: Vec<Step>,
}

/// Whether a thing is seen by who asks as the question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visible {
    /// All of it.
    Yes,
    /// Some instances are, others are not.
    Partly,
    /// Nothing of it.
    No,
}

/// One station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    /// Its name: one or two lower-case words such as `sync`.
    pub station: String,
    /// What it means for whoever asks.
    pub finding: Finding,
    /// One sentence.
    pub text: String,
    /// One line for each instance, check or record that the sentence is about.
    pub details: Vec<String>,
}

/// What a station means for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It passes.
    Ok,
    /// Worth knowing; it does not decide.
    Note,
    /// Something is held back, or will be soon.
    Warning,
    /// This is where it ends.
    Stop,
}

impl Explanation {
    /// The beginning of an explanation; `conclude` completes it.
    pub fn of(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            visible: Visible::No,
            conclusion: String::new(),
            advice: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Adds a station.
    pub fn step(
        &mut self,
        station: &str,
        finding: Finding,
        text: impl Into<String>,
        details: Vec<String>,
    ) {
        let (station, text) = (station.to_owned(), text.into());
        self.steps.push(Step { station, finding, text, details });
    }

    /// Adds something to do; the same thing is said once.
    pub fn advise(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.advice.contains(&text) {
            self.advice.push(text);
        }
    }

    /// Says what follows.
    pub fn conclude(mut self, visible: Visible, conclusion: impl Into<String>) -> Self {
        self.visible = visible;
        self.conclusion = conclusion.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_as_json_as_it_was_written() {
        let mut explanation = Explanation::of("key \"a\"");
        explanation.step("store", Finding::Stop, "no such key", vec!["b".to_owned()]);
        explanation.advise("write it");
        explanation.advise("write it");
        let explanation = explanation.conclude(Visible::No, "It does not exist.");
        let text = serde_json::to_string(&explanation).expect("writes");
        assert_eq!(
            text,
            r#"{"Subject":"key \"a\"","Visible":"no","Conclusion":"It does not exist.","Advice":["write it"],"Steps":[{"Station":"store","Finding":"stop","Text":"no such key","Details":["b"]}]}"#
        );
        assert_eq!(serde_json::from_str::<Explanation>(&text).expect("reads"), explanation);
    }
}
