//! The walk-through of a well-known tutorial, parts 2 to 8: Kamailio's own script with the request_route printed there,
//! administered with this project's tools (with plain SQL when Kamailio is the subject).

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;
use tests::message::Message;
use tests::scenario::DOMAIN;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::tables;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

use crate::support;

const STOCK: &str = "/etc/kamailio/kamailio.cfg";
const PASSWORD: &str = "supersecretpassword";
const CALLER: &str = "61312341234";
const CALLED: &str = "61398765432";

const PART_2: &str = r#"
request_route {
        xlog("I got a message");
        sl_reply("501", "Not Implemented");
}
"#;

const PART_3: &str = r#"
request_route {
        xlog("Hello, I am in the request_route");
        route(RESPOND_501);    #Jump to the RESPOND_501 block
        xlog("Back in request_route");
}

route[RESPOND_501]{
        xlog("Now I am in the respond 501 route");
        sl_reply("501", "Not Implemented");   #Send 501 reply
}
"#;

const PART_4: &str = r#"
/* Main SIP request routing logic
 * - note: this is the same as route { ... } */
request_route {
        if(method=="INVITE"){
                sl_reply("480", "Temporarily Unavailable");
                exit;
        }
        if(method=="REGISTER"){
                save("location");
                exit;
        }
        sl_reply("501", "Not Implemented");
}
"#;

const PART_5: &str = r#"
request_route {
    if(method=="INVITE"){
            if(!lookup("location")){
                            sl_reply("404", "User not Registered");
                            exit;
            }

            lookup("location");
            t_relay();
            exit();
    }
        if(method=="REGISTER"){
                save("location");
                exit;
        }
        sl_reply("501", "Not Implemented");
}
"#;

const PART_6: &str = r#"
request_route {



        if (is_method("CANCEL")) {
                if (t_check_trans()) {
                        route(RELAY);
                }
                exit;
        }


        if (!is_method("ACK")) {
                if(t_precheck_trans()) {
                        t_check_trans();
                        exit;
                }
                t_check_trans();
        }

        # handle requests within SIP dialogs
        route(WITHINDLG);


    if(method=="INVITE"){
            if(!lookup("location")){
                            sl_reply("404", "User not Registered");
                            exit;
            }

            lookup("location");
            t_relay();
            exit();
    }


        if(method=="REGISTER"){
                save("location");
                exit;
        }
        xlog("No idea how to respond to method $rm");
        sl_reply("501", "Not Implemented");
}
"#;

const PART_8: &str = r#"
request_route {

        route(REQINIT);         #Call REQINIT (Request Initial) route to filter out the worst of the bad traffic and take care of the basics.

        if (is_method("CANCEL")) {
                if (t_check_trans()) {
                        route(RELAY);
                }
                exit;
        }

        if (!is_method("ACK")) {
                if(t_precheck_trans()) {
                        t_check_trans();
                        exit;
                }
                t_check_trans();
        }

        # handle requests within SIP dialogs
        route(WITHINDLG);

if(method=="REGISTER"){  # authenticate requests
if (!auth_check("$fd", "subscriber", "1")) { #If credentials don't match what we have in Subscriber table
   auth_challenge("$fd", "0");          #Send an Auth Challenge
   exit;                                #Stop processing
 }

save("location");                   #Save the location as an AoR
exit;                               #Stop processing
        }

if(method=="INVITE"){
if(allow_source_address("200")){        #If from a Carrier IP
     route(ONNETINVITE);          #Call INVITE handling bloc
}else{
     if (!auth_check("$fd", "subscriber", "1")) { #If credentials don't match what we have in Subscriber table
         auth_challenge("$fd", "0");          #Send an Auth Challenge
         exit;                                #Stop processing
      }
          route(ONNETINVITE);                  #Call invite handling block
 }
}

        sl_reply("501", "Not Implemented");
}

route[ONNETINVITE]{
          if(!lookup("location")){    #Try looking up location
                            sl_reply("404", "User not Registered");     #If looking up location fails reply with 404
                            exit;                                       #And exit
            }

            t_relay();                  #Relay traffic to endpoint
            exit();                     #Exit

}
"#;

#[test]
fn part_2_answers_501_and_logs() {
    let set = Set::up(PART_2, Rest::Removed, Database::None);
    let mut phone = set.phone(CALLER);
    phone.request("r", "REGISTER", "sip:test.lan", &[]).unwrap();
    assert_eq!(reply(&mut phone).start, "SIP/2.0 501 Not Implemented");
    assert!(set.server.await_log("I got a message"));
}

