//! Scripts and Docker checks.

use serde_json::json;
use tokio::net::UnixListener;

use super::*;

fn script(args: &[&str], more: &str) -> String {
    format!(r#"{{"Args":{},"Interval":"1s"{more}}}"#, json!(args))
}

async fn shell(text: &str, more: &str) -> Observation {
    observe_with(&Settings::default(), &script(&["/bin/sh", "-c", text], more)).await
}

#[tokio::test]
async fn the_exit_code_of_a_script_is_its_status() {
    let cases = [
        ("echo fine", Status::Passing, "fine\n"),
        ("echo hm; exit 1", Status::Warning, "hm\n"),
        ("echo no; exit 2", Status::Critical, "no\n"),
        ("echo first; echo second >&2; echo third", Status::Passing, "first\nsecond\nthird\n"),
        ("kill -TERM $$", Status::Critical, ""),
    ];
    for (text, status, output) in cases {
        let observation = shell(text, "").await;
        assert_eq!(observation, Observation::counted(Outcome::new(status, output)), "{text}");
    }
}

#[tokio::test]
async fn a_script_keeps_the_end_of_a_long_output() {
    let outcome = shell("printf 0123456789", r#","OutputMaxSize":4"#).await.outcome;
    assert_eq!(outcome.output, "Captured 4 of 10 bytes\n...\n6789");
}

#[tokio::test]
async fn a_script_that_is_late_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    // The grandchild holds the pipe too: only its death ends the output.
    let text = format!("echo started; sleep 600 & echo $! > {}; wait", pids.display());
    let observation = shell(&text, r#","Timeout":"300ms""#).await;
    assert_eq!(
        observation,
        Observation::immediate(Outcome::critical("Timed out (300ms) running check\n\nstarted\n"))
    );
    let pid = std::fs::read_to_string(&pids).unwrap();
    let state = format!("/proc/{}/stat", pid.trim());
    within(async {
        // A killed process is gone, or a zombie until init looks at it.
        while std::fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let silent = shell("exec sleep 600", r#","Timeout":"50ms""#).await.outcome;
    assert_eq!(silent.output, "Timed out (50ms) running check");
}

#[tokio::test]
async fn a_script_that_cannot_start_says_why_and_skips_the_thresholds() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "text").unwrap();
    let plain = plain.to_str().unwrap();
    let cases = [
        ("/nonexistent", "fork/exec /nonexistent: no such file or directory".to_owned()),
        ("no-such-program", "exec: \"no-such-program\": executable file not found in $PATH".into()),
        (plain, format!("fork/exec {plain}: permission denied")),
    ];
    for (program, output) in cases {
        let observation = observe_with(&Settings::default(), &script(&[program], "")).await;
        assert_eq!(observation, Observation::immediate(Outcome::critical(output)));
    }
}

/// Answers as Docker does for one container, `web`, whose program prints
/// `out` and `err` and ends with 1.
fn docker(request: &str) -> Vec<u8> {
    let line = request.lines().next().unwrap_or_default();
    let reply = |status: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    match line {
        "POST /containers/web/exec HTTP/1.1" => {
            assert!(request.contains(r#""Cmd":["probe","-x"]"#), "{request}");
            reply("201 Created", br#"{"Id":"e1"}"#)
        }
        "POST /exec/e1/start HTTP/1.1" => {
            reply("200 OK", b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n")
        }
        "GET /exec/e1/json HTTP/1.1" => reply("200 OK", br#"{"ExitCode":1,"Running":false}"#),
        "POST /containers/paused/exec HTTP/1.1" => reply("409 Conflict", b"{}"),
        "POST /containers/broken/exec HTTP/1.1" => reply("500 Internal Server Error", b"{}"),
        _ => reply("404 Not Found", b"{}"),
    }
}

#[tokio::test]
async fn a_docker_check_runs_its_program_in_the_container() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            stream.write_all(&docker(&request)).await.unwrap();
        }
    });
    let settings =
        Settings { docker_host: format!("unix://{}", path.display()), ..Settings::default() };
    let cases = [
        ("web", Status::Warning, "out\nerr\n"),
        ("none", Status::Critical, "create exec failed for unknown container none"),
        (
            "paused",
            Status::Critical,
            "create exec failed since container paused is paused or stopped",
        ),
        (
            "broken",
            Status::Critical,
            "create exec failed for container broken: 500 Internal Server Error",
        ),
    ];
    for (container, status, output) in cases {
        let text = format!(
            r#"{{"DockerContainerID":"{container}","Args":["probe","-x"],"Interval":"1s"}}"#
        );
        let observation = observe_with(&settings, &text).await;
        assert_eq!(observation, Observation::counted(Outcome::new(status, output)));
    }
}

#[tokio::test]
async fn a_docker_that_does_not_run_is_told() {
    let settings =
        Settings { docker_host: "unix:///nonexistent/docker.sock".into(), ..Settings::default() };
    let text = r#"{"DockerContainerID":"web","Args":["true"],"Interval":"1s"}"#;
    assert_eq!(
        observe_with(&settings, text).await.outcome.output,
        "create exec failed for container web: dial unix /nonexistent/docker.sock: connect: \
         no such file or directory"
    );
}
