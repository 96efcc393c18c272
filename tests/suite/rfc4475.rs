//! The torture messages of RFC 4475 over the wire: each with the answer that the RFC asks for, and the oracle's own.

use std::net::UdpSocket;
use std::time::Duration;

use tests::message::Message;
use tests::subject::Subject;
use tests::wait;

use crate::support::House;

/// The answers that are right; none at all is `SILENCE`.
type Answers = &'static [u16];

const SILENCE: u16 = 0;

struct Torture {
    name: &'static str,
    /// `{via}` is the sender's address; lines end in `\n` here and in CRLF on the wire.
    text: &'static str,
    expected: Answers,
    /// What Kamailio answers where it is something else.
    kamailio: Answers,
}

const fn torture(name: &'static str, expected: Answers, text: &'static str) -> Torture {
    Torture {
        name,
        text,
        expected,
        kamailio: expected,
    }
}

const fn differs(name: &'static str, expected: Answers, kamailio: Answers, text: &'static str) -> Torture {
    Torture {
        name,
        text,
        expected,
        kamailio,
    }
}

const TABLE: &[Torture] = &[
    differs(
        "3.1.1.1 wsinv",
        &[404],
        &[SILENCE],
        "INVITE sip:vivekg@test.lan;unknownparam SIP/2.0\nTO :\n sip:vivekg@test.lan ;   tag    = 1918181833n\nfrom   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\nCall-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : 0\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    {via};branch=390skdjuw;rport\ns :\nNewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\nv:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\nm:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\n",
    ),
    differs(
        "3.1.1.2 intmeth",
        &[404],
        &[SILENCE],
        "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK-.!%66*_+`'~\nTo: \"BEL:\x07 NUL:\x01 DEL:\x7f\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@test.lan>\nFrom: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"a\";tag=_token~1'+`*%!-.\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\nextensionHeader-!.%*+_`'~: text\nContent-Length: 0\n\n",
    ),
    torture(
        "3.1.1.3 esc01",
        &[404],
        "INVITE sip:sips%3Auser%40example.com@test.lan;other-param=summit SIP/2.0\nTo: sip:%75se%72@test.lan\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\nMax-Forwards: 87\ni: esc01.239409asdfakjkn23onasd0-3234\nCSeq: 234234 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nContact:\n  <sip:cal%6Cer@192.0.2.3:5060;%6C%72;n%61me=v%61lue%25%34%31>\nContent-Length: 0\n\n",
    ),
    torture(
        "3.1.1.5 esc02",
        &[404, 405, 501],
        "RE%47IST%45R sip:registrar@test.lan SIP/2.0\nTo: \"%Z%45\" <sip:resource@test.lan>\nFrom: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\nCall-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK209%fzsnel234\nCSeq: 29344 RE%47IST%45R\nMax-Forwards: 70\nContact: <sip:alias1@host1.example.com>\nContent-Length: 0\n\n",
    ),
    torture(
        "3.1.1.6 lwsdisp",
        &[404],
        "OPTIONS sip:user@test.lan SIP/2.0\nTo: sip:user@test.lan\nFrom: caller<sip:caller@example.com>;tag=323\nMax-Forwards: 70\nCall-ID: lwsdisp.1234abcd@funky.example.com\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nl: 0\n\n",
    ),
    torture(
        "3.1.1.8 dblreq",
        &[200],
        "REGISTER sip:test.lan SIP/2.0\nTo: sip:j.user@test.lan\nFrom: sip:j.user@test.lan;tag=43251j3j324\nMax-Forwards: 8\nI: dblreq.0ha0isndaksdj99sdfafnl3lk233412\nContact: sip:j.user@host.example.com\nCSeq: 8 REGISTER\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw23492\nContent-Length: 0\n\n\nINVITE sip:joe@test.lan SIP/2.0\nt: sip:joe@test.lan\n\n",
    ),
    torture(
        "3.1.1.9 semiuri",
        &[404],
        "OPTIONS sip:user;par=u%40example.net@test.lan SIP/2.0\nTo: sip:j_user@test.lan\nFrom: sip:caller@example.org;tag=33242\nMax-Forwards: 3\nCall-ID: semiuri.0ha0isndaksdj\nCSeq: 8 OPTIONS\nAccept: application/sdp, application/pkcs7-mime\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nl: 0\n\n",
    ),
    torture(
        "3.1.1.10 transports",
        &[200],
        "OPTIONS sip:test.lan SIP/2.0\nTo: sip:user@test.lan\nFrom: <sip:caller@example.com>;tag=323\nMax-Forwards: 70\nCall-ID: transports.kijh4akdnaqjkwendsasfdj\nAccept: application/sdp\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee\nl: 0\n\n",
    ),
    differs(
        "3.1.2.1 badinv01",
        &[400, 404],
        &[SILENCE],
        "INVITE sip:user@test.lan SIP/2.0\nTo: sip:j.user@test.lan\nFrom: sip:caller@example.net;tag=134161461246\nMax-Forwards: 7\nCall-ID: badinv01.0ha0isndaksdjasdf3234nas\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\nContent-Length: 0\n\n",
    ),
    differs(
        "3.1.2.2 clerr",
        &[400],
        &[200],
        "REGISTER sip:test.lan SIP/2.0\nMax-Forwards: 80\nTo: sip:j.user@test.lan\nFrom: sip:caller@example.net;tag=93942939o2\nContact: <sip:caller@hungry.example.net>\nCall-ID: clerr.0ha0isndaksdjweiafasdk3\nCSeq: 8 REGISTER\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK-39234-23523\nContent-Length: 9999\n\nshort",
    ),
    differs(
        "3.1.2.3 ncl",
        &[400],
        &[SILENCE],
        "OPTIONS sip:test.lan SIP/2.0\nMax-Forwards: 254\nTo: sip:j.user@test.lan\nFrom: sip:caller@example.net;tag=32394234\nCall-ID: ncl.0ha0isndaksdj2193423r542w35\nCSeq: 0 OPTIONS\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nContent-Length: -999\n\n",
    ),
    torture(
        "3.1.2.4 scalar02",
        &[400],
        "REGISTER sip:test.lan SIP/2.0\nVia: SIP/2.0/TCP {via};rport;branch=z9hG4bKk342sdfoi3\nTo: <sip:user@test.lan>\nFrom: <sip:user@test.lan>;tag=239232jh3\nCSeq: 36893488147419103232 REGISTER\nCall-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32\nMax-Forwards: 300\nExpires: 10000000000000000000000000000000\nContact: <sip:user@host129.example.com>;expires=280297596632815\nContent-Length: 0\n\n",
    ),
    differs(
        "3.1.2.6 quotbal",
        &[400],
        &[SILENCE],
        "OPTIONS sip:user@test.lan SIP/2.0\nTo: \"Mr. J. User <sip:j.user@test.lan>\nFrom: sip:caller@example.net;tag=93334\nMax-Forwards: 10\nCall-ID: quotbal.aksdj\nContact: <sip:caller@host59.example.net>\nCSeq: 8 OPTIONS\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK39234\nContent-Length: 0\n\n",
    ),
    differs(
        "3.1.2.7 ltgtruri",
        &[400],
        &[479],
        "INVITE <sip:user@test.lan> SIP/2.0\nTo: sip:user@test.lan\nFrom: sip:caller@example.net;tag=39291\nMax-Forwards: 23\nCall-ID: ltgtruri.1@192.0.2.5\nCSeq: 1 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKltgt\nContact: <sip:caller@host5.example.net>\nContent-Length: 0\n\n",
    ),
    differs(
        "3.1.2.8 lwsruri",
        &[400],
        &[SILENCE],
        "INVITE sip:user@test.lan; lr SIP/2.0\nTo: sip:user@test.lan;tag=3xfe-9921883-z9f\nFrom: sip:caller@example.net;tag=231413434\nMax-Forwards: 5\nCall-ID: lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423\nCSeq: 2130706432 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw2395\nContact: <sip:caller@host1.example.net>\nContent-Length: 0\n\n",
    ),
    differs(
        "3.1.2.9 lwsstart",
        &[400, 404],
        &[SILENCE],
        "INVITE  sip:user@test.lan  SIP/2.0\nMax-Forwards: 8\nTo: sip:user@test.lan\nFrom: sip:caller@example.net;tag=8814\nCall-ID: lwsstart.dfknq234oi243099adsdfnawe3@example.com\nCSeq: 1893884 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw3923\nContact: <sip:caller@host1.example.net>\nContent-Length: 0\n\n",
    ),
    torture(
        "3.1.2.10 trws",
        &[400, 404],
        "OPTIONS sip:remote-target@test.lan SIP/2.0  \nVia: SIP/2.0/TCP {via};rport;branch=z9hG4bK299342093\nTo: <sip:remote-target@test.lan>\nFrom: <sip:local-resource@example.com>;tag=329429089\nCall-ID: trws.oicu34958239neffasdhr2345r\nAccept: application/sdp\nCSeq: 238923 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n",
    ),
    torture(
        "3.1.2.13 regbadct",
        &[200, 400],
        "REGISTER sip:test.lan SIP/2.0\nTo: sip:regbadct@test.lan\nFrom: sip:regbadct@test.lan;tag=998332\nMax-Forwards: 70\nCall-ID: regbadct.k345asrl3fdbv@10.0.0.1\nCSeq: 1 REGISTER\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nContact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\nl: 0\n\n",
    ),
    torture(
        "3.1.2.14 badaspec",
        &[400, 404],
        "OPTIONS sip:user@test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdju43234\nMax-Forwards: 70\nFrom: \"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=433423\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nCall-ID: badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3\nAccept: application/sdp\nCSeq: 3923239 OPTIONS\nl: 0\n\n",
    ),
    torture(
        "3.1.2.15 baddn",
        &[200, 400],
        "OPTIONS sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuwq\nTo: \"Watson, Thomas\" <sip:t.watson@test.lan>\nFrom: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\nMax-Forwards: 70\nCall-ID: baddn.31415@c.example.com\nAccept: application/sdp\nCSeq: 3923239 OPTIONS\nl: 0\n\n",
    ),
    differs(
        "3.1.2.16 badvers",
        &[505],
        &[SILENCE],
        "OPTIONS sip:t.watson@test.lan SIP/7.0\nVia: SIP/7.0/UDP {via};rport;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: A. Bell <sip:a.g.bell@example.com>;tag=qweoiqpe\nTo: T. Watson <sip:t.watson@test.lan>\nCall-ID: badvers.31417@c.example.com\nCSeq: 1 OPTIONS\nl: 0\n\n",
    ),
    differs(
        "3.1.2.17 mismatch01",
        &[400],
        &[404],
        "OPTIONS sip:user@test.lan SIP/2.0\nTo: sip:j.user@test.lan\nFrom: sip:caller@example.net;tag=34525\nMax-Forwards: 6\nCall-ID: mismatch01.dj0234sxdfl3\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nl: 0\n\n",
    ),
    torture(
        "3.2.1 badbranch",
        &[200],
        "OPTIONS sip:test.lan SIP/2.0\nTo: sip:user@test.lan\nFrom: sip:caller@example.org;tag=33242\nMax-Forwards: 3\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK\nAccept: application/sdp\nCall-ID: badbranch.sadonfo23i420jv0as0derf3j3n\nCSeq: 8 OPTIONS\nl: 0\n\n",
    ),
    differs(
        "3.3.1 insuf",
        &[400],
        &[SILENCE],
        "INVITE sip:user@test.lan SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdj.insuf\nContent-Length: 0\n\n",
    ),
    differs(
        "3.3.2 unkscm",
        &[416],
        &[200],
        "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\nTo: sip:user@test.lan\nFrom: sip:caller@example.net;tag=384\nMax-Forwards: 3\nCall-ID: unkscm.nasdfasser0q239nwsdfasdkl34\nCSeq: 3923423 OPTIONS\nVia: SIP/2.0/TCP {via};rport;branch=z9hG4bKkdjuw39234\nContent-Length: 0\n\n",
    ),
    torture(
        "3.3.7 regaut01",
        &[200, 401],
        "REGISTER sip:test.lan SIP/2.0\nTo: sip:j.user@test.lan\nFrom: sip:j.user@test.lan;tag=87321hj23128\nMax-Forwards: 8\nCall-ID: regaut01.0ha0isndaksdj\nCSeq: 9338 REGISTER\nVia: SIP/2.0/TCP {via};rport;branch=z9hG4bKkdjuw\nAuthorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length: 0\n\n",
    ),
    differs(
        "3.3.8 multi01",
        &[400],
        &[SILENCE],
        "INVITE sip:user@test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK-multi01\nCSeq: 5 INVITE\nCall-ID: multi01.98asdh@192.0.2.1\nCSeq: 59 INVITE\nCall-ID: multi01.98asdh@192.0.2.2\nFrom: sip:caller@example.com;tag=3413415\nTo: sip:user@test.lan\nTo: sip:other@example.net\nFrom: sip:caller@example.net;tag=2923420123\nMax-Forwards: 70\nContact: <sip:caller@host36.example.com>\nContent-Length: 0\n\n",
    ),
    differs(
        "3.3.9 mcl01",
        &[400],
        &[SILENCE],
        "OPTIONS sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK293423\nTo: sip:user@test.lan\nFrom: sip:other@example.net;tag=3923942\nCall-ID: mcl01.fhn2323orihawfdoa3o4r52o3irsdf\nCSeq: 15932 OPTIONS\nContent-Length: 13\nMax-Forwards: 60\nContent-Length: 5\nContent-Type: text/plain\n\nThere's no wa",
    ),
    torture(
        "3.3.11 zeromf",
        &[483, 200],
        "OPTIONS sip:user@test.lan SIP/2.0\nTo: sip:user@test.lan\nFrom: sip:caller@example.net;tag=3ghsd41\nCall-ID: zeromf.jfasdlfnm2o2l43r5u0asdfas\nCSeq: 39234321 OPTIONS\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw2349i\nMax-Forwards: 0\nContent-Length: 0\n\n",
    ),
    torture(
        "3.3.12 cparam01",
        &[200],
        "REGISTER sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: sip:watson@test.lan;tag=DkfVgjkrtMwaerKKpe\nTo: sip:watson@test.lan\nCall-ID: cparam01.70710@saturn.example.com\nCSeq: 2 REGISTER\nContact: sip:+19725552222@gw1.example.net;unknownparam\nl: 0\n\n",
    ),
    torture(
        "3.3.13 cparam02",
        &[200],
        "REGISTER sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: sip:watson@test.lan;tag=838293\nTo: sip:watson@test.lan\nCall-ID: cparam02.70710@saturn.example.com\nCSeq: 3 REGISTER\nContact: <sip:+19725552222@gw1.example.net;unknownparam>\nl: 0\n\n",
    ),
    torture(
        "3.4.1 inv2543",
        &[404],
        "INVITE sip:UserB@test.lan SIP/2.0\nVia: SIP/2.0/UDP {via};rport\nFrom: <sip:alice@example.com>\nTo: sip:UserB@test.lan\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\n\n",
    ),
];

