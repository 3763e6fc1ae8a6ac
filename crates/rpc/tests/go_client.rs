//! Calls from the libraries of real agents to our port.

mod support;

use std::path::Path;
use std::time::Duration;

use support::Port;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and the modules of its program"]
async fn a_client_made_of_real_libraries_gets_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("client");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(".")
        .current_dir(sources)
        .status();
    assert!(built.await.unwrap().success());
    let port = Port::start().await;
    let client =
        Command::new(program).arg(port.server.address.to_string()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), client).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    port.service.wait_until(|counts| counts.cancelled == 1 && counts.running == 0).await;
    assert_eq!(port.service.peers(), 1);
}
