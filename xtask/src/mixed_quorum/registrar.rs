//! Writes of all kinds but plain keys: what both kinds of servers must understand alike, down
//! to whether a registration changes anything.
//!
//! Not among them are lists of nothing, which real servers tell from none in what they
//! compare and ours do not; instances that change their name or tags, which their checks show
//! at once with ours and after their own next registration with 1.8; and proxies of the mesh,
//! to which ours give virtual addresses as versions from 1.11 on do: older ones know neither
//! these nor their records.

use serde_json::{Value, json};

/// A request that may be refused, as some of those before it were.
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) body: Value,
}

/// Makes requests about a few nodes, services, checks, sessions and queries.
pub(super) struct Registrar {
    random: fastrand::Rng,
    /// Sessions that were made, of which some are gone.
    sessions: Vec<String>,
    queries: Vec<String>,
}

impl Registrar {
    pub(super) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, sessions: Vec::new(), queries: Vec::new() }
    }

    /// Remembers what was made.
    pub(super) fn made(&mut self, request: &Request, answer: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return };
        let Some(id) = answer["ID"].as_str().map(str::to_owned) else { return };
        match request.target.as_str() {
            "/v1/session/create" => self.sessions.push(id),
            "/v1/query" => self.queries.push(id),
            _ => {}
        }
        let most = 8;
        self.sessions.drain(..self.sessions.len().saturating_sub(most));
        self.queries.drain(..self.queries.len().saturating_sub(most));
    }

    pub(super) fn next(&mut self) -> Request {
        match self.random.u8(..24) {
            0..=11 => self.put("/v1/catalog/register", |this| this.registration()),
            12 | 13 => self.put("/v1/catalog/deregister", |this| this.deregistration()),
            14 | 15 => self.put("/v1/session/create", |this| this.session()),
            16 => match self.one_of_sessions() {
                Some(session) => put(format!("/v1/session/destroy/{session}"), Value::Null),
                None => self.put("/v1/session/create", |this| this.session()),
            },
            17 | 18 => {
                let (key, verb) = (self.random.u8(..4), self.pick(&["acquire", "release"]));
                let session = self.one_of_sessions().unwrap_or_default();
                put(format!("/v1/kv/locks/{key}?{verb}={session}"), json!("held"))
            }
            19 => {
                let query = self.query();
                Request { method: "POST", target: "/v1/query".to_owned(), body: query }
            }
            20 => match self.random.choice(&self.queries).cloned() {
                Some(id) if self.random.bool() => put(format!("/v1/query/{id}"), self.query()),
                Some(id) => delete(format!("/v1/query/{id}")),
                None => delete("/v1/kv/locks/?recurse".to_owned()),
            },
            21 => {
                let key = self.random.u8(..4);
                delete(format!("/v1/kv/tree/{key}?recurse"))
            }
            _ => self.put("/v1/txn", |this| this.transaction()),
        }
    }

    fn put(&mut self, target: &str, body: impl FnOnce(&mut Self) -> Value) -> Request {
        put(target.to_owned(), body(self))
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.random.usize(..words.len())]
    }

    fn one_of_sessions(&mut self) -> Option<String> {
        self.random.choice(&self.sessions).cloned()
    }

    fn node(&mut self) -> &'static str {
        self.pick(&["ext1", "ext2", "Ext3"])
    }

    fn registration(&mut self) -> Value {
        let node = self.node();
        let mut body = json!({"Node": node, "Address": self.pick(&["10.0.0.1", "10.0.0.2"])});
        if self.random.bool() {
            body["NodeMeta"] = json!({"rack": self.pick(&["a", "b"])});
        }
        if self.random.u8(..4) == 0 {
            body["TaggedAddresses"] = json!({"wan": "192.0.2.1"});
        }
        if self.random.u8(..4) == 0 {
            body["SkipNodeUpdate"] = true.into();
        }
        let service = self.random.u8(..3) > 0;
        if service {
            body["Service"] = self.service();
        }
        let check = |this: &mut Self, body: &Value| {
            let of = if this.random.bool() { &body["Service"]["ID"] } else { &Value::Null };
            this.check(node, of)
        };
        match self.random.u8(..4) {
            0 => body["Check"] = check(self, &body),
            1 => body["Checks"] = json!([check(self, &body), check(self, &body)]),
            _ => {}
        }
        body
    }

    fn service(&mut self) -> Value {
        let mut service = instance(self.random.bool());
        service["Port"] = (80 + u16::from(self.random.u8(..2))).into();
        match self.random.u8(..5) {
            2 => service["Meta"] = json!({"v": self.pick(&["1", "2"])}),
            3 => service["Weights"] = json!({"Passing": 3, "Warning": 1}),
            4 => service["EnableTagOverride"] = true.into(),
            _ => {}
        }
        if self.random.u8(..5) == 0 {
            service["TaggedAddresses"] = json!({"lan": {"Address": "10.0.0.9", "Port": 1}});
        }
        service
    }

    fn check(&mut self, node: &str, service: &Value) -> Value {
        let mut check = json!({
            "Node": node,
            "CheckID": self.pick(&["c1", "c2", "serfHealth"]),
            "Name": self.pick(&["check", "other"]),
            "Status": self.pick(&["passing", "warning", "critical"]),
            "Output": self.pick(&["", "said"]),
        });
        if service.is_string() {
            check["ServiceID"] = service.clone();
        }
        match self.random.u8(..5) {
            0 => check["Notes"] = "noted".into(),
            1 => {
                check["Definition"] =
                    json!({"HTTP": "http://127.0.0.1/", "Interval": "10s", "Timeout": "1s"});
            }
            2 => check["Definition"] = json!({"TCP": "127.0.0.1:1", "Interval": "5s"}),
            _ => {}
        }
        check
    }

    fn deregistration(&mut self) -> Value {
        let mut body = json!({"Node": self.node()});
        match self.random.u8(..5) {
            0 => {}
            1 | 2 => body["ServiceID"] = self.pick(&["s1", "s2"]).into(),
            _ => body["CheckID"] = self.pick(&["c1", "c2", "serfHealth"]).into(),
        }
        body
    }

    fn session(&mut self) -> Value {
        let mut body = json!({
            "Node": self.node(),
            "LockDelay": "0s",
            "Behavior": self.pick(&["release", "delete"]),
            "NodeChecks": [],
        });
        if self.random.u8(..3) == 0 {
            body["NodeChecks"] = json!([self.pick(&["c1", "c2", "serfHealth"])]);
        }
        body
    }

    fn query(&mut self) -> Value {
        json!({
            "Name": self.pick(&["q1", "q2", "q3"]),
            "Service": {"Service": self.pick(&["web", "db"]), "OnlyPassing": self.random.bool()},
        })
    }

    fn transaction(&mut self) -> Value {
        let key = format!("tree/{}/{}", self.random.u8(..4), self.random.u8(..4));
        let mut operations = vec![json!({"KV": {"Verb": self.pick(&["set", "delete", "get"]),
            "Key": key, "Value": "dHhu", "Flags": self.random.u8(..2)}})];
        let node = self.node();
        operations.push(match self.random.u8(..3) {
            0 => json!({"Node": {"Verb": self.pick(&["set", "delete"]),
                "Node": {"Node": node, "Address": self.pick(&["10.0.0.1", "10.0.0.3"])}}}),
            1 => json!({"Service": {"Verb": self.pick(&["set", "delete"]), "Node": node,
                "Service": instance(self.random.bool())}}),
            _ => {
                let check = self.check(node, &Value::Null);
                json!({"Check": {"Verb": self.pick(&["set", "delete"]), "Check": check}})
            }
        });
        Value::Array(operations)
    }
}

/// One of two instances, each always of one service and with the same tags.
fn instance(first: bool) -> Value {
    match first {
        true => json!({"ID": "s1", "Service": "web", "Tags": ["a"]}),
        false => json!({"ID": "s2", "Service": "db"}),
    }
}

fn put(target: String, body: Value) -> Request {
    Request { method: "PUT", target, body }
}

fn delete(target: String) -> Request {
    Request { method: "DELETE", target, body: Value::Null }
}
