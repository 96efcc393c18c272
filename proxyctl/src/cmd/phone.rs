//! `cisco_restart`: a phone reads its configuration again (Kamailio kamctl; NOTIFY with `Event: check-sync`, RFC 6665).

use clap::Args;
use serde_json::json;

use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl cisco_restart sip:alice@192.0.2.7:5060

The daemon sends the request, so that it comes from the address which the phone trusts; the script loads tm.";

/// Which phone.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// SIP URI of the phone, as `ul show` has it
    uri: String,
}

/// Sends the request; what the phone makes of it is not waited for.
pub(crate) fn restart(context: &Context<'_>, what: &Restart) -> Result<Answer, Error> {
    let uri = check::sip_uri(&what.uri)?;
    let host = String::from_utf8_lossy(uri.host);
    let headers = format!(
        "From: <sip:daemon@{host}>\r\nTo: <{0}>\r\nContact: <sip:daemon@{host}>\r\nEvent: check-sync\r\n",
        what.uri
    );
    let params = ["NOTIFY", &what.uri, ".", ".", &headers].map(|word| json!(word));
    context.call("tm.t_uac_start", &params)?;
    Ok(Answer::new(
        format!("asked {} to restart", what.uri),
        json!({ "uri": what.uri }),
    ))
}
