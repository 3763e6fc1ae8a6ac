//! Calls on the server port: what is sent is read back, the bytes are Consul's, and no
//! method of Consul's is missing without being named.

mod captured;
mod crossing;
mod ledger;

use contract::MethodDef;

fn method(name: &str) -> Option<&'static MethodDef> {
    domains::ALL.iter().flat_map(|domain| domain.methods).find(|method| method.name == name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hex");
    (0..text.len()).step_by(2).map(pair).collect()
}
