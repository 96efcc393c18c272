//! The messages that the rows work on, of usual length and order.

/// What the load generator asks.
pub(super) const OPTIONS: &[u8] = b"OPTIONS sip:bench.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:40001;rport;branch=z9hG4bKload0000000700012000000030\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:u0000042@bench.test>;tag=f000002a\r\n\
    To: <sip:bench.test>\r\n\
    Call-ID: 0000000700012000000030@load\r\n\
    CSeq: 1 OPTIONS\r\n\
    User-Agent: load generator 1.0\r\n\
    Content-Length: 0\r\n\r\n";

/// A phone behind NAT that refreshes its binding.
pub(super) const REGISTER: &[u8] = b"REGISTER sip:bench.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5062;branch=z9hG4bK-524287-1---7d2b8f0a1c3e;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@192.0.2.17:5062;ob>;expires=3600;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
    To: \"Alice\" <sip:alice@bench.test>\r\n\
    From: \"Alice\" <sip:alice@bench.test>;tag=49583\r\n\
    Call-ID: 843817637684230@998sdasdh09\r\n\
    CSeq: 1826 REGISTER\r\n\
    Expires: 3600\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
    User-Agent: Softphone 5.8.1\r\n\
    Content-Length: 0\r\n\r\n";

/// A call with its SDP.
pub(super) const INVITE: &[u8] = b"INVITE sip:bob@bench.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5062;branch=z9hG4bK-524287-1---7d2b8f0a1c3e;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@192.0.2.17:5062;transport=udp>\r\n\
    To: <sip:bob@bench.test>\r\n\
    From: \"Alice\" <sip:alice@bench.test>;tag=9fxced76sl\r\n\
    Call-ID: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 2 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
    Content-Type: application/sdp\r\n\
    Supported: replaces, 100rel, timer\r\n\
    User-Agent: Softphone 5.8.1\r\n\
    Content-Length: 151\r\n\r\n\
    v=0\r\n\
    o=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\n\
    s=-\r\n\
    c=IN IP4 192.0.2.101\r\n\
    t=0 0\r\n\
    m=audio 49172 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\n";

/// The answer to the call, on its way back.
pub(super) const OK: &[u8] = b"SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKf2a1.7b3c9d0e11223344.0;rport=5060;received=198.51.100.1\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5062;branch=z9hG4bK-524287-1---7d2b8f0a1c3e;rport=5062;received=192.0.2.17\r\n\
    Record-Route: <sip:198.51.100.1;lr>\r\n\
    Contact: <sip:bob@192.0.2.201:5060;transport=udp>\r\n\
    To: <sip:bob@bench.test>;tag=314159\r\n\
    From: \"Alice\" <sip:alice@bench.test>;tag=9fxced76sl\r\n\
    Call-ID: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 2 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
    User-Agent: Deskphone 2.1\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 147\r\n\r\n\
    v=0\r\n\
    o=bob 2890844527 2890844527 IN IP4 client.biloxi.example.com\r\n\
    s=-\r\n\
    c=IN IP4 192.0.2.201\r\n\
    t=0 0\r\n\
    m=audio 3456 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\n";
