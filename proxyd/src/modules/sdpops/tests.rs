//! The module on a fake proxy; what it answers is what Kamailio 5.6.3 answered.

use super::MODULE;
use crate::script::compile::parse_format;
use crate::script::testing::Bench;

const AUDIO: &str = "v=0\r\no=- 7 8 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n\
a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n";
const VIDEO: &str = "m=video 4002 RTP/AVP 96 97\r\nc=IN IP4 192.0.2.2\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 x\r\na=rtcp-fb:96 nack\r\n\
a=rtpmap:97 VP8/90000\r\na=inactive\r\na=candidate:1 1 UDP 1 192.0.2.1 4002 typ host\r\n";

fn receive(bench: &mut Bench, content_type: &str, body: &str) {
    bench.lists = crate::script::lists::Lists::default();
    bench.receive(&format!(
        "INFO sip:x@test.lan SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=f\nTo: <sip:x@b>\nCall-ID: c\nCSeq: 1 INFO\n\
         Content-Type: {content_type}\nContent-Length: {}\n\n{body}",
        body.len()
    ));
}

/// The lines of the body that a call removed or changed, and what it returned.
fn edited(body: &str, name: &str, args: &[&str]) -> (i32, String) {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    receive(&mut bench, "application/sdp", body);
    let code = bench.call(name, args);
    let bytes = bench.ctx.lumps.apply(&bench.ctx.msg);
    let text = String::from_utf8(bytes).unwrap();
    let after: Vec<&str> = text
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or_default()
        .lines()
        .collect();
    let gone = body.lines().filter(|line| !after.contains(line));
    let new = after.iter().filter(|line| !body.contains(&format!("{line}\r\n")));
    let shown: Vec<String> = gone
        .map(|line| format!("-{line}"))
        .chain(new.map(|line| format!("+{line}")))
        .collect();
    (code, shown.join(" "))
}

#[test]
fn codecs_lines_and_media_are_removed() {
    let both = [AUDIO, VIDEO].concat();
    for (body, name, args, code, change) in [
        (
            AUDIO,
            "sdp_remove_codecs_by_id",
            &["0"][..],
            1,
            "-m=audio 4000 RTP/AVP 0 8 101 -a=rtpmap:0 PCMU/8000 +m=audio 4000 RTP/AVP 8 101",
        ),
        (AUDIO, "sdp_remove_codecs_by_id", &["0", "video"], 1, ""),
        (
            &both,
            "sdp_remove_codecs_by_id",
            &["96", "video"],
            1,
            "-m=video 4002 RTP/AVP 96 97 -a=rtpmap:96 H264/90000 -a=fmtp:96 x -a=rtcp-fb:96 nack +m=video 4002 RTP/AVP 97",
        ),
        (
            AUDIO,
            "sdp_remove_codecs_by_name",
            &["pcma, telephone-event"],
            1,
            "-m=audio 4000 RTP/AVP 0 8 101 -a=rtpmap:8 PCMA/8000 -a=rtpmap:101 telephone-event/8000 -a=fmtp:101 0-16 +m=audio 4000 RTP/AVP 0",
        ),
        (AUDIO, "sdp_remove_codecs_by_name", &["GSM,opus"], 1, ""),
        (AUDIO, "sdp_remove_codecs_by_name", &["H264", "audio"], -1, ""),
        (
            AUDIO,
            "sdp_keep_codecs_by_id",
            &["0,101", "audio"],
            1,
            "-m=audio 4000 RTP/AVP 0 8 101 -a=rtpmap:8 PCMA/8000 +m=audio 4000 RTP/AVP 0 101",
        ),
        (AUDIO, "sdp_keep_codecs_by_name", &["H264"], -1, ""),
        (
            &both,
            "sdp_keep_codecs_by_name",
            &["PCMA", "audio"],
            1,
            "-m=audio 4000 RTP/AVP 0 8 101 -a=rtpmap:0 PCMU/8000 -a=rtpmap:101 telephone-event/8000 -a=fmtp:101 0-16 +m=audio 4000 RTP/AVP 8",
        ),
        (
            &both,
            "sdp_remove_line_by_prefix",
            &["a=rtpmap", "video"],
            1,
            "-a=rtpmap:96 H264/90000 -a=rtpmap:97 VP8/90000",
        ),
        (AUDIO, "sdp_remove_line_by_prefix", &["b="], 1, "-b=AS:64"),
        (AUDIO, "sdp_remove_media", &["video"], -1, ""),
        (
            AUDIO,
            "sdp_remove_transport",
            &["rtp/avp"],
            1,
            "-m=audio 4000 RTP/AVP 0 8 101 -a=rtpmap:0 PCMU/8000 -a=rtpmap:8 PCMA/8000 -a=rtpmap:101 telephone-event/8000 -a=fmtp:101 0-16",
        ),
        ("hello\r\n", "sdp_remove_codecs_by_id", &["0"], -1, ""),
    ] {
        assert_eq!(
            edited(body, name, args),
            (code, change.to_owned()),
            "{name} {args:?}"
        );
    }
}

