//! Two real phones: baresip registers with digest, calls, answers and hangs up, over UDP and over TCP.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use tests::wait;

use crate::support::House;

const PASSWORD: &str = "phone-secret";

/// A running baresip with its control connection.
struct Phone {
    child: Child,
    control: TcpStream,
    heard: String,
    name: &'static str,
}

#[test]
fn two_phones_talk_over_udp() {
    talk("udp");
}

#[test]
fn two_phones_talk_over_tcp() {
    talk("tcp");
}

fn talk(transport: &str) {
    let house = House::open(&["WITH_AUTH"], &[("alice", PASSWORD), ("bob", PASSWORD)]);
    let mut bob = Phone::start(&house, "bob", transport);
    let mut alice = Phone::start(&house, "alice", transport);
    alice.registers(&house);
    bob.registers(&house);
    alice.tells("dial", "sip:bob@test.lan");
    alice.hears(&house, "CALL_ESTABLISHED");
    bob.hears(&house, "CALL_ESTABLISHED");
    alice.tells("hangup", "");
    bob.hears(&house, "CALL_CLOSED");
    for (user, phone) in [("alice", &mut alice), ("bob", &mut bob)] {
        assert!(
            house
                .server
                .rpc("ul.lookup", &serde_json::json!(["location", user]))
                .is_ok(),
            "{user} is registered"
        );
        phone.tells("quit", "");
    }
}

impl Phone {
    fn start(house: &House, name: &'static str, transport: &str) -> Self {
        let folder = house.folder.path().join(format!("baresip-{name}"));
        fs::create_dir(&folder).expect("our own folder");
        let host = house.site.server.ip();
        let silence = folder.join("silence.wav");
        fs::write(&silence, wav()).expect("our own folder");
        let control = free_port(host.to_string().as_str());
        let config = format!(
            "module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\nmodule ctrl_tcp.so\nmodule_app account.so\nmodule_app menu.so\nctrl_tcp_listen {control}\n\
             sip_listen {host}:0\naudio_source aufile,{silence}\naudio_player aufile,{out}\naudio_alert aufile,{out}\n\
             call_max_calls 2\nnet_interface {host}\n",
            silence = silence.display(),
            out = folder.join("heard.wav").display()
        );
        fs::write(folder.join("config"), config).expect("our own folder");
        let server = house.site.server;
        let account = format!(
            "<sip:{name}@test.lan>;auth_user={name};auth_pass={PASSWORD};outbound=\"sip:{server};transport={transport}\";\
             regint=60;answermode=auto;audio_codecs=PCMU\n"
        );
        fs::write(folder.join("accounts"), account).expect("our own folder");
        fs::write(folder.join("contacts"), "").expect("our own folder");
        let log = fs::File::create(folder.join("log")).expect("our own folder");
        let again = log.try_clone().expect("a second handle");
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .current_dir(&folder)
            .spawn()
            .expect("baresip is installed (Debian: baresip-core)");
        let control = wait::until(wait::PATIENCE, || TcpStream::connect(control).ok());
        let Some(control) = control else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("baresip does not open its control socket:\n{}", said(&folder));
        };
        control.set_nonblocking(true).expect("a socket");
        Self {
            child,
            control,
            heard: String::new(),
            name,
        }
    }

    /// Sends a command as a netstring of JSON.
    fn tells(&mut self, command: &str, parameter: &str) {
        let text = serde_json::json!({"command": command, "params": parameter, "token": command}).to_string();
        self.control
            .write_all(format!("{}:{text},", text.len()).as_bytes())
            .expect("baresip reads");
    }

    /// Waits until the phone says that it is registered; the event may come before we listen.
    fn registers(&self, house: &House) {
        let folder = house.folder.path().join(format!("baresip-{}", self.name));
        let found = wait::until(wait::PATIENCE, || {
            said(&folder).contains("1 binding").then_some(())
        });
        assert!(
            found.is_some(),
            "{} is not registered\n{}\n{}",
            self.name,
            said(&folder),
            house.server.log()
        );
    }

    /// Waits for an event.
    fn hears(&mut self, house: &House, event: &str) {
        let found = wait::until(wait::PATIENCE * 2, || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = self.control.read(&mut buffer) {
                self.heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            self.heard.contains(&format!("\"{event}\"")).then_some(())
        });
        let folder = house.folder.path().join(format!("baresip-{}", self.name));
        let (name, heard) = (self.name, &self.heard);
        assert!(
            found.is_some(),
            "{name} waits for {event} and heard {heard}\n{}\n{}",
            said(&folder),
            house.server.log()
        );
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // It was told to quit; after a failed test it was not.
        let ended = wait::until(wait::PATIENCE / 5, || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns a minute of silence: 8 kHz, one channel, 16 bits.
fn wav() -> Vec<u8> {
    let length: u32 = 60 * 16_000;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    for half in [1_u16, 1, 8000, 0, 16_000, 0, 2, 16] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.resize(bytes.len() + length as usize, 0);
    bytes
}

fn free_port(host: &str) -> SocketAddr {
    let socket = TcpListener::bind(format!("{host}:0")).expect("a free port");
    socket.local_addr().expect("it is bound")
}

fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
