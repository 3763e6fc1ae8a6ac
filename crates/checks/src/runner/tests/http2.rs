//! gRPC and H2PING checks, against servers made of the h2 crate.

use bytes::Bytes;
use hyper::{HeaderMap, Response};
use tokio::io::AsyncWrite;

use super::*;

/// How the fake health server answers for a service name.
fn answer(service: &[u8]) -> (Option<&'static [u8]>, &'static str, &'static str) {
    match service {
        b"" | b"up" => (Some(b"\0\0\0\0\x02\x08\x01"), "0", ""),
        b"down" => (Some(b"\0\0\0\0\x02\x08\x02"), "0", ""),
        b"nothing" => (Some(b"\0\0\0\0\0"), "0", ""),
        b"half" => (Some(b"\0\0\0\0\x09\x08"), "0", ""),
        b"packed" => (Some(b"\x01\0\0\0\x01\x08"), "0", ""),
        _ => (None, "12", "unknown%20method%21"),
    }
}

async fn grpc_server() -> SocketAddr {
    listen(serve_health).await
}

async fn serve_health(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                message.extend_from_slice(&chunk);
            }
            let service = message.get(7..).unwrap_or_default();
            let (data, code, text) = answer(service);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.parse().unwrap());
            trailers.insert("grpc-message", text.parse().unwrap());
            let mut response = Response::new(());
            let kind = "application/grpc".parse().unwrap();
            response.headers_mut().insert("content-type", kind);
            let Some(data) = data else {
                response.headers_mut().extend(trailers);
                respond.send_response(response, true).unwrap();
                return;
            };
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(data), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        });
    }
}

#[tokio::test]
async fn http2_checks_go_over_tls_when_asked() {
    let (acceptor, _) = tls_acceptor(b"h2");
    let address = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_health(stream).await;
            }
        }
    })
    .await;
    let more = r#""TLSSkipVerify":true,"Interval":"1s""#;
    let ping = format!(r#"{{"H2PING":"{address}",{more}}}"#);
    assert_eq!(observe(&ping).await, Outcome::passing("HTTP2 ping was successful"));
    let grpc = format!(r#"{{"GRPC":"{address}/up","GRPCUseTLS":true,{more}}}"#);
    let expect = format!("gRPC check {address}/up: success");
    assert_eq!(observe(&grpc).await, Outcome::passing(expect));
    let verified = format!(r#"{{"GRPC":"{address}/up","GRPCUseTLS":true,"Interval":"1s"}}"#);
    assert_eq!(
        observe(&verified).await.output,
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: \
         authentication handshake failed: tls: failed to verify certificate: x509: certificate \
         signed by unknown authority\""
    );
}

#[tokio::test]
async fn a_grpc_check_tells_what_the_health_service_says() {
    let address = grpc_server().await;
    let cases = [
        ("", Ok(())),
        ("/up", Ok(())),
        ("/down", Err(format!("gRPC {address}/down serving status: NOT_SERVING"))),
        ("/nothing", Err(format!("gRPC {address}/nothing serving status: UNKNOWN"))),
        ("/other", Err("rpc error: code = Unimplemented desc = unknown method!".to_owned())),
        ("/half", Err("rpc error: code = Internal desc = unexpected EOF".to_owned())),
        (
            "/packed",
            Err("rpc error: code = Internal desc = the answer is compressed, which was not \
                 asked for"
                .to_owned()),
        ),
    ];
    for (service, expect) in cases {
        let text = format!(r#"{{"GRPC":"{address}{service}","Interval":"1s"}}"#);
        let expect = match expect {
            Ok(()) => Outcome::passing(format!("gRPC check {address}{service}: success")),
            Err(output) => Outcome::critical(output),
        };
        assert_eq!(observe(&text).await, expect);
    }
}

#[tokio::test]
async fn a_grpc_check_tells_why_there_is_no_answer() {
    let closed = closed_port().await;
    let outcome = observe(&format!(r#"{{"GRPC":"{closed}/x","Interval":"1s"}}"#)).await;
    assert_eq!(
        outcome.output,
        format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
             while dialing: dial tcp {closed}: connect: connection refused\""
        )
    );
    let silent = listen(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let text = format!(r#"{{"GRPC":"{silent}","Interval":"1s","Timeout":"200ms"}}"#);
    assert_eq!(
        observe(&text).await.output,
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    );
    let plain = http_server(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let text = format!(r#"{{"GRPC":"{plain}","Interval":"1s","Timeout":"2s"}}"#);
    let output = observe(&text).await.output;
    assert!(output.starts_with("rpc error: code = "), "{output}");
}

#[tokio::test]
async fn an_h2ping_check_passes_when_the_ping_is_acknowledged() {
    let address = grpc_server().await;
    let text = format!(r#"{{"H2PING":"{address}","H2PingUseTLS":false,"Interval":"1s"}}"#);
    assert_eq!(observe(&text).await, Outcome::passing("HTTP2 ping was successful"));
}

#[tokio::test]
async fn an_h2ping_check_tells_why_there_was_no_acknowledgement() {
    let closed = closed_port().await;
    let text = format!(r#"{{"H2PING":"{closed}","Interval":"1s"}}"#);
    assert_eq!(
        observe(&text).await.output,
        format!("Failed to dial to {closed}: dial tcp {closed}: connect: connection refused")
    );
    let silent = listen(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let text = format!(
        r#"{{"H2PING":"{silent}","H2PingUseTLS":false,"Interval":"1s","Timeout":"200ms"}}"#
    );
    assert_eq!(observe(&text).await.output, "HTTP2 ping failed: context deadline exceeded");
}