#[test]
fn part_3_comes_back_from_a_route() {
    let set = Set::up(PART_3, Rest::Removed, Database::None);
    let mut phone = set.phone(CALLER);
    phone.request("o", "OPTIONS", "sip:test.lan", &[]).unwrap();
    assert_eq!(reply(&mut phone).start, "SIP/2.0 501 Not Implemented");
    assert!(set.server.await_log("Back in request_route"));
    let log = set.server.log();
    let places = [
        "Hello, I am in the request_route",
        "Now I am in the respond 501 route",
        "Back in request_route",
    ];
    let found: Vec<_> = places.iter().map(|text| log.find(text)).collect();
    assert!(found.is_sorted() && found.iter().all(Option::is_some), "{log}");
}

#[test]
fn part_4_takes_registrations() {
    let set = Set::up(PART_4, Rest::Removed, Database::None);
    let mut phone = set.phone(CALLER);
    register(&mut phone);
    phone.request("i", "INVITE", "sip:108@test.lan", &[]).unwrap();
    assert_eq!(reply(&mut phone).start, "SIP/2.0 480 Temporarily Unavailable");
    // `kamcmd ul.dump`
    let contact = phone.contact();
    match Subject::chosen() {
        Subject::Kamailio => {
            let dump = set.server.rpc("ul.dump", &serde_json::json!([])).unwrap();
            assert!(dump.to_string().contains(&contact), "{dump:#}");
        }
        Subject::Proxyd => {
            let dump = set.proxyctl(&["ul", "dump", "--output", "json"]);
            assert!(dump.contains(&contact), "{dump}");
        }
    }
}

#[test]
fn part_5_places_the_first_call() {
    let set = Set::up(PART_5, Rest::Removed, Database::None);
    let (mut caller, mut called) = (set.phone(CALLER), set.phone(CALLED));
    register(&mut caller);
    register(&mut called);
    call(&mut caller, &mut called);
    caller.request("x", "INVITE", "sip:nobody@test.lan", &[]).unwrap();
    assert_eq!(reply(&mut caller).start, "SIP/2.0 404 User not Registered");
}

#[test]
fn part_6_cancels_a_call() {
    let set = Set::up(PART_6, Rest::Kept, Database::None);
    let (mut caller, mut called) = (set.phone(CALLER), set.phone(CALLED));
    register(&mut called);
    caller.request("c", "INVITE", &called.aor(), &[]).unwrap();
    let invite = request(&mut called, "INVITE");
    called.reply(&invite, "180 Ringing", &[]).unwrap();
    assert_eq!(reply(&mut caller).status(), Some(180));
    caller.request("c", "CANCEL", "", &[]).unwrap();
    assert_eq!(reply(&mut caller).method(), "CANCEL");
    let cancel = request(&mut called, "CANCEL");
    called.reply(&cancel, "200 OK", &[]).unwrap();
    called.reply(&invite, "487 Request Terminated", &[]).unwrap();
    request(&mut called, "ACK");
    assert_eq!(reply(&mut caller).status(), Some(487));
    caller.request("c", "ACK", "", &[]).unwrap();
    caller.request("p", "PUBLISH", &called.aor(), &[]).unwrap();
    assert_eq!(reply(&mut caller).start, "SIP/2.0 501 Not Implemented");
    assert!(set.server.await_log("No idea how to respond to method PUBLISH"));
}

#[test]
fn part_8_authenticates_on_sqlite() {
    part_8(Set::up(PART_8, Rest::Kept, Database::Sqlite));
}

#[test]
fn part_8_authenticates_on_mariadb() {
    match env::var("TEST_MYSQL_URL") {
        Ok(url) => part_8(Set::up(PART_8, Rest::Kept, Database::MariaDb(url))),
        // `tests/run` starts a private server and says so; elsewhere there may be none.
        Err(_) => assert!(env::var_os("CI_DATABASES").is_none(), "TEST_MYSQL_URL is not set"),
    }
}

fn part_8(set: Set) {
    let (mut caller, mut called) = (set.phone(CALLER), set.phone(CALLED));
    for phone in [&mut caller, &mut called] {
        let aor = phone.aor();
        let user = phone.name.clone();
        phone
            .request(
                "r",
                "REGISTER",
                "sip:test.lan",
                &[("To".to_owned(), format!("<{aor}>"))],
            )
            .unwrap();
        assert_eq!(reply(phone).status(), Some(401));
        phone.authorize("r", &user, "wrong").unwrap();
        assert_eq!(reply(phone).status(), Some(401));
        phone.authorize("r", &user, PASSWORD).unwrap();
        assert_eq!(reply(phone).status(), Some(200));
    }
    // A user calls a user: challenged with 407.
    caller.request("c", "INVITE", &called.aor(), &[]).unwrap();
    assert_eq!(reply(&mut caller).status(), Some(407));
    caller.request("c", "ACK", "", &[]).unwrap();
    caller.authorize("c", CALLER, PASSWORD).unwrap();
    answer(&mut caller, &mut called);
    // The carrier calls a user: its address is enough.
    let mut carrier = set.carrier();
    call(&mut carrier, &mut called);
    // A user that does not exist gets nowhere.
    let mut stranger = set.phone("stranger");
    stranger.request("c", "INVITE", &called.aor(), &[]).unwrap();
    assert_eq!(reply(&mut stranger).status(), Some(407));
}

