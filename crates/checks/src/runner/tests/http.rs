//! HTTP checks.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;
use crate::runner::proxy::Proxies;

fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn check(url: &str, more: &str) -> String {
    format!(r#"{{"HTTP":"{url}","Interval":"1s"{more}}}"#)
}

#[tokio::test]
async fn the_code_of_an_answer_is_the_status() {
    let address = http_server(|request| {
        let path = request.split(' ').nth(1).unwrap();
        match path {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/429" => reply("429 Too Many Requests", "", "slow down"),
            "/404" => reply("404 Not Found", "", "lost"),
            "/odd" => reply("299 Strange Success", "", ""),
            "/302" => reply("302 Found", "", "no location"),
            _ => reply("200 OK", "", "fine"),
        }
    })
    .await;
    let cases = [
        ("", Status::Passing, "200 OK Output: fine"),
        ("/", Status::Passing, "200 OK Output: fine"),
        ("/204", Status::Passing, "204 No Content Output: "),
        ("/odd", Status::Passing, "299 Strange Success Output: "),
        ("/429", Status::Warning, "429 Too Many Requests Output: slow down"),
        ("/404", Status::Critical, "404 Not Found Output: lost"),
        ("/302", Status::Critical, "302 Found Output: no location"),
    ];
    for (path, status, output) in cases {
        let url = format!("http://{address}{path}");
        let expect = Outcome::new(status, format!("HTTP GET {url}: {output}"));
        assert_eq!(observe(&check(&url, "")).await, expect);
    }
}

/// A server that answers `fine` and keeps the requests.
async fn recording() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let address = http_server(move |request| {
        kept.lock().unwrap().push(request.to_owned());
        reply("200 OK", "", "fine")
    })
    .await;
    (address, seen)
}

#[tokio::test]
async fn a_request_carries_what_the_check_defines_and_the_defaults() {
    let (address, seen) = recording().await;
    let more = r#","Method":"PUT","Body":"ping","Header":{"X-A":["1","2"],"User-Agent":["probe"],"Host":["web.local"]}"#;
    let outcome = observe(&check(&format!("http://{address}/x?y=1"), more)).await;
    assert_eq!(outcome.output, format!("HTTP PUT http://{address}/x?y=1: 200 OK Output: fine"));
    observe(&check(&format!("http://me:pw@{address}"), "")).await;
    let seen = seen.lock().unwrap();
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "PUT /x?y=1 HTTP/1.1");
    lines.sort_unstable();
    let expect = [
        "Accept-Encoding: gzip",
        "Accept: text/plain, text/*, */*",
        "Connection: close",
        "Content-Length: 4",
        "Host: web.local",
        "User-Agent: probe",
        "X-A: 1",
        "X-A: 2",
    ];
    assert_eq!(lines, expect);
    assert_eq!(body, "ping");
    let mut lines: Vec<_> = seen[1].trim_end().lines().collect();
    assert_eq!(lines.remove(0), "GET / HTTP/1.1");
    lines.sort_unstable();
    let host = format!("Host: {address}");
    let expect = [
        "Accept-Encoding: gzip",
        "Accept: text/plain, text/*, */*",
        "Authorization: Basic bWU6cHc=",
        "Connection: close",
        host.as_str(),
        "User-Agent: Consul Health Check",
    ];
    assert_eq!(lines, expect);
}

