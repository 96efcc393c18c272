//! Any bytes as a call of the control plane: answered with JSON or not at all (JSON-RPC 2.0, and Kamailio's reading of it).

use proxyd::control::jsonrpc::Dialect;
use proxyd::control::jsonrpc::Layout;
use proxyd::control::methods::Methods;
use proxyd::control::methods::Peer;
use proxyd::control::methods::RpcDef;
use proxyd::control::methods::RpcReply;

pub const SEEDS: &[&[u8]] = &[
    b"{\"jsonrpc\": \"2.0\", \"method\": \"core.echo\", \"params\": [1, \"s:2\", 3.5, null, {\"a\": [true]}], \"id\": 7}",
    b"[{\"method\":\"core.echo\",\"params\":{\"x\":\"\\u00e9\\n\"}},{\"id\":\"a\",\"method\":\"none\",\"params\":[]},5]\n",
];

pub fn run(data: &[u8]) {
    let methods = Methods::new();
    methods.add([RpcDef::new("core.echo", "Says what it is told.", |call| {
        let told = (call.opt_str(0)?, call.opt_int(1).ok(), call.opt_int(2)?);
        Ok(RpcReply::from(serde_json::json!(format!("{told:?}"))))
    })]);
    for dialect in [Dialect::Standard, Dialect::Kamailio(Layout::Indented)] {
        let Some(answer) = methods.handle_text(data, dialect, &Peer::internal()) else {
            continue;
        };
        let answer: Result<serde_json::Value, _> = serde_json::from_slice(&answer);
        assert!(answer.is_ok(), "the answer is JSON");
    }
}