#[test]
fn edits_add_up() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    receive(
        &mut bench,
        "multipart/mixed;boundary=x",
        &format!("--x\r\nContent-Type: application/sdp\r\n\r\n{AUDIO}\r\n--x--\r\n"),
    );
    for (name, list) in [
        ("sdp_remove_codecs_by_id", "0"),
        ("sdp_keep_codecs_by_name", "PCMU,PCMA"),
        ("sdp_remove_codecs_by_name", "PCMU"),
    ] {
        assert_eq!(bench.call(name, &[list]), 1);
    }
    let text = String::from_utf8(bench.ctx.lumps.apply(&bench.ctx.msg)).unwrap();
    assert!(
        text.ends_with("m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n\r\n--x--\r\n"),
        "{text}"
    );
}

#[test]
fn descriptions_are_asked() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let both = [AUDIO, VIDEO].concat();
    let junk = "hello\r\n";
    for (name, args, on_both, on_audio, on_junk, on_none) in [
        ("sdp_with_media", &["VIDEO"][..], 1, -1, -1, -1),
        ("sdp_with_active_media", &["audio"], 1, 1, -1, -1),
        ("sdp_with_active_media", &["video"], -1, -1, -1, -1),
        ("sdp_with_transport", &["rtp/avp"], 1, 1, -1, -1),
        ("sdp_with_transport", &["AVP"], -1, -1, -1, -1),
        ("sdp_with_transport_like", &["AVP"], 1, 1, -1, -1),
        ("sdp_with_codecs_by_id", &["8"], 2, 1, -2, -2),
        ("sdp_with_codecs_by_id", &["0,8,101"], 2, 1, -2, -2),
        ("sdp_with_codecs_by_id", &["0,9"], 2, 2, -2, -2),
        ("sdp_with_codecs_by_id", &["3,96"], 2, -1, -2, -2),
        ("sdp_with_codecs_by_name", &["pcmu,h264"], 2, 1, -1, -1),
        ("sdp_with_codecs_by_name", &["zz"], -1, -1, -1, -1),
        ("sdp_content", &[], 1, 1, -1, -1),
        ("sdp_content", &["1"], 1, 1, 1, -1),
        ("sdp_with_ice", &[], 1, -1, -1, -1),
        ("sdp_get_address_family", &[], 4, 4, -1, -1),
        ("sdp_print", &["3"], 1, 1, -1, -1),
    ] {
        let bodies = [
            ("application/sdp", &*both),
            ("application/sdp", AUDIO),
            ("application/sdp", junk),
            ("text/plain", junk),
        ];
        for ((content_type, body), code) in bodies.into_iter().zip([on_both, on_audio, on_junk, on_none]) {
            receive(&mut bench, content_type, body);
            assert_eq!(
                bench.call(name, args),
                code,
                "{name} {args:?} {content_type} {body}"
            );
        }
    }
}

#[test]
fn the_session_version_counts_on() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    receive(&mut bench, "application/sdp", AUDIO);
    let format = parse_format(
        b"$sdp(sess_version)",
        &bench.script.modules,
        &bench.script.program,
    )
    .unwrap();
    let mut out = Vec::new();
    format.print(&bench.env(), &mut out);
    assert_eq!(out, b"8");
    let set = MODULE.pvs[0].set.unwrap();
    let spec = crate::script::module::PvSpec {
        data: crate::script::module::PvData::Other(Box::new(super::Attribute::SessVersion)),
        ..Default::default()
    };
    set(&mut bench.env(), &spec, crate::script::value::Value::Int(-1)).unwrap();
    let text = String::from_utf8(bench.ctx.lumps.apply(&bench.ctx.msg)).unwrap();
    assert!(text.contains("o=- 7 9 IN IP4 192.0.2.1"), "{text}");
}
