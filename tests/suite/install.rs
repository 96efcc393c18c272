//! What `etc/install` puts where, and the daemon as the systemd unit starts it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use tests::site::Site;
use tests::subject::built;
use tests::subject::signal;
use tests::wait;

use crate::sources;

#[test]
fn everything_is_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = install(folder.path());
    let places = [
        "usr/bin/proxyd",
        "usr/bin/proxyctl",
        "usr/bin/dbctl",
        "usr/lib/systemd/system/proxyd.service",
        "usr/lib/sysusers.d/proxyd.conf",
        "usr/share/man/man8/proxyd.8",
        "usr/share/man/man8/proxyctl-address-add.8",
        "usr/share/man/man8/dbctl-create.8",
        "usr/share/bash-completion/completions/proxyctl",
        "usr/share/zsh/site-functions/_dbctl",
        "usr/share/fish/vendor_completions.d/proxyd.fish",
        "usr/share/doc/proxyd/README.md",
        "etc/proxyd/proxyd.cfg",
        "etc/proxyd/proxyctlrc",
        "etc/default/proxyd",
    ];
    let missing: Vec<&str> = places
        .into_iter()
        .filter(|place| !root.join(place).is_file())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");

    let script = root.join("etc/proxyd/proxyd.cfg");
    fs::write(&script, "# mine\n").unwrap();
    install(folder.path());
    assert_eq!(fs::read_to_string(&script).unwrap(), "# mine\n");
    assert!(script.with_extension("cfg.new").is_file());
}

#[test]
fn the_package_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let ask = |words: &[&str]| {
        let output = Command::new("dpkg-deb")
            .args(words)
            .arg(&package)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let control = ask(&["--info"]);
    for word in [
        "Package: proxyd",
        concat!("Version: ", env!("CARGO_PKG_VERSION")),
        "Depends: libc6 ",
        "passwd",
        "postinst",
        "prerm",
        "postrm",
        "conffiles",
    ] {
        assert!(control.contains(word), "{word} is not in {control}");
    }
    let root = folder.path().join("unpacked");
    let unpacked = Command::new("dpkg-deb")
        .arg("-R")
        .args([&package, &root])
        .status();
    assert!(unpacked.unwrap().success());
    let mode = fs::metadata(&root).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o755, "that of /");
    let conffiles = fs::read_to_string(root.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(
        conffiles,
        "/etc/default/proxyd\n/etc/proxyd/proxyctlrc\n/etc/proxyd/proxyd.cfg\n"
    );
    for script in ["postinst", "prerm", "postrm"] {
        let sound = Command::new("sh")
            .arg("-n")
            .arg(root.join("DEBIAN").join(script))
            .status();
        assert!(sound.unwrap().success(), "{script}");
    }
    assert!(
        root.join("usr/share/man/man8/proxyctl-address-add.8.gz")
            .is_file()
    );
    the_unit_starts(folder.path(), &root);
}

#[test]
fn the_unit_starts_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let root = install(folder.path());
    the_unit_starts(folder.path(), &root);
}

/// Does what systemd would do with the unit under a root folder.
fn the_unit_starts(folder: &Path, root: &Path) {
    let home = folder.join("home");
    fs::create_dir(&home).unwrap();
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/proxyd.service")).unwrap();
    let site = Site::new();
    let database = home.join("proxyd.db");
    let command = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        let mut words = line.split(' ').map(|word| {
            word.replace("/var/lib/proxyd", &home.display().to_string())
                .replace("/etc/", &format!("{}/etc/", root.display()))
        });
        let program = words.next().unwrap();
        let mut command = Command::new(root.join(program.trim_start_matches('/')));
        command.args(words.filter(|word| word != "$OPTIONS"));
        command
            .env("PROXYD_HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    };
    for _ in 0..2 {
        let status = command("ExecStartPre=").status().unwrap();
        assert!(status.success(), "a second start finds the database as it is");
    }
    let notify = folder.join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut start = command("ExecStart=");
    start
        .env("NOTIFY_SOCKET", &notify)
        .args(["-A", &format!("DBURL=\"sqlite:///{}\"", database.display())]);
    start.args(site.listen().iter().flat_map(|socket| ["-l", socket]));
    let mut daemon = Daemon(start.spawn().unwrap());
    let mut said = [0; 256];
    let length = manager.recv(&mut said).expect("the daemon says when it is ready");
    assert!(
        said[..length].starts_with(b"READY=1"),
        "{:?}",
        String::from_utf8_lossy(&said[..length])
    );

    let uptime = Command::new(root.join("usr/bin/proxyctl"))
        .args(["--quiet", "uptime"])
        .env("PROXYD_HOME", &home)
        .stdout(Stdio::null())
        .status();
    assert!(uptime.unwrap().success(), "what the image's HEALTHCHECK asks");
    signal("TERM", &daemon.0.id().to_string());
    let ended = wait::until(wait::PATIENCE, || daemon.0.try_wait().unwrap());
    assert!(ended.expect("SIGTERM ends it").success());
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs the programs that cargo built for the tests into a folder, and returns it.
fn install(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    let mut command = script("etc/install", folder);
    command.env("DESTDIR", &root).env("PREFIX", "/usr");
    succeeds(command);
    root
}

/// Packs them, and returns the package.
fn package(folder: &Path) -> PathBuf {
    let mut command = script("etc/package", folder);
    command.env("COMPRESSION", "gz");
    succeeds(command);
    let made = fs::read_dir(folder.join("target/debian")).unwrap();
    made.map(|entry| entry.unwrap().path()).next().expect("a package")
}

/// A script of ours that takes the programs of the tests for the release.
fn script(name: &str, folder: &Path) -> Command {
    let target = folder.join("target");
    let release = target.join("release");
    fs::create_dir_all(&release).unwrap();
    for program in ["proxyd", "proxyctl", "dbctl"] {
        let _ = fs::remove_file(release.join(program));
        symlink(built(&format!("t-{program}")), release.join(program)).unwrap();
    }
    let pages = Command::new(built("t-docs")).arg(release.join("pages")).status();
    assert!(pages.unwrap().success());
    let mut command = Command::new(sources::root().join(name));
    command.arg("--no-build").env("CARGO_TARGET_DIR", &target);
    command
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