/// What becomes of the routes below Kamailio's own request_route.
#[derive(PartialEq)]
enum Rest {
    Removed,
    Kept,
}

enum Database {
    None,
    Sqlite,
    MariaDb(String),
}

struct Set {
    site: Site,
    server: Server,
    folder: TempDir,
    url: Option<String>,
}

impl Set {
    fn up(request_route: &str, rest: Rest, database: Database) -> Self {
        let stock = fs::read(STOCK).expect("Kamailio's own script is installed (Debian: kamailio)");
        let stock = String::from_utf8_lossy(&stock).into_owned();
        let (before, own) = stock
            .split_once("\nrequest_route {")
            .expect("it has a request_route");
        let after = own.split_once("\n}\n").map_or("", |(_, after)| after);
        let mut script = format!(
            "{before}\n{request_route}{}",
            if rest == Rest::Kept { after } else { "" }
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = Site::new();
        // Kamailio's own script logs to syslog; the harness reads what -E puts on standard error.
        let mut local = format!("alias=\"{DOMAIN}\"\n");
        let url = match &database {
            Database::None => None,
            Database::Sqlite => {
                let url = format!("sqlite:///{}", folder.path().join("tutorial.db").display());
                local.push_str(&format!(
                    "loadmodule \"db_sqlite.so\"\n#!define DBURL \"{url}\"\n"
                ));
                Some(url)
            }
            Database::MariaDb(server) => {
                let url = format!(
                    "{}/proxyd_tutorial",
                    server.rsplit_once('/').map_or(server.as_str(), |(url, _)| url)
                );
                // "We'll change the define DBURL to include the password in the database connection string."
                let printed = "mysql://kamailio:kamailiorw@localhost/kamailio";
                assert!(
                    script.contains(printed),
                    "Kamailio's own script has another DBURL"
                );
                script = script.replace(printed, &url);
                local.push_str("#!define WITH_MYSQL\n");
                Some(url)
            }
        };
        if url.is_some() {
            local.push_str("#!define WITH_AUTH\n#!define WITH_IPAUTH\n");
        }
        fs::write(folder.path().join("kamailio.cfg"), script).expect("a file in a folder of our own");
        fs::write(folder.path().join("kamailio-local.cfg"), local).expect("a file in a folder of our own");
        if let Some(url) = &url {
            let carrier = site.carrier().ip().to_string();
            match Subject::chosen() {
                Subject::Proxyd => provision(folder.path(), url, &carrier),
                Subject::Kamailio => provision_with_sql(folder.path(), url, &carrier),
            }
        }
        let launch = Launch {
            script: folder.path().join("kamailio.cfg"),
            listen: vec![format!("udp:{}", site.server)],
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        };
        let server = support::start(&launch);
        Self {
            site,
            server,
            folder,
            url,
        }
    }

    fn phone(&self, user: &str) -> Ua {
        Ua::open(
            user,
            Transport::Udp,
            self.site.user_agent(false),
            self.site.server,
            DOMAIN,
        )
        .expect("a free port")
    }

    fn carrier(&self) -> Ua {
        Ua::open(
            "carrier",
            Transport::Udp,
            self.site.carrier(),
            self.site.server,
            DOMAIN,
        )
        .expect("a free port")
    }

    fn proxyctl(&self, arguments: &[&str]) -> String {
        let home = self.server.run_folder();
        let home = home.to_string_lossy();
        let mut all = vec!["--home", &home];
        all.extend(self.url.as_deref().into_iter().flat_map(|url| ["--db-url", url]));
        all.extend(arguments);
        let output = support::tool("t-proxyctl", self.folder.path(), &all);
        assert!(
            output.status.success(),
            "proxyctl {arguments:?}: {}",
            support::words(&output)
        );
        support::words(&output)
    }
}

/// Types what the tutorial types, with our tools' names.
fn provision(folder: &Path, url: &str, carrier: &str) {
    drop_mariadb(url);
    let steps: [(&str, &[&str]); 5] = [
        ("t-dbctl", &["create"]),
        ("t-proxyctl", &["add", CALLER, PASSWORD]),
        ("t-proxyctl", &["add", CALLED, PASSWORD]),
        (
            "t-proxyctl",
            &[
                "address",
                "add",
                "200",
                "10.0.1.102",
                "32",
                "5060",
                "Carrier IP address",
            ],
        ),
        (
            "t-proxyctl",
            &["address", "add", "200", carrier, "32", "0", "carrier of the test"],
        ),
    ];
    fs::write(
        folder.join("proxyctlrc"),
        format!("SIP_DOMAIN={DOMAIN}\nSTORE_PLAINTEXT_PW=1\n"),
    )
    .expect("our own folder");
    for (program, arguments) in steps {
        let home = folder.to_string_lossy();
        let all = [&["--home", home.as_ref(), "--db-url", url], arguments].concat();
        let output = support::tool(program, folder, &all);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            support::words(&output)
        );
    }
}

