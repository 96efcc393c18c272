//! Return codes of Kamailio 5.6.3.

use super::MODULE;
use super::check::seconds;
use crate::script::testing::Stage;

const MESSAGE: &str = "OPTIONS sip:bob@test.lan;x=y;fl SIP/2.0
Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa2
From: <sip:a@h>;tag=x
To: <sip:bob@h>;tag=q
Call-ID: c2
CSeq: 1 OPTIONS
Contact: <sip:bob:pw@10.0.0.9:5070;transport=tcp;ob>;expires=3
Supported: path, gruu
Authorization: Digest username=\"au\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"0123456789abcdef0123456789abcdef\"
Date: Tue, 14 Nov 2023 22:13:00 GMT
Content-Length: 0

";

#[test]
fn return_codes() {
    for (name, args, expected) in [
        ("has_totag", &[][..], 1),
        // nobody has checked these credentials
        ("is_user", &["au"], -1),
        ("uri_param", &["x"], -1),
        ("uri_param", &["x", "y"], 1),
        ("uri_param", &["fl"], 1),
        ("uri_param", &["zz"], -1),
        ("uri_param", &["x", "z"], -1),
        ("uri_param_any", &["x"], 1),
        ("tel2sip", &["sip:a@b", "foo.com", ""], 2),
        ("is_e164", &["+49301234"], 1),
        ("is_e164", &["49301234"], -1),
        ("is_e164", &["+1"], -1),
        ("is_e164", &["+12"], 1),
        ("is_e164", &["+1234567890123456"], -1),
        ("is_e164", &["+123456789012345"], 1),
        ("is_uri_user_e164", &["sip:+4930@x"], 1),
        ("is_uri", &["sip:a@b"], 1),
        ("is_uri", &["abc"], -1),
        ("is_tel_number", &["+49"], 1),
        ("is_tel_number", &["4a"], -2),
        ("is_tel_number", &["+"], -2),
        ("is_numeric", &["123"], 1),
        ("is_numeric", &["-1"], -2),
        ("is_alphanum", &["a1"], 1),
        ("is_alphanum", &["a-"], -3),
        ("is_alphanumex", &["a-", ".-"], 1),
        ("is_alphanumex", &["a+", ".-"], -3),
        ("cmp_uri", &["sip:A@b;x=y", "sip:A@B;x=y"], 1),
        ("cmp_uri", &["sip:a@b", "sip:A@b"], -1),
        ("cmp_uri", &["sip:a@b", "sip:a@b:5060"], -1),
        ("cmp_aor", &["sip:a@b;x", "sip:a@B;y"], 1),
        ("cmp_aor", &["sip:a@b", "sip:c@b"], -1),
        ("cmp_hdr_name", &["Via", "v"], 1),
        ("cmp_hdr_name", &["Via", "To"], -1),
        ("is_request", &[], 1),
        ("is_reply", &[], -1),
        ("is_gruu", &[], -1),
        ("is_gruu", &["sip:a@b;gr=x"], 1),
        ("is_gruu", &["sip:a@b;gr"], 2),
        ("is_supported", &["path"], 1),
        ("is_supported", &["100rel"], -1),
        ("is_first_hop", &[], 1),
        ("contact_param_check", &["ob"], 1),
        ("contact_param_check", &["nope"], -1),
        ("hdr_date_check", &["30"], 1),
        ("hdr_date_check", &["10"], -4),
        ("options_reply", &[], -1),
        ("sip_p_charging_vector", &["r"], 1),
        ("sip_p_charging_vector", &["g"], 1),
    ] {
        assert_eq!(
            Stage::new(MESSAGE).call(&MODULE, name, args),
            expected,
            "{name}{args:?}"
        );
    }
}

#[test]
fn parameters_of_a_phone_number() {
    let mut stage = Stage::new(MESSAGE);
    stage
        .ctx
        .set_uri(b"sip:+49;ext=7@test.lan;lr;user=phone".to_vec());
    for (name, args, expected) in [
        ("uri_param", &["ext", "7"][..], 1),
        ("uri_param", &["lr"], -1),
        ("uri_param", &["user", "phone"], -1),
        ("uri_param_any", &["user"], 1),
    ] {
        assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
    }
}

#[test]
fn uris_change() {
    let mut stage = Stage::new(MESSAGE);
    for (name, args, expected) in [
        (
            "add_uri_param",
            &["nat=yes"][..],
            "sip:bob@test.lan;x=y;fl;nat=yes",
        ),
        ("uri_param_rm", &["x"], "sip:bob@test.lan;fl;nat=yes"),
    ] {
        assert_eq!(stage.call(&MODULE, name, args), 1, "{name}");
        assert_eq!(stage.read("ru"), expected, "{name}");
    }
    stage
        .ctx
        .set_uri(b"sip:enc*u*p*10.0.0.1*5070*udp@1.2.3.4".to_vec());
    assert_eq!(stage.call(&MODULE, "decode_contact", &[]), 1);
    assert_eq!(stage.read("ru"), "sip:u:p@10.0.0.1:5070;transport=udp");
    stage.ctx.set_uri(b"sip:test.lan".to_vec());
    assert_eq!(stage.call(&MODULE, "options_reply", &[]), 1);
    let answered = stage
        .host
        .replies
        .iter()
        .map(|reply| (reply.status, &*reply.reason));
    assert_eq!(answered.collect::<Vec<_>>(), [(200, &b"OK"[..])]);
}

#[test]
fn contacts_are_hidden_and_revealed() {
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(
        stage.call(&MODULE, "encode_contact", &["enc_prefix", "1.2.3.4"]),
        1
    );
    assert!(
        stage
            .edited()
            .contains("Contact: <sip:enc_prefix*bob*pw*10.0.0.9*5070*tcp@1.2.3.4>;expires=3\r\n"),
        "{}",
        stage.edited()
    );
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(
        stage.call(&MODULE, "contact_param_encode", &["ksu", "sip:1.2.3.4:5060"]),
        1
    );
    let hidden = stage.edited();
    assert!(hidden.contains("Contact: <sip:1.2.3.4:5060;ksu="), "{hidden}");
    let mut stage = Stage::new(&hidden.replace("\r\n", "\n"));
    assert_eq!(stage.call(&MODULE, "contact_param_decode", &["ksu"]), 1);
    assert!(
        stage
            .edited()
            .contains("Contact: <sip:bob:pw@10.0.0.9:5070;transport=tcp;ob>;expires=3\r\n"),
        "{}",
        stage.edited()
    );
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(stage.call(&MODULE, "contact_param_rm", &["ob"]), 1);
    assert!(
        stage
            .edited()
            .contains("Contact: <sip:bob:pw@10.0.0.9:5070;transport=tcp>;expires=3\r\n"),
        "{}",
        stage.edited()
    );
}

#[test]
fn dates_are_read() {
    for (date, expected) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Tue, 14 Nov 2023 22:13:20 GMT", Some(1_700_000_000)),
        ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
        ("Tue, 14 Nov 2023", None),
        ("x", None),
    ] {
        assert_eq!(seconds(date), expected, "{date}");
    }
}
