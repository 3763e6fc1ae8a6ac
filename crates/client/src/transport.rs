//! The client itself: how a request goes out and how an answer is read.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio_rustls::TlsConnector;
use types::SecretId;
use types::json::Unknown;

use crate::config::{Address, Config};
use crate::connection::{Connection, Idle, http_error};
use crate::error::{Error, TransportError, system_text};
use crate::request::{Answer, QueryMeta, QueryOptions, Request, milliseconds};
use crate::tls;
use crate::upload::{Outgoing, Upload};

/// A client of one agent. Cloning is cheap; clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    address: Address,
    token: SecretId,
    tls: Option<TlsConnector>,
    idle: Idle,
}

impl Client {
    /// A client that has read the token file and the certificates, and that
    /// connects with the first request.
    ///
    /// # Errors
    /// An unknown scheme in the address; a file that cannot be read or used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let address = Address::parse(&config.address, config.use_tls)?;
        let mut token = config.token.clone();
        if !config.token_file.is_empty() {
            let text = std::fs::read_to_string(&config.token_file).map_err(|error| {
                let path = config.token_file.clone();
                let reason = format!("open {path}: {}", system_text(&error));
                Error::TokenFile { path, reason }
            })?;
            if !text.trim().is_empty() {
                token = SecretId::from(text.trim());
            }
        }
        let tls = match address {
            Address::Tcp { tls: true, .. } => Some(tls::connector(&config.tls)?),
            _ => None,
        };
        let idle = Idle::default();
        Ok(Self { inner: Arc::new(Inner { config, address, token, tls, idle }) })
    }

    /// What the client was made from.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Sends a request and gives whatever is answered, success or not.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Request`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let (request, url) = self.prepare(request)?;
        dispatch(self, request, url).await
    }

    /// Sends a request whose answer must be a success.
    ///
    /// # Errors
    /// Those of [`Client::send`], and [`Error::Status`].
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        self.send(request).await?.success().await
    }

    /// A read of one JSON value.
    ///
    /// # Errors
    /// Those of [`Client::call`], and [`Error::Decode`].
    pub async fn read<T: DeserializeOwned>(
        &self,
        request: Request,
        options: &QueryOptions,
    ) -> Result<Answer<T>, Error> {
        self.call(request.options(options)).await?.answer().await
    }

    /// Adds what the configuration says, unless the request says otherwise.
    fn prepare(&self, mut request: Request) -> Result<(http::Request<Outgoing>, String), Error> {
        let Inner { config, address, token, .. } = &*self.inner;
        for (name, value) in [
            ("dc", config.datacenter.as_str()),
            ("ns", &config.namespace),
            ("partition", &config.partition),
        ] {
            if !value.is_empty() && !request.query.contains_key(name) {
                request = request.query(name, value);
            }
        }
        if !config.wait_time.is_zero() && !request.query.contains_key("wait") {
            request = request.query("wait", milliseconds(config.wait_time));
        }
        let target = request.target();
        let url = format!("{}{target}", address.url());
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .uri(format!("{}{target}", address.prefix()))
            .header(HOST, address.host_header());
        let own_token = request.headers.iter().any(|(name, _)| name == "X-Consul-Token");
        if !token.is_empty() && !own_token {
            let mut value = HeaderValue::from_str(token.as_str()).map_err(http::Error::from)?;
            value.set_sensitive(true);
            builder = builder.header("X-Consul-Token", value);
        }
        if let Some(auth) = &config.basic_auth {
            let pair = if auth.contains(':') { auth.clone() } else { format!("{auth}:") };
            builder = builder.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let body = Some(request.body).filter(|body| !body.is_empty());
        Ok((builder.body(Outgoing::Whole(body))?, url))
    }

    /// Sends over an idle connection, or over a new one when there is none or
    /// when the idle one was closed before the request left.
    async fn exchange(
        &self,
        mut request: http::Request<Outgoing>,
    ) -> Result<(Connection, http::Response<Incoming>), TransportError> {
        let Inner { config, address, tls, idle, .. } = &*self.inner;
        if let Some(mut connection) = idle.take() {
            match connection.sender.try_send_request(request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(http_error(error.error())),
                },
            }
        }
        let mut connection = Connection::open(address, config, tls.as_ref()).await?;
        let answer = connection.sender.send_request(request).await;
        let answer = answer.map_err(|error| http_error(&error))?;
        Ok((connection, answer))
    }
}

/// As [`Client::send`], with a body of any size.
pub(crate) async fn send_upload(
    client: &Client,
    request: Request,
    body: Upload,
) -> Result<Response, Error> {
    let (request, url) = client.prepare(request)?;
    dispatch(client, request.map(|_| Outgoing::Upload(body)), url).await
}

async fn dispatch(
    client: &Client,
    request: http::Request<Outgoing>,
    url: String,
) -> Result<Response, Error> {
    let operation = operation(request.method().as_str());
    match client.exchange(request).await {
        Ok((connection, answer)) => {
            let (parts, body) = answer.into_parts();
            let status = parts.status;
            let headers = parts.headers;
            let inner = Arc::clone(&client.inner);
            let connection = Some(connection);
            Ok(Response { status, headers, body, connection, client: inner, operation, url })
        }
        Err(cause) => Err(Error::Transport { operation, url, cause }),
    }
}

/// An answer whose body is still to be read.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    connection: Option<Connection>,
    client: Arc<Inner>,
    operation: String,
    url: String,
}

impl Response {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What the headers say about the rows.
    pub fn meta(&self) -> QueryMeta {
        QueryMeta::from_headers(&self.headers)
    }

    /// The answer if it is a success.
    ///
    /// # Errors
    /// [`Error::Status`] with the body as its text.
    pub async fn success(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let code = self.status.as_u16();
        let body = self.bytes().await?;
        Err(Error::Status { code, body: String::from_utf8_lossy(&body).trim().to_owned() })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`Error::Transport`] when the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| self.broken(http_error(&error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        if let Some(connection) = self.connection.take() {
            self.client.idle.put(connection);
        }
        Ok(None)
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::Transport`] when the connection breaks or the body is too long.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if whole.len() + piece.len() > self.client.config.body_bytes_max {
                return Err(self.broken(TransportError::BodyTooLarge));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Those of [`Response::bytes`], and [`Error::Decode`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        Ok(types::json::decode(&self.bytes().await?, Unknown::Ignore)?)
    }

    /// The body as JSON together with what the headers say.
    ///
    /// # Errors
    /// Those of [`Response::json`].
    pub async fn answer<T: DeserializeOwned>(self) -> Result<Answer<T>, Error> {
        let meta = self.meta();
        Ok(Answer { rows: self.json().await?, meta })
    }

    fn broken(&self, cause: TransportError) -> Error {
        Error::Transport { operation: self.operation.clone(), url: self.url.clone(), cause }
    }
}

/// `GET` becomes `Get`.
fn operation(method: &str) -> String {
    let (first, rest) = method.split_at(1);
    format!("{first}{}", rest.to_lowercase())
}