#[tokio::test]
async fn redirects_are_followed_unless_the_check_says_otherwise() {
    let address = http_server(|request| match request.lines().next().unwrap() {
        "PUT /a HTTP/1.1" => reply("302 Found", "Location: b/../c\r\n", "moved"),
        "GET /c HTTP/1.1" if request.contains("Referer: ") => reply("200 OK", "", "here"),
        "PUT /keep HTTP/1.1" => reply("307 Temporary Redirect", "Location: /put\r\n", ""),
        "PUT /put HTTP/1.1" if request.ends_with("ping") => reply("200 OK", "", "kept"),
        _ => reply("404 Not Found", "", request.lines().next().unwrap()),
    })
    .await;
    let cases = [
        ("/a", "", "200 OK Output: here"),
        ("/keep", "", "200 OK Output: kept"),
        ("/a", r#","DisableRedirects":true"#, "302 Found Output: moved"),
    ];
    for (path, more, expect) in cases {
        let url = format!("http://{address}{path}");
        let more = format!(r#","Method":"PUT","Body":"ping"{more}"#);
        let outcome = observe(&check(&url, &more)).await;
        assert_eq!(outcome.output, format!("HTTP PUT {url}: {expect}"));
    }
}

#[tokio::test]
async fn a_chain_of_redirects_ends_after_ten_requests() {
    let requests = Arc::new(Mutex::new(0));
    let counted = requests.clone();
    let address = http_server(move |_| {
        *counted.lock().unwrap() += 1;
        reply("302 Found", "Location: /again\r\n", "")
    })
    .await;
    let outcome = observe(&check(&format!("http://{address}/"), "")).await;
    assert_eq!(outcome, Outcome::critical("Get \"/again\": stopped after 10 redirects"));
    assert_eq!(*requests.lock().unwrap(), 10);
}

#[tokio::test]
async fn only_the_end_of_a_body_is_kept_and_packed_bodies_are_unpacked() {
    let address = http_server(|request| {
        if request.starts_with("GET /long") {
            return reply("200 OK", "", "0123456789");
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"packed well").unwrap();
        let packed = encoder.finish().unwrap();
        let length = packed.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.into_bytes(), packed].concat()
    })
    .await;
    for (path, expect) in [("/long", "6789"), ("/packed", "well")] {
        let url = format!("http://{address}{path}");
        let outcome = observe(&check(&url, r#","OutputMaxSize":4"#)).await;
        assert_eq!(outcome.output, format!("HTTP GET {url}: 200 OK Output: {expect}"));
    }
}

#[tokio::test]
async fn failures_are_told_in_the_words_of_go() {
    let closed = closed_port().await;
    let silent = listen(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let hangs_up = listen(|mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    let odd = http_server(|_| b"hello\r\n\r\n".to_vec()).await;
    let cases = [
        (
            format!("http://{closed}/x?y=1"),
            format!(
                "Put \"http://{closed}/x?y=1\": dial tcp {closed}: connect: connection refused"
            ),
        ),
        (
            format!("http://{silent}"),
            format!(
                "Put \"http://{silent}\": context deadline exceeded \
                 (Client.Timeout exceeded while awaiting headers)"
            ),
        ),
        (format!("http://{hangs_up}/"), format!("Put \"http://{hangs_up}/\": EOF")),
        (
            format!("http://{odd}/"),
            format!(
                "Put \"http://{odd}/\": net/http: HTTP/1.x transport connection broken: \
                 malformed HTTP response"
            ),
        ),
        ("://".to_owned(), "parse \"://\": missing protocol scheme".to_owned()),
        (
            "ftp://web".to_owned(),
            "Put \"ftp://web\": unsupported protocol scheme \"ftp\"".to_owned(),
        ),
    ];
    for (url, expect) in cases {
        let outcome = observe(&check(&url, r#","Method":"PUT","Timeout":"400ms""#)).await;
        assert_eq!(outcome, Outcome::critical(expect), "{url}");
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_of_the_environment() {
    let (proxy, seen) = recording().await;
    let settings = |name: &'static str| Settings {
        proxies: Proxies::from_variables(move |wanted| {
            (wanted == name).then(|| format!("http://me:pw@{proxy}"))
        }),
        ..Settings::default()
    };
    let url = "http://web.invalid/x";
    let outcome = observe_with(&settings("HTTP_PROXY"), &check(url, "")).await.outcome;
    assert_eq!(outcome.output, format!("HTTP GET {url}: 200 OK Output: fine"));
    let url = "https://web.invalid/x";
    let outcome =
        observe_with(&settings("HTTPS_PROXY"), &check(url, r#","Timeout":"5s""#)).await.outcome;
    assert_eq!(outcome.status, Status::Critical);
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("GET http://web.invalid/x HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("Proxy-Authorization: Basic bWU6cHc=\r\n"), "{}", seen[0]);
    assert!(seen[1].starts_with("CONNECT web.invalid:443 HTTP/1.1\r\n"), "{}", seen[1]);
}
