//! Dialogues with the command line: what is typed, what is asked over HTTP,
//! what is printed. Each file of `tests/dialogues/` is one dialogue:
//!
//! - `answer METHOD TARGET STATUS BODY` says what the agent answers from now on;
//! - `silent METHOD TARGET` says that the agent never answers;
//! - `index N` says which index all answers carry from now on;
//! - `file NAME CONTENT` writes a file into the folder `DIR` (`\n` is a line break);
//! - `$ consul WORDS` runs a command; `<<TEXT` at its end is its input.
//!
//! Below a command stands what follows from it: `> METHOD TARGET BODY` for each
//! request, then the output, with `! ` before lines of standard error, then
//! `exit N` unless it is 0. `PORT` stands for the agent's port. Run with
//! `UPDATE_DIALOGUES=1` to write what happens into the files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use cli::{Ui, execute};

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let happened = Dialogue::new().play(&written);
        if std::env::var_os("UPDATE_DIALOGUES").is_some() {
            fs::write(&file, &happened).unwrap();
            continue;
        }
        for (number, (line, expected)) in happened.lines().zip(written.lines()).enumerate() {
            assert_eq!(line, expected, "{}:{}\n{happened}", file.display(), number + 1);
        }
        assert_eq!(happened, written, "{}", file.display());
    }
}

struct Dialogue {
    agent: FakeAgent,
    folder: tempfile::TempDir,
}

impl Dialogue {
    fn new() -> Self {
        Self { agent: FakeAgent::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn play(&self, script: &str) -> String {
        let mut happened = String::new();
        let mut in_outcome = false;
        for line in script.lines() {
            if in_outcome && !line.is_empty() {
                continue;
            }
            in_outcome = false;
            happened.push_str(line);
            happened.push('\n');
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "answer" => self.agent.learn(rest),
                "silent" => self.agent.learn(&format!("{rest} {SILENT}")),
                "index" => {
                    *self.agent.index.lock().unwrap() = format!("X-Consul-Index: {rest}\r\n")
                }
                "file" => {
                    let (name, content) = rest.split_once(' ').unwrap();
                    fs::write(self.folder.path().join(name), content.replace("\\n", "\n")).unwrap();
                }
                "$" => {
                    happened.push_str(&self.run(rest.strip_prefix("consul").unwrap()));
                    in_outcome = true;
                }
                _ => assert!(line.is_empty() || line.starts_with('#'), "{line}"),
            }
        }
        happened
    }

    fn run(&self, line: &str) -> String {
        let (line, input) = line.split_once("<<").unwrap_or((line, ""));
        let folder = self.folder.path().to_str().unwrap();
        let words: Vec<String> =
            split(line).iter().map(|word| word.replace("DIR", folder)).collect();
        let port = self.agent.port;
        let environment = Rc::new(move |name: &str| {
            (name == "CONSUL_HTTP_ADDR").then(|| format!("127.0.0.1:{port}"))
        });
        let (output, errors) = (Buffer::default(), Buffer::default());
        let input = Cursor::new(input.as_bytes().to_vec());
        let ui = Ui::new(Box::new(output.clone()), Box::new(errors.clone()), Box::new(input));
        let exit = execute(&words, environment, ui);
        let mut happened = String::new();
        for request in self.agent.requests.lock().unwrap().drain(..) {
            happened.push_str(&format!("> {request}\n"));
        }
        // An empty line would end the outcome: it is written as a dot.
        for (prefix, text) in [("", output.text()), ("! ", errors.text())] {
            for line in text.lines() {
                let line = if prefix.is_empty() && line.is_empty() { "." } else { line };
                happened.push_str(&format!("{prefix}{line}\n"));
            }
        }
        if exit != 0 {
            happened.push_str(&format!("exit {exit}\n"));
        }
        happened.replace(folder, "DIR").replace(&format!(":{port}"), ":PORT")
    }
}

/// Splits at blanks; single quotes keep blanks.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_with(String::new).push(letter),
        }
    }
    words.extend(word);
    words
}

#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// In place of a status: there is no answer.
const SILENT: &str = "silent";

/// Answers over HTTP what it was told to, and remembers what it was asked.
struct FakeAgent {
    port: u16,
    answers: Arc<Mutex<BTreeMap<String, (String, String)>>>,
    requests: Arc<Mutex<Vec<String>>>,
    /// A header line.
    index: Arc<Mutex<String>>,
}

impl FakeAgent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let agent = Self {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::default(),
            requests: Arc::default(),
            index: Arc::default(),
        };
        let (answers, requests) = (Arc::clone(&agent.answers), Arc::clone(&agent.requests));
        let index = Arc::clone(&agent.index);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, requests) = (Arc::clone(&answers), Arc::clone(&requests));
                let index = Arc::clone(&index);
                std::thread::spawn(move || serve(&stream.unwrap(), &answers, &requests, &index));
            }
        });
        agent
    }

    fn learn(&self, line: &str) {
        let mut parts = line.splitn(4, ' ');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let question = format!("{} {}", next(), next());
        self.answers.lock().unwrap().insert(question, (next(), next()));
    }
}

fn serve(
    mut stream: &TcpStream,
    answers: &Mutex<BTreeMap<String, (String, String)>>,
    requests: &Mutex<Vec<String>>,
    index: &Mutex<String>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_lowercase());
            if head.len() == 1 {
                head[0] = line.trim().to_owned();
            }
        }
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
        let length = header("content-length: ").map_or(0, |length| length.parse().unwrap());
        let token = header("x-consul-token: ").map(|token| format!(" token={token}"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let question = head[0].trim_end_matches(" HTTP/1.1").to_owned();
        let body = String::from_utf8_lossy(&body);
        let asked = format!("{question}{} {body}", token.unwrap_or_default());
        requests.lock().unwrap().push(asked.trim_end().to_owned());
        let (status, text) =
            answers.lock().unwrap().get(&question).cloned().unwrap_or(("404".into(), "".into()));
        if status == SILENT {
            // Until the client goes.
            let _ = reader.read(&mut [0]);
            return;
        }
        let (length, index) = (text.len(), index.lock().unwrap().clone());
        let answer =
            format!("HTTP/1.1 {status} X\r\n{index}Content-Length: {length}\r\n\r\n{text}");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}
