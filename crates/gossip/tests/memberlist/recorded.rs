//! What real agents have sent: `testdata/recorded/*.txt` hold bytes, and behind `=` what they say.
//! `UPDATE_EXPECT=1 cargo test` writes the words anew; read the difference.

use std::fmt::Write as _;

use gossip::wire::{Key, Keyring, Security};

use crate::words;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn read(recording: &str) -> String {
    let mut security = Security::default();
    let mut text = String::new();
    for line in recording.lines().filter(|line| !line.starts_with('=')) {
        let _ = writeln!(text, "{line}");
        match line.split_once(' ') {
            Some(("key", key)) => {
                security.keyring = Some(Keyring::new(Key::from_base64(key).unwrap()));
            }
            Some(("packet", hex)) => {
                let bytes = unhex(hex);
                let plain = security.open_packet(&bytes).unwrap();
                let _ = writeln!(text, "= {}", words::packet(&plain));
            }
            Some(("stream", hex)) => {
                let _ = writeln!(text, "= {}", words::stream(&unhex(hex), &security));
            }
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    text
}

#[test]
fn what_real_agents_sent_is_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/recorded");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let recording = std::fs::read_to_string(&path).unwrap();
        let text = read(&recording);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}