fn provision_with_sql(folder: &Path, url: &str, carrier: &str) {
    if url.starts_with("sqlite:") {
        let connection = tables::create(&folder.join("tutorial.db")).expect("tables in a new file");
        for user in [CALLER, CALLED] {
            tables::add_subscriber(&connection, user, DOMAIN, PASSWORD).expect("a new subscriber");
        }
        tables::add_address(&connection, 200, carrier, 32).expect("a new address");
        return;
    }
    drop_mariadb(url);
    let mut sql = String::from("CREATE DATABASE proxyd_tutorial; USE proxyd_tutorial;\n");
    for table in ["standard", "auth_db", "permissions", "usrloc"] {
        let file = format!("/usr/share/kamailio/mysql/{table}-create.sql");
        sql.push_str(&fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")));
    }
    for user in [CALLER, CALLED] {
        sql.push_str(&format!(
            "INSERT INTO subscriber (username, domain, password) VALUES ('{user}','{DOMAIN}','{PASSWORD}');"
        ));
    }
    sql.push_str(&format!(
        "INSERT INTO address (grp, ip_addr, mask) VALUES (200, '{carrier}', 32);"
    ));
    mariadb(url, &sql);
}

fn drop_mariadb(url: &str) {
    if url.starts_with("mysql:") {
        mariadb(url, "DROP DATABASE IF EXISTS proxyd_tutorial;");
    }
}

/// Runs SQL as the user that the URL names.
fn mariadb(url: &str, sql: &str) {
    let parts = url
        .strip_prefix("mysql://")
        .and_then(|rest| rest.split_once('@'))
        .expect("user and host");
    let (user, password) = parts.0.split_once(':').expect("user and password");
    let (host, port) = parts
        .1
        .split('/')
        .next()
        .and_then(|host| host.split_once(':'))
        .expect("host and port");
    let mut client = Command::new("mariadb")
        .args(["--no-defaults", "-h", host, "-P", port, "-u", user])
        .env("MYSQL_PWD", password)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client is installed with the server");
    client
        .stdin
        .take()
        .expect("it is a pipe")
        .write_all(sql.as_bytes())
        .expect("the client reads");
    assert!(
        client.wait().expect("it was started").success(),
        "mariadb refused: {sql}"
    );
}

fn register(phone: &mut Ua) {
    let aor = phone.aor();
    phone
        .request(
            "r",
            "REGISTER",
            "sip:test.lan",
            &[("To".to_owned(), format!("<{aor}>"))],
        )
        .unwrap();
    assert_eq!(reply(phone).status(), Some(200));
}

fn call(caller: &mut Ua, called: &mut Ua) {
    caller.request("call", "INVITE", &called.aor(), &[]).unwrap();
    answer(caller, called);
}

/// The called phone rings and answers. There is no Record-Route in these parts: the ACK would go from phone to phone.
fn answer(caller: &mut Ua, called: &mut Ua) {
    let invite = request(called, "INVITE");
    assert_eq!(invite.uri(), called.contact());
    called.reply(&invite, "180 Ringing", &[]).unwrap();
    assert_eq!(reply(caller).status(), Some(180));
    called.reply(&invite, "200 OK", &[]).unwrap();
    assert_eq!(reply(caller).status(), Some(200));
}

fn request(phone: &mut Ua, method: &str) -> Message {
    let message = phone
        .receive(wait::PATIENCE)
        .unwrap_or_else(|| panic!("no {method} for {}", phone.name));
    assert_eq!(
        (message.status(), message.method()),
        (None, method),
        "{message:#?}"
    );
    message
}

fn reply(phone: &mut Ua) -> Message {
    loop {
        let message = phone
            .receive(wait::PATIENCE)
            .unwrap_or_else(|| panic!("no reply for {}", phone.name));
        let status = message
            .status()
            .unwrap_or_else(|| panic!("a request: {message:#?}"));
        phone.note(&message);
        if status != 100 {
            return message;
        }
    }
}