#[test]
fn every_torture_message_gets_its_answer() {
    let house = House::open(&[], &[]);
    let kamailio = Subject::chosen() == Subject::Kamailio;
    let mut surprises = Vec::new();
    for torture in TABLE {
        let right = if kamailio {
            torture.kamailio
        } else {
            torture.expected
        };
        let found = answers(&house, torture.text);
        // Exactly one final answer, or none.
        let fits = match found.as_slice() {
            [] => right.contains(&SILENCE),
            [status] => right.contains(status),
            _ => false,
        };
        if !fits {
            surprises.push(format!("{}: expected {right:?}, found {found:?}", torture.name));
        }
    }
    assert!(
        surprises.is_empty(),
        "{}\n--- log\n{}",
        surprises.join("\n"),
        house.server.log()
    );
}

/// Sends one message from an address of its own and returns the final answers to it.
fn answers(house: &House, text: &str) -> Vec<u16> {
    let server = house.site.server;
    let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
    socket.connect(server).expect("a server's address");
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("not zero");
    let via = socket.local_addr().expect("it is bound").to_string();
    socket
        .send(text.replace('\n', "\r\n").replace("{via}", &via).as_bytes())
        .expect("a server");
    let fence = format!(
        "OPTIONS sip:test.lan SIP/2.0\r\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bKfence\r\nMax-Forwards: 70\r\n\
         From: <sip:fence@test.lan>;tag=1\r\nTo: <sip:test.lan>\r\nCall-ID: fence{via}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    socket.send(fence.as_bytes()).expect("a server");
    let mut found = Vec::new();
    let mut buffer = [0; 65_535];
    // The answer to the question sent last comes last: the server has one worker.
    let fenced = wait::until(wait::PATIENCE, || {
        let length = socket.recv(&mut buffer).ok()?;
        let reply = Message::read(&buffer[..length])?;
        if reply.value("Call-ID").is_some_and(|id| id.starts_with("fence")) {
            return Some(());
        }
        found.extend(reply.status().filter(|status| *status >= 200));
        None
    });
    assert!(
        fenced.is_some(),
        "the server does not answer any more\n--- log\n{}",
        house.server.log()
    );
    found.dedup();
    found
}
